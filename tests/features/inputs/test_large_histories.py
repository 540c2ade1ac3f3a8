"""A user with 100,000 events and an item with 10,000 reviews: all are read, in linear time."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
import pytest
from split_parts import dataset

from features.dataset.tables import Dataset, MediaVectors, MediumVectors
from features.inputs.histories import HistoryBuilder, attach_reviews, build_maps
from features.inputs.item_features import build_item_features
from recsys.arrays import Floats
from recsys.history import History, SequenceSchema, collate
from recsys.ids import IdMap
from training.sequences import TrainingSequence, WindowSampler

NUM_EVENTS, NUM_ITEMS, NUM_REVIEWS, LENGTH = 100_000, 3_000, 10_000, 50


@pytest.fixture(scope="module")
def heavy() -> Dataset:
    """One user has events on all items in turn; many reviewers review the first item."""
    events = [("heavy", f"i{at % NUM_ITEMS:04d}", at) for at in range(NUM_EVENTS)] + [("once", "i0007", 5)]
    reviews = [(f"r{at}", "i0000", at) for at in range(NUM_REVIEWS)]
    return dataset(events, reviews)


@pytest.fixture(scope="module")
def histories(heavy: Dataset) -> Mapping[str, History]:
    ids = IdMap(heavy.items["item_id"].to_list())
    return HistoryBuilder(heavy, item_ids=ids, maps=build_maps(heavy, heavy.interactions)).build(
        heavy.interactions
    )


def test_nothing_of_a_long_history_is_lost(histories: Mapping[str, History]) -> None:
    assert len(histories["heavy"]) == NUM_EVENTS
    assert np.array_equal(np.sort(histories["heavy"].seen), np.arange(NUM_ITEMS) + 2), "seen is never cut"
    assert (len(histories["once"]), histories["once"].seen.tolist()) == (1, [9])


def test_the_tower_reads_a_bounded_part(histories: Mapping[str, History]) -> None:
    schema = SequenceSchema(
        max_length=LENGTH, has_clock=True, num_event_kinds=3, number_scales={"value": (0.0, 1.0)},
        review_text_dim=0, review_audio_dim=0, profile_sizes={},
    )  # fmt: skip
    batch = collate([histories["heavy"], histories["once"]], schema)
    assert batch.item.shape == (2, LENGTH)
    assert batch.item[0].tolist() == histories["heavy"].item[-LENGTH:].tolist()


class Counting(dict[int, Floats]):
    """Vectors by position that count look-ups and iterations."""

    num_looks = 0

    def __contains__(self, key: object) -> bool:
        self.num_looks += 1
        return super().__contains__(key)

    def items(self) -> Any:
        self.num_looks += len(self)
        return super().items()


def test_windows_cover_a_long_history_in_linear_time(histories: Mapping[str, History]) -> None:
    history = histories["heavy"]
    vectors = Counting({at: np.full(1, at, np.float32) for at in range(0, NUM_EVENTS, 5)})
    long = History(
        item=history.item,
        timestamp=history.timestamp,
        event=history.event,
        value=history.value,
        review_text=vectors,
    )
    sequences = {
        "heavy": TrainingSequence(history=long, target=np.ones(NUM_EVENTS, np.bool_)),
        "once": TrainingSequence(history=histories["once"], target=np.ones(1, np.bool_)),
    }
    sampler = WindowSampler(sequences, max_length=LENGTH, batch_tokens=1_000, seed=0)
    windows = [window for batch in sampler.epoch(0) for window in batch]
    assert max(len(window.target) for window in windows) <= LENGTH
    assert sum(int(window.target.sum()) for window in windows) == NUM_EVENTS + 1, "each is a target once"
    num_read = sum(len(window.target) for window in windows)
    assert num_read <= NUM_EVENTS + 1 + len(windows), "windows overlap by one event"
    assert vectors.num_looks <= num_read
    assert sum(len(window.history.review_text) for window in windows) >= len(vectors)


def test_reviews_find_their_events_without_all_pairs() -> None:
    """There are 10**9 pairs of the user's events and the item's reviews."""
    events = pl.DataFrame({"user_id": "u", "item_id": "i", "timestamp": np.arange(NUM_EVENTS) * 10})
    reviewed = np.arange(NUM_REVIEWS) * 100 + 3
    reviews = pl.DataFrame(
        {"user_id": "u", "item_id": "i", "reviewed": reviewed, "position": np.arange(NUM_REVIEWS)}
    )
    found = attach_reviews(events, reviews, has_clock=True)
    assert found["at"].to_list() == (reviewed // 10).tolist()


def test_the_reviews_of_an_item_are_pooled(heavy: Dataset) -> None:
    vectors = np.random.default_rng(0).standard_normal((NUM_REVIEWS, 4)).astype(np.float32)
    media = MediaVectors(
        items={}, reviews={"review_text": MediumVectors(owner=np.arange(NUM_REVIEWS), vectors=vectors)}
    )
    features = build_item_features(heavy, media, train=heavy.interactions, reviews=heavy.reviews)
    np.testing.assert_allclose(features.dense["review_text"][2], vectors.mean(0), atol=1e-4)
    assert features.present["review_text"].sum() == 1
