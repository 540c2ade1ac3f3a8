"""Implicit matrix factorisation by alternating least squares."""

from collections.abc import Sequence

import numpy as np
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits

from features.splits import Split
from recsys.arrays import Floats
from recsys.config import ALSConfig
from recsys.item_features import ItemFeatures
from training.baselines.known import KnownEvents, ScoringModel, Seen, train_interactions
from training.candidates import fit_als


class ALS(ScoringModel):
    """Implicit ALS. Items without a positive training event are never recommended.

    The factors of items are fitted on training alone. The factors of a user are solved at test time from
    training and validation positives, so that all models read the same history. A user without a positive
    event gets no items.
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
        self._known = KnownEvents.of(split, items, seen=seen)
        train = train_interactions(split, items)
        self._known_N = train.known_N
        self._model = fit_als(train, settings, seed=seed, num_threads=num_threads)

    @property
    def item_factors(self) -> Floats:
        """Shape [N, factors]; zeros for items without a positive training event."""
        factors: Floats = self._model.item_factors
        return factors

    def user_factors(self, users: Sequence[str]) -> Floats:
        """Factors solved from the users' histories; zeros for a user without one. Shape [U, factors]."""
        return self._solved(self._known.events(users, keep_N=self._known_N))

    def score(self, users: Sequence[str]) -> Floats:
        """Dot products. -inf for items without a positive training event and for users without a history.

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
