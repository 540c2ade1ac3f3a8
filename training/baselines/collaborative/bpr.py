"""Bayesian personalised ranking (Rendle and others 2009): matrix factorisation from pairs of items.

A pair is an item of the user's events and a sampled item.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from threadpoolctl import threadpool_limits

from features.splits import Split
from recsys.arrays import Floats, Ints
from recsys.item_features import ItemFeatures
from training.baselines.known import KnownEvents, ScoringModel, Seen, train_interactions, train_rows
from training.candidates import Interactions


@dataclass(frozen=True, kw_only=True)
class BPRSettings:
    """Hyper-parameters; an epoch samples as many pairs as there are events."""

    factors: int = 64
    learning_rate: float = 0.05
    regularization: float = 0.01
    epochs: int = 50
    seed: int = 0


class BPR(ScoringModel):
    """BPR. Items without a positive training event are never recommended; users without events get none.

    Fitted on training by one thread: several threads would update the same factors in an order that no seed
    repeats. For the test, `epochs` passes over the validation events continue the training of the users'
    vectors; the items' vectors do not change.
    """

    name = "bpr"

    def __init__(
        self,
        settings: BPRSettings,
        train: Interactions,
        item_ND: Floats,
        user_UD: Floats,
        known: KnownEvents,
        row_of: Mapping[str, int],
    ) -> None:
        self.settings = settings
        self._train, self._row_of = train, row_of
        self.item_factors = item_ND  # the last column is the item's bias
        self._trained_UD = user_UD  # [U, D] user `u` in row `row_of[u]`, the last column is 1
        self._known = known
        self._user_UD = self._folded_in()

    @classmethod
    def fit(
        cls, split: Split, items: ItemFeatures, *, seen: Seen, settings: BPRSettings = BPRSettings()
    ) -> Self:
        (model,) = cls.snapshots(split, items, seen=seen, settings=settings, epochs=(settings.epochs,))
        return model

    @classmethod
    def snapshots(
        cls,
        split: Split,
        items: ItemFeatures,
        *,
        seen: Seen,
        settings: BPRSettings,
        epochs: Sequence[int],
    ) -> Iterator[Self]:
        """One fit; yields the model after each of the ascending numbers in `epochs`. The fit is lazy."""
        from implicit.cpu.bpr import BayesianPersonalizedRanking

        train, known = train_interactions(split, items), KnownEvents.of(split, items, seen=seen)
        row_of = train_rows(split)
        rng = np.random.default_rng(settings.seed)
        fit = BayesianPersonalizedRanking(
            factors=settings.factors,
            learning_rate=settings.learning_rate,
            regularization=settings.regularization,
            random_state=rng,  # one generator for all calls of `fit`, so that each continues the last
            num_threads=1,
        )
        done = 0
        for upto in epochs:
            fit.iterations, done = upto - done, upto
            with threadpool_limits(1, "blas"):
                fit.fit(train.counts_UN, show_progress=False)
            at = replace(settings, epochs=upto)
            yield cls(at, train, fit.item_factors.copy(), fit.user_factors.copy(), known, row_of)

    def with_known_events(self, known: KnownEvents) -> Self:
        other = super().with_known_events(known)
        other._user_UD = other._folded_in()
        return other

    def score(self, users: Sequence[str]) -> Floats:
        """Dot products plus the items' biases; -inf as in the class's docstring. Shape [U, N]."""
        score_UN: Floats = self._user_UD[self._known.rows(users)] @ self.item_factors.T
        score_UN[:, ~self._train.known_N] = -np.inf
        has_events = np.diff(self._known.events(users, keep_N=self._train.known_N).indptr) > 0
        score_UN[~has_events] = -np.inf
        return score_UN

    def _folded_in(self) -> Floats:
        """The users' vectors after gradient steps on validation events. Rows as `_known`."""
        settings, known, train, item_ND = self.settings, self._known, self._train, self.item_factors
        row_of = self._row_of
        user_UD = np.zeros((len(known.row_of) + 1, item_ND.shape[1]), np.float32)
        user_UD[:, -1] = 1
        rows = [(row, row_of[user]) for user, row in known.row_of.items() if user in row_of]
        if rows:
            here, there = np.array(rows).T
            user_UD[here] = self._trained_UD[there]
        new = np.flatnonzero(known.is_validation & train.known_N[known.item])
        user = np.searchsorted(known.offsets, new, side="right") - 1
        by_place, pool = (
            _by_place(user),
            train.counts_UN.indices,
        )  # negatives by popularity, as implicit samples
        rng = np.random.default_rng(settings.seed)
        for _ in range(settings.epochs):
            for chosen in by_place:
                row, better, worse = user[chosen], known.item[new[chosen]], rng.choice(pool, len(chosen))
                gap_BD = item_ND[better] - item_ND[worse]
                slope_B1 = 1 / (1 + np.exp((user_UD[row] * gap_BD).sum(1, keepdims=True)))
                step_BD = slope_B1 * gap_BD - settings.regularization * user_UD[row]
                user_UD[row, :-1] += settings.learning_rate * step_BD[:, :-1]
        return user_UD


def _by_place(user: Ints) -> list[Ints]:
    """Indices of the first entry of each user, then of the second, and so on; `user` ascends."""
    starts = np.flatnonzero(np.diff(user, prepend=-1))
    place = np.arange(len(user)) - np.repeat(starts, np.diff(starts, append=len(user)))
    order = np.argsort(place, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(place[order])) + 1) if len(user) else []
