"""How new items are let in among all: a curve on validation, and the point of it that is taken.

What they cost is what known items lose to the catalogue's real new ones, in lists of the whole system. What
they bring is how many of them are listed, times how often the best, the next ... is right among known items
that play new ones, as many as there are, where they would stand if they were new. Both are expected figures:
places count by how often they are right on the whole, and not by whose list it is. The towers have met the
items that play, and would know too well which user wants them.
Lifting new items finds more of those that were chosen, and pushes known ones down; least so from a place on
where known items are seldom right.

Legend: U users, N items, D width, K places of a list.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from scipy.optimize import isotonic_regression

from recsys.arrays import Bools, Floats, Ints
from recsys.ids import NUM_RESERVED
from recsys.metrics.ranking import Doubles
from training.cold_start.validation_users import ValidationUsers

K = 20
LENGTHS = (0.25, 0.5, 1.0)  # of the new items' vectors; a known item's has length 1
FIRST_PLACES = (1, 9, 17, 19)
NUM_LIFTS = 16
NUM_REFINEMENTS = 5
MAX_SHARE = 0.2  # of the known items that may play new ones
MAX_USERS = 2000

_DISCOUNT_K = 1.0 / np.log2(2.0 + np.arange(K))


@dataclass(frozen=True, kw_only=True)
class Point:
    """One calibration, and what it does to validation figures over the whole catalogue."""

    length: float  # what the new items' vectors are multiplied by
    first: int  # the place of a list, from 1, from which on new items may stand
    bias: float  # added to their cosines
    warm_ndcg: float  # NDCG@20 of known items
    new_recall: float  # Recall@20 of those that play new ones, expected of the places that they get


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """The curve, what known items have without any new one beside them, and the chosen point."""

    curve: tuple[Point, ...]
    warm_alone: float
    chosen: Point
    budget: float  # share of `warm_alone` that may be lost

    def to_dict(self) -> dict[str, object]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Calibration":
        """Reads what `to_dict` gave."""
        curve = tuple(Point(**point) for point in values["curve"])
        return cls(**values | {"curve": curve, "chosen": Point(**values["chosen"])})


def calibrate(
    item_ND: Floats,
    pseudo_cold_ND: Floats,
    known_N: Bools,
    judges: ValidationUsers,
    *,
    budget: float,
    lengths: Sequence[float] = LENGTHS,
    first_places: Sequence[int] = FIRST_PLACES,
    seed: int = 0,
) -> Calibration | None:
    """The point of the best Recall of new items at which known ones lose at most `budget` of their NDCG.

    Where all cost more, the one that costs least.

    `item_ND` are all items as they are served, but for the length of new ones; `pseudo_cold_ND` known items
    as if they were new, zeros for those that may not play. None where nothing is new, or where no validation
    user chose a known item or one that plays a new one.
    """
    rng = np.random.default_rng(seed)
    new = np.flatnonzero(~known_N)
    new = new[new >= NUM_RESERVED]
    if not len(new):
        return None
    may_play = np.flatnonzero(known_N & pseudo_cold_ND.any(1))
    users = rng.permutation(len(judges.ground_truth))[:MAX_USERS]
    num_playing = min(len(new), int(MAX_SHARE * len(may_play)))
    playing = np.sort(rng.choice(may_play, num_playing, replace=False))
    known = np.flatnonzero(known_N)
    cost = Race.of(judges, users, (known, item_ND), (new, item_ND))
    if judges.ordered is not None:
        cost = replace(cost, known_hit_UK=_hits(judges, users, judges.ordered))
    gain = Race.of(judges, users, (np.setdiff1d(known, playing), item_ND), (playing, pseudo_cold_ND))
    if not cost.asks_known or not gain.asks_new:
        return None
    alone = cost.warm_ndcg(1.0, 1, -np.inf)

    def point(length: float, first: int, bias: float) -> Point:
        return Point(
            length=length,
            first=first,
            bias=bias,
            warm_ndcg=cost.warm_ndcg(length, first, bias),
            new_recall=cost.new_recall(length, first, bias, gain.new_right_K),
        )

    curve = [
        point(length, first, bias)
        for length in lengths
        for bias in cost.lifts(length)
        for first in first_places
    ]
    allowed = [each for each in curve if each.warm_ndcg >= (1.0 - budget) * alone]
    best = max(allowed, key=_worth) if allowed else max(curve, key=_cost_first)
    for bias in _between(best, curve):
        finer = point(best.length, best.first, bias)
        if finer.warm_ndcg >= (1.0 - budget) * alone and _worth(finer) > _worth(best):
            best = finer
    return Calibration(curve=tuple(curve), warm_alone=alone, chosen=best, budget=budget)


def _worth(point: Point) -> tuple[float, float]:
    return point.new_recall, point.warm_ndcg


def _cost_first(point: Point) -> tuple[float, float]:
    return point.warm_ndcg, point.new_recall


def _between(point: Point, curve: Sequence[Point]) -> Iterator[float]:
    """Biases from that of `point` to the next higher one of its kind."""
    higher = [
        each.bias
        for each in curve
        if (each.length, each.first) == (point.length, point.first) and each.bias > point.bias
    ]
    if higher:
        yield from np.linspace(point.bias, min(higher), NUM_REFINEMENTS + 2)[1:-1].tolist()


@dataclass(frozen=True, kw_only=True)
class Race:
    """Known items against new ones in each user's list: the best of both, and which of them were chosen."""

    known_UK: Floats  # scores, best first, -inf where there are fewer
    known_hit_UK: Bools
    num_known_U: Ints  # chosen items that are known
    new_UK: Floats  # at length 1 and without a bias
    new_hit_UK: Bools
    num_new_U: Ints

    @classmethod
    def of(
        cls, judges: ValidationUsers, users: Ints, known: tuple[Ints, Floats], new: tuple[Ints, Floats]
    ) -> "Race":
        """Between two sets of items, each with the vectors [N, D] that it races with; seen ones stay out."""
        found = [_best(judges, users, items, vector_ND) for items, vector_ND in (known, new)]
        (known_UK, known_hit_UK, num_known_U), (new_UK, new_hit_UK, num_new_U) = found
        return cls(
            known_UK=known_UK,
            known_hit_UK=known_hit_UK,
            num_known_U=num_known_U,
            new_UK=new_UK,
            new_hit_UK=new_hit_UK,
            num_new_U=num_new_U,
        )

    @property
    def asks_known(self) -> bool:
        return bool(self.num_known_U.any())

    @property
    def asks_new(self) -> bool:
        return bool(self.num_new_U.any())

    @cached_property
    def right_K(self) -> Doubles:
        """How often the known item of each place is right, in units of an ideal list's DCG, never rising.

        Few users have any hit as far down as new items may stand, so that single hits would decide what
        those cost; the mean of all users and the order of the places do instead.
        """
        asked_U = self.num_known_U > 0
        ideal_U = np.cumsum(_DISCOUNT_K)[np.minimum(self.num_known_U[asked_U], K) - 1]
        return _never_rising((self.known_hit_UK[asked_U] / ideal_U[:, None]).mean(0))

    @cached_property
    def new_right_K(self) -> Doubles:
        """What share of the new items that a user chose the best new one, the next ... is; never rising."""
        asked_U = self.num_new_U > 0
        return _never_rising((self.new_hit_UK[asked_U] / self.num_new_U[asked_U, None]).mean(0))

    def lifts(self, length: float) -> list[float]:
        """Biases from where hardly a new item reaches anybody's first places to where they fill them."""
        low_U = self.known_UK[:, -1] - length * self.new_UK[:, 0]
        high_U = self.known_UK[:, 0] - length * self.new_UK[:, -1]
        low_U, high_U = low_U[np.isfinite(low_U)], high_U[np.isfinite(high_U)]
        if not len(low_U):
            return [0.0]
        low, high = np.quantile(low_U, 0.01), np.quantile(high_U if len(high_U) else low_U, 0.5)
        return [float(lift) for lift in np.linspace(low, max(high, low), NUM_LIFTS)]

    def warm_ndcg(self, length: float, first: int, bias: float) -> float:
        """Mean NDCG@20 of users who chose known items, expected of `right_K`."""
        above_UK = self._known_above(length, first, bias)
        pushed_UK = (above_UK[:, None, :] <= np.arange(K)[None, :, None]).sum(2)  # by so many new ones
        place_UK = np.arange(K) + pushed_UK
        discount_UK = np.append(_DISCOUNT_K, 0.0)[np.minimum(place_UK, K)]
        return float((discount_UK[self.num_known_U > 0].mean(0) * self.right_K).sum())

    def new_recall(self, length: float, first: int, bias: float, right_K: Doubles) -> float:
        """Mean Recall@20 of new items, if the best one, the next ... were right as often as `right_K`."""
        listed_UK = self._known_above(length, first, bias) + np.arange(K) < K
        return float((listed_UK.mean(0) * right_K).sum())

    def _known_above(self, length: float, first: int, bias: float) -> Ints:
        """Known items before each new one, which stand in their own order. Shape [U, K]."""
        new_UK = np.float32(length) * self.new_UK + np.float32(bias)
        above_UK = (self.known_UK[:, None, :] >= new_UK[:, :, None]).sum(2)
        return np.maximum(above_UK, first - 1)


