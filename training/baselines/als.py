"""Implicit matrix factorisation by alternating least squares."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits

from features.splits.split import Split
from recsys.arrays import Floats
from recsys.item_features import ItemFeatures
from training.baselines.known import Known, Scored, Seen, TrainCounts


@dataclass(frozen=True, kw_only=True)
class ALSSettings:
    """Hyper-parameters of Hu, Koren and Volinsky 2008; confidence = alpha * events of the pair.

    That is how implicit reads it; the paper has 1 + alpha * events. A pair without any has 1 in both.
    """

    factors: int = 128
    regularization: float = 0.01
    alpha: float = 1.0
    iterations: int = 15
    seed: int = 0


class ALS(Scored):
    """Implicit ALS. Items without a positive training event are never recommended.

    The factors of items come from training alone; the factors of a user are solved anew from training
    and validation positives when asked, so that all models know the same history at test time. A user
    without any gets no items.
    """

    name = "als"

    def __init__(
        self,
        split: Split,
        items: ItemFeatures,
        *,
        seen: Seen,
        settings: ALSSettings = ALSSettings(),
        num_threads: int = 0,
    ) -> None:
        from implicit.cpu.als import AlternatingLeastSquares

        self.settings = settings
        self._known = Known.of(split, items, seen=seen)
        train = TrainCounts.of(split, items)
        self._known_N = train.known_N
        with threadpool_limits(1, "blas"):  # its own threads and those of BLAS fight for the cores
            self._model = AlternatingLeastSquares(
                factors=settings.factors,
                regularization=settings.regularization,
                alpha=settings.alpha,
                iterations=settings.iterations,
                random_state=settings.seed,
                num_threads=num_threads,
            )
            self._model.fit(train.counts_UN, show_progress=False)
        self._model.item_factors[~self._known_N] = 0  # left at their random start otherwise

    @property
    def item_factors(self) -> Floats:
        """Shape [N, factors]; zeros for items without a positive training event."""
        factors: Floats = self._model.item_factors
        return factors

    def user_factors(self, users: Sequence[str]) -> Floats:
        """Solved from the users' histories; zeros for a user without one. Shape [U, factors]."""
        return self._solved(self._known.events(users, keep_N=self._known_N))

    def score(self, users: Sequence[str]) -> Floats:
        """Dot products; -inf for items without a positive training event, for whom nothing is known of all.

        Shape [U, N].
        """
        history_UN = self._known.events(users, keep_N=self._known_N)
        score_UN: Floats = self._solved(history_UN) @ self.item_factors.T
        score_UN[:, ~self._known_N] = -np.inf
        score_UN[np.diff(history_UN.indptr) == 0] = -np.inf
        return score_UN

    def _solved(self, history_UN: csr_matrix) -> Floats:
        with threadpool_limits(1, "blas"):
            factors: Floats = self._model.recalculate_user(np.arange(history_UN.shape[0]), history_UN)
        return factors
