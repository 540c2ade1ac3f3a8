"""A small log in which one item follows another, with vectors and settings for a quick fit."""

from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
from split_parts import Event, Review, dataset

from features.dataset.tables import Dataset, MediaVectors, MediumVectors
from recsys.config import Config, build_config
from recsys.retrieval.candidate_sources import (
    CandidateSource,
    FactorSource,
    ItemNeighborSource,
    PopularitySource,
    RecentSource,
)

NUM_ITEMS, NUM_USERS, LENGTH = 24, 40, 7


def log(*, num_users: int = NUM_USERS, with_negatives: bool = True) -> Dataset:
    """Each user walks LENGTH items onwards from one of their own; the third event is no positive one."""
    rng = np.random.default_rng(0)
    events: list[Event] = []
    reviews: list[Review] = []
    for number in range(num_users):
        start = int(rng.integers(NUM_ITEMS))
        for at in range(LENGTH):
            item = f"i{(start + at) % NUM_ITEMS:02d}"
            events.append((f"u{number}", item, 10 * at, not (with_negatives and at == 2)))
            if at % 3 == 0:
                reviews.append((f"u{number}", item, 10 * at + 1))
    data = dataset(events, reviews, extra_items=[f"i{at:02d}" for at in range(NUM_ITEMS)] + ["new"])
    colours = pl.Series("cat:colour", [[["red"], ["blue"], ["green"]][at % 3] for at in range(NUM_ITEMS + 1)])
    return replace(data, items=data.items.with_columns(colours))


def media(data: Dataset, seed: int = 0) -> MediaVectors:
    """A vector of 6 numbers for each title, and one of 4 for each review."""
    rng = np.random.default_rng(seed)

    def medium(num: int, width: int) -> MediumVectors:
        vectors = rng.standard_normal((num, width)).astype(np.float32)
        return MediumVectors(owner=np.arange(num), vectors=vectors)

    return MediaVectors(
        items={"title": medium(data.items.height, 6)}, reviews={"review_text": medium(data.reviews.height, 4)}
    )


def config(**changes: dict[str, Any]) -> Config:
    """A model that fits in a second; `changes` add to the sections by name, such as `train`."""
    values: dict[str, dict[str, Any]] = {
        "split": {"protocol": "leave_one_out"},
        "model": {
            "dim": 16,
            "user": {"num_blocks": 1, "num_heads": 2, "max_length": 10},
            "item": {"num_heads": 2},
            "cold_start": {"content_regression": True},
            "ranker": {"num_candidates": 12, "history_length": 6, "num_epochs": 3},
        },
        "train": {"epochs": 2, "batch_tokens": 64, "steps_per_epoch": 1, "precision": "float32"},
        "track": {"enabled": False},
    }
    for section, new in changes.items():
        old = values.setdefault(section, {})
        for name, value in new.items():
            old[name] = {**old[name], **value} if isinstance(value, dict) and name in old else value
    return build_config(values)


def source_arrays(source: CandidateSource) -> dict[str, np.ndarray]:
    """The fitted arrays of a candidate source, by name."""
    if isinstance(source, FactorSource):
        return {"factor": source.factor}
    if isinstance(source, ItemNeighborSource):
        return {"neighbor": source.neighbor, "weight": source.weight}
    if isinstance(source, RecentSource):
        return {"item": source.item, "time": source.time}
    assert isinstance(source, PopularitySource)
    return {"score": source.score}
