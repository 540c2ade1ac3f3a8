"""The same items for every user, the most popular first.

Legend: B users, N items, K candidates.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from recsys.arrays import Bools, Floats, Ints
from recsys.history import History
from recsys.ids import NUM_RESERVED
from recsys.retrieval.candidate_sources.contract import empty_lists, fitted_items, most_excluded


@dataclass(frozen=True, kw_only=True)
class PopularitySource:
    """One score for each item, the same for every history."""

    kind: ClassVar[str] = "popularity"

    name: str
    score: Floats  # [N], from 0 to 1

    def candidates(
        self,
        histories: Sequence[History],
        k: int,
        *,
        excluded: Sequence[Ints] | None = None,
        allowed: Bools | None = None,
    ) -> tuple[Ints, Floats]:
        """As `CandidateSource.candidates`."""
        found, score = empty_lists(len(histories), k)
        head = self._head(k + most_excluded(excluded), allowed)
        for row in range(len(histories)):
            own = head if excluded is None else head[~np.isin(head, excluded[row])]
            own = own[:k]
            found[row, : len(own)], score[row, : len(own)] = own, self.score[own]
        return found, score

    def scores(self, histories: Sequence[History], item_BK: Ints) -> Floats:
        """As `CandidateSource.scores`."""
        score_BK: Floats = self.score[fitted_items(item_BK, len(self.score))]
        return score_BK

    def _head(self, num: int, allowed: Bools | None) -> Ints:
        """The `num` most popular items that are allowed, or all of these where they are fewer."""
        if allowed is None:
            return self._order[:num]
        length = max(num, 1)
        while True:
            head = self._order[:length]
            head = head[allowed[head]]
            if len(head) >= num or length >= len(self._order):
                return head[:num]
            length *= 2

    @cached_property
    def _order(self) -> Ints:
        """Items with a score, the highest first, ties by lowest id; sorted once for all requests."""
        items = np.flatnonzero(self.score > 0)
        items = items[items >= NUM_RESERVED]
        return items[np.argsort(-self.score[items], kind="stable")]

    def save(self, directory: Path) -> dict[str, Any]:
        """As `CandidateSource.save`."""
        np.save(directory / "score.npy", self.score, allow_pickle=False)
        return {}

    @classmethod
    def load(cls, directory: Path, *, name: str, **settings: Any) -> Self:
        """As `CandidateSource.load`; the array is memory-mapped."""
        score = np.asarray(np.load(directory / "score.npy", mmap_mode="r", allow_pickle=False))
        return cls(name=name, score=score, **settings)
