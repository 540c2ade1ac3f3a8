"""Implicit matrix factorisation by alternating least squares."""

from collections.abc import Sequence

import numpy as np
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits

from features.splits import Split
from recsys.arrays import Floats
from recsys.config import ALSConfig
from recsys.item_features import ItemFeatures
from training.baselines.known import Known, Scored, Seen, train_interactions
from training.candidates import fit_als


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
        settings: ALSConfig,
        seed: int = 0,
        num_threads: int = 0,
    ) -> None:
        self.settings = settings
        self._known = Known.of(split, items, seen=seen)
        train = train_interactions(split, items)
        self._known_N = train.known_N
        self._model = fit_als(train, settings, seed=seed, num_threads=num_threads)

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