def _never_rising(mean_K: Doubles) -> Doubles:
    falling: Doubles = isotonic_regression(mean_K, weights=_DISCOUNT_K, increasing=False).x
    return falling


def _best(judges: ValidationUsers, users: Ints, items: Ints, vector_ND: Floats) -> tuple[Floats, Bools, Ints]:
    score_UK = np.full((len(users), K), -np.inf, np.float32)
    hit_UK, num_U = np.zeros((len(users), K), np.bool_), np.zeros(len(users), np.int64)
    for row, user in enumerate(users):
        score_N = vector_ND[items] @ judges.user_UD[user]
        seen_N = np.isin(items, judges.seen[user])
        truth_N = np.isin(items, judges.ground_truth[user]) & ~seen_N
        score_N[seen_N] = -np.inf
        best = np.argsort(-score_N, kind="stable")[:K]
        score_UK[row, : len(best)] = score_N[best]
        hit_UK[row, : len(best)] = truth_N[best]
        num_U[row] = truth_N.sum()
    return score_UK, hit_UK, num_U


def _hits(judges: ValidationUsers, users: Ints, ordered: Ints) -> Bools:
    """Which of the first places of the users' lists are right. Shape [U, K]."""
    hit_UK = np.zeros((len(users), K), np.bool_)
    for row, user in enumerate(users):
        first = ordered[user][:K]
        hit_UK[row, : len(first)] = np.isin(first, judges.ground_truth[user])
    return hit_UK
