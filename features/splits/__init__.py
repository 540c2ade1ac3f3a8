"""Assigns events to training, validation and test, and selects the reviews that may be read."""

from features.splits.assignment import (
    CODES,
    CONTEXT,
    ORDER,
    PART,
    PARTS,
    TEST,
    TRAIN,
    UNUSED,
    VALIDATION,
    share_of,
)
from features.splits.make import make_split, split_by_plan
from features.splits.protocols import Plan
from features.splits.review_visibility import ReviewRule
from features.splits.split import GROUND_TRUTH, HISTORY, Cut, InMemorySplit, PositiveEvents, Split, asking
from features.splits.streamed import StreamedSplit
from features.splits.train_statistics import TrainStatistics, statistics_of

__all__ = [
    "CODES",
    "CONTEXT",
    "GROUND_TRUTH",
    "HISTORY",
    "ORDER",
    "PART",
    "PARTS",
    "TEST",
    "TRAIN",
    "UNUSED",
    "VALIDATION",
    "Cut",
    "InMemorySplit",
    "Plan",
    "PositiveEvents",
    "ReviewRule",
    "Split",
    "StreamedSplit",
    "TrainStatistics",
    "asking",
    "make_split",
    "share_of",
    "split_by_plan",
    "statistics_of",
]
