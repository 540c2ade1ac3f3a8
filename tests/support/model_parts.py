"""A tiny catalogue and schema that several tests share."""

import numpy as np

from recsys.history import History, SequenceSchema
from recsys.ids import NUM_RESERVED, IdMap
from recsys.item_features import ItemFeatures


def tiny_features(num_items=30, seed=0, num_cold=5):
    rng = np.random.default_rng(seed)
    ids = IdMap([f"item-{n}" for n in range(num_items)])
    size = ids.size
    real = np.arange(size) >= NUM_RESERVED
    trained = real & (np.arange(size) < size - num_cold)
    present = {"text": real & (rng.random(size) < 0.8), "image": real & (rng.random(size) < 0.5)}
    dense = {
        "text": rng.standard_normal((size, 12)).astype(np.float32) * present["text"][:, None],
        "image": rng.standard_normal((size, 20)).astype(np.float32) * present["image"][:, None],
    }
    genres = rng.integers(0, 6, (size, 3)) * real[:, None]
    return ItemFeatures(
        item_ids=ids,
        dense=dense,
        present=present,
        categories={"genres": genres},
        category_ids={"genres": IdMap(list("abcd"))},
        trained=trained,
        popularity=(rng.integers(1, 9, size) * trained).astype(np.float32),
    )


def tiny_schema(**changes):
    values = {
        "max_length": 8,
        "has_clock": True,
        "num_event_kinds": 4,
        "number_scales": {"value": (3.0, 1.0)},
        "review_text_dim": 12,
        "review_audio_dim": 5,
        "profile_sizes": {"age": 5},
    }
    return SequenceSchema(**(values | changes))


def tiny_history(items, seed=0, **changes):
    rng = np.random.default_rng(seed)
    length = len(items)
    values = {
        "item": np.asarray(items, np.int64),
        "timestamp": np.cumsum(rng.integers(1, 10**11, length)).astype(np.int64),
        "event": rng.integers(2, 4, length),
        "value": np.where(rng.random(length) < 0.5, np.nan, 4.0).astype(np.float32),
        "review_text": {0: rng.standard_normal(12).astype(np.float32)} if length else {},
        "seen": np.unique(np.asarray(items, np.int64)),
        "profile": {"age": np.array([2], np.int64)},
    }
    return History(**(values | changes))
