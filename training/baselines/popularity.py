"""Popularity: the number of training events, or with clock times a decayed sum up to a cut-off."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from features.dataset import encode
from features.splits import Split
from recsys.arrays import Bools, Floats, Ints
from recsys.columns import Columns
from recsys.ids import NUM_RESERVED
from recsys.item_features import ItemFeatures
from recsys.retrieval import top_k
from training.baselines.known import KnownEvents, ScoringModel, Seen
from training.evaluation import seen_lists

MICROSECONDS_A_DAY = 86_400e6
Doubles = npt.NDArray[np.float64]


class Popularity:
    """One order for all users: by falling number of positive training events, ties by id."""

    name = "popularity"

    def __init__(self, split: Split, items: ItemFeatures, *, seen: Seen) -> None:
        self.count_N = split.statistics.item_counts(items.item_ids)[:, 1]
        self.count_N[:NUM_RESERVED] = 0
        self._seen = seen
        # The negative rank instead of the count: ranks have no ties, which makes top-k fast.
        self._score_N = np.empty(items.size, np.float32)
        self._score_N[np.argsort(-self.count_N, kind="stable")] = -np.arange(items.size)

    def recommend(self, users: Sequence[str], k: int, *, allowed: Bools | None) -> Ints:
        score_UN = np.repeat(self._score_N[None], len(users), axis=0)
        lists = None if self._seen is None else seen_lists(self._seen, users)
        return top_k(score_UN, k, allowed=allowed, excluded=lists)[0]


@dataclass(frozen=True, kw_only=True)
class PopularitySettings:
    half_life_days: float | None = None  # None: no decay


class RecentPopularity(ScoringModel):
    """The sum of 2^(-age / `half_life_days`) over the positive training events up to the user's cut-off.

    Where the protocol has one cut-off for all users, all training events precede it. In other protocols the
    cut-off of a user is the time of their newest known event, and no later event of any user is counted. A
    user without a known event gets the order at the end of training. Items with the same sum are in the order
    of the catalogue.
    """

    name = "popularity"

    def __init__(
        self,
        split: Split,
        items: ItemFeatures,
        *,
        seen: Seen,
        settings: PopularitySettings = PopularitySettings(),
        one_cut_off: bool | None = None,
    ) -> None:
        self.settings = settings
        self.one_cut_off = has_one_cut_off(split) if one_cut_off is None else one_cut_off
        self._known = KnownEvents.of(split, items, seen=seen)
        train = split.train.filter(Columns.POSITIVE).sort(Columns.TIMESTAMP, Columns.ROW)
        self._time_E = train[Columns.TIMESTAMP].to_numpy()
        self._item_E = encode(train[Columns.ITEM], items.item_ids)

    def score(self, users: Sequence[str]) -> Floats:
        """Decayed counts. Shape [U, N]."""
        score_UN = np.empty((len(users), self._known.num_items), np.float32)
        cut_U = self._cut_offs(users)
        now = int(cut_U.min(initial=np.iinfo(np.int64).max))  # never later than a cut-off, even before 1970
        counted, num_counted = np.zeros(self._known.num_items), 0
        for row in np.argsort(cut_U, kind="stable"):
            upto = int(np.searchsorted(self._time_E, cut_U[row], side="right"))
            new = slice(num_counted, upto)
            counted = counted * self._decay(cut_U[row] - now) + np.bincount(
                self._item_E[new], weights=self._decay(cut_U[row] - self._time_E[new]), minlength=len(counted)
            )
            now, num_counted = cut_U[row], upto
            score_UN[row] = counted
        return score_UN

    def _cut_offs(self, users: Sequence[str]) -> Ints:
        end = int(self._time_E[-1]) if len(self._time_E) else 0
        last_U, has_any_U = self._known.last_time(users)
        return np.full(len(users), end) if self.one_cut_off else np.where(has_any_U, last_U, end)

    def _decay(self, age: Ints | int) -> Doubles:
        """2^(-age / half-life), the weight of an event; `age` in microseconds."""
        days = np.asarray(age, np.float64) / MICROSECONDS_A_DAY
        if self.settings.half_life_days is None:
            return np.ones_like(days)
        return np.exp2(-days / self.settings.half_life_days)


def has_one_cut_off(split: Split) -> bool:
    """Whether all training events precede all test events: by the protocol, or by the times of the files."""
    if split.protocol != "predefined":
        return split.protocol == "global_temporal"
    known = pl.concat([split.train, split.validation])[Columns.TIMESTAMP].max()
    first = split.test[Columns.TIMESTAMP].min()
    return isinstance(known, int) and isinstance(first, int) and known <= first
