"""Reliability of the relevance that hits are shown with."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from recsys.metrics import Grades
from recsys.search import SearchResults
from training.search.quality.results import Bin, Reliability

NUM_BINS = 10


class HasGrades(Protocol):
    @property
    def grades(self) -> Grades: ...


def reliability_of(
    lists: Sequence[SearchResults | None], queries: Sequence[HasGrades], first: int
) -> Reliability | None:
    """Relevance of the `first` hits of each list against the judgements; None without a hit."""
    relevance: list[float] = []
    is_relevant: list[bool] = []
    for found, judged in zip(lists, queries, strict=True):
        if found is not None:
            relevance += found.relevance[:first].tolist()
            is_relevant += [judged.grades.get(item, 0) > 0 for item in found.items[:first].tolist()]
    if not relevance:
        return None
    value, hit = np.array(relevance), np.array(is_relevant, np.float64)
    bin_of = np.minimum((value * NUM_BINS).astype(np.int64), NUM_BINS - 1)
    bins, error = [], 0.0
    for number in range(NUM_BINS):
        inside = bin_of == number
        if inside.any():
            mean, share = float(value[inside].mean()), float(hit[inside].mean())
            error += inside.mean() * abs(mean - share)
            bins.append(
                Bin(
                    low=number / NUM_BINS,
                    high=(number + 1) / NUM_BINS,
                    num_hits=int(inside.sum()),
                    mean_relevance=mean,
                    share_relevant=share,
                )
            )
    return Reliability(error=float(error), bins=tuple(bins))
