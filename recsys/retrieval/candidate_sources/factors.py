"""Matrix factorisation: a user's factors are solved from the history, an index finds the items.

Legend: B users, N items, F factors, H distinct items of a history, K candidates.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from recsys.arrays import Bools, Floats, Ints
from recsys.history import History
from recsys.retrieval.candidate_sources.contract import empty_lists, fitted_items, most_excluded
from recsys.retrieval.index.base import Index
from recsys.retrieval.index.build import load_index
from recsys.retrieval.topk import top_k_of_lists


@dataclass(frozen=True, kw_only=True)
class FactorSource:
    """Implicit ALS (Hu, Koren and Volinsky 2008): the score is the inner product of user and item factors.

    With c(i) = alpha * number of events on item i, the user's factors are
    (Y'Y + regularization * I + sum of (c(i) - 1) y(i) y(i)')^-1 times the sum of c(i) y(i),
    both sums over the history's items with factors.
    """

    kind: ClassVar[str] = "factors"

    name: str
    index: Index  # over the items' factors [N, F], zeros without training events
    regularization: float
    alpha: float

    @property
    def factor(self) -> Floats:
        """The items' factors. Shape [N, F]."""
        return self.index.vectors

    def candidates(
        self,
        histories: Sequence[History],
        k: int,
        *,
        excluded: Sequence[Ints] | None = None,
        allowed: Bools | None = None,
    ) -> tuple[Ints, Floats]:
        """As `CandidateSource.candidates`."""
        if k == 0 or not len(histories):
            return empty_lists(len(histories), k)
        # Of this many items at most `most_excluded` are left out, so k remain.
        num = k + most_excluded(excluded)
        allowed = None if allowed is None else allowed[: len(self.factor)]
        found, score = self.index.search(self.user_factors(histories), num, allowed=allowed)
        score = np.where(score > 0, score, -np.inf).astype(np.float32)
        return top_k_of_lists(found, score, k, excluded=excluded)

    def scores(self, histories: Sequence[History], item_BK: Ints) -> Floats:
        """As `CandidateSource.scores`."""
        score_BK = np.zeros(item_BK.shape, np.float32)
        known_BK = fitted_items(item_BK, len(self.factor))
        for row, user_F in enumerate(self.user_factors(histories)):
            score_BK[row] = np.maximum(self.factor[known_BK[row]] @ user_F, 0.0)
        return score_BK

    def user_factors(self, histories: Sequence[History]) -> Floats:
        """Solved for each history; zeros where no item of it has factors. Shape [B, F]."""
        user_BF = np.zeros((len(histories), self.factor.shape[1]), np.float32)
        for row, history in enumerate(histories):
            items, counts = np.unique(fitted_items(history.item, len(self.factor)), return_counts=True)
            known = self.factor[items].any(1)
            if known.any():
                factor_HF, confidence_H = self.factor[items[known]], self.alpha * counts[known]
                left_FF = self._gram_FF + (factor_HF * (confidence_H - 1.0)[:, None]).T @ factor_HF
                user_BF[row] = np.linalg.solve(left_FF, confidence_H @ factor_HF)
        return user_BF

    @cached_property
    def _gram_FF(self) -> npt.NDArray[np.float64]:
        """Y'Y + regularization * I, the same for every user."""
        gram_FF: npt.NDArray[np.float64] = self.regularization * np.eye(self.factor.shape[1])
        return gram_FF + self.factor.T @ self.factor

    def save(self, directory: Path) -> dict[str, Any]:
        """As `CandidateSource.save`."""
        self.index.save(directory / "index")
        return {"regularization": self.regularization, "alpha": self.alpha}

    @classmethod
    def load(cls, directory: Path, *, name: str, **settings: Any) -> Self:
        """As `CandidateSource.load`."""
        return cls(name=name, index=load_index(directory / "index"), **settings)
