"""How far new items are lifted among all: a curve on validation, and the point of it that is taken.

Some known items play the new ones, as many as there are new ones: they stand where the newcomer head, fitted
on other items, puts them. Lifting them finds more of those that were chosen, and pushes known items down.

Legend: U users, N items, D width.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from recsys.batches import Bools, Floats, Ints
from training.newcomers import Judges

K = 10
LENGTHS = (0.25, 0.5, 1.0, 2.0)  # mean ones of the newcomers' vectors; a known item's has length 1
NUM_LIFTS = 16
MAX_SHARE = 0.2  # of the known items that may play new ones
MAX_USERS = 2000


@dataclass(frozen=True, kw_only=True)
class Point:
    """One calibration, and what it does to validation figures over the whole catalogue."""

    length: float  # mean length of the newcomers' vectors
    bias: float  # added to their cosines
    warm_ndcg: float
    new_ndcg: float
    new_recall: float


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """The curve, what warm items have without any new one beside them, and the chosen point."""

    curve: tuple[Point, ...]
    warm_alone: float
    chosen: Point
    budget: float  # share of `warm_alone` that may be lost

    def to_dict(self) -> dict[str, object]:
        return asdict(self)


def calibrate(
    item_ND: Floats,
    crossfit_ND: Floats,
    known_N: Bools,
    num_new: int,
    judges: Judges,
    *,
    budget: float,
    seed: int = 0,
) -> Calibration | None:
    """The point of the best Recall of new items whose loss of warm NDCG stays within `budget`.

    `item_ND` are the towers' vectors, `crossfit_ND` what the head, fitted on others, says of each known item,
    of a mean length of 1. None where no validation user chose one of the items that play new ones.
    """
    rng = np.random.default_rng(seed)
    known = np.flatnonzero(known_N & crossfit_ND.any(1))
    num_playing = min(max(num_new, 1), int(MAX_SHARE * len(known)))
    playing_N = np.zeros(len(item_ND), np.bool_)
    playing_N[rng.choice(known, num_playing, replace=False)] = True
    users = rng.permutation(len(judges.truth))[:MAX_USERS]
    race = _Race(item_ND, crossfit_ND, known_N, playing_N, judges, users)
    if not race.has_new or not race.has_warm:
        return None
    alone = race.figures(1.0, -np.inf)[0]
    curve = []
    for length in LENGTHS:
        for lift in race.lifts(length):
            warm, new, recall = race.figures(length, lift)
            curve.append(Point(length=length, bias=lift, warm_ndcg=warm, new_ndcg=new, new_recall=recall))
    allowed = [point for point in curve if point.warm_ndcg >= (1.0 - budget) * alone]
    best = max(allowed, key=lambda point: (point.new_recall, point.new_ndcg, point.warm_ndcg), default=None)
    chosen = best or curve[0]
    return Calibration(curve=tuple(curve), warm_alone=alone, chosen=chosen, budget=budget)


class _Race:
    """Known items against those that play new ones, for each user: sorted scores, and those of the truth."""

    def __init__(
        self,
        item_ND: Floats,
        crossfit_ND: Floats,
        known_N: Bools,
        playing_N: Bools,
        judges: Judges,
        users: Ints,
    ) -> None:
        others = np.flatnonzero(known_N & ~playing_N)
        players = np.flatnonzero(playing_N)
        place = np.full(len(item_ND), -1)
        place[others], place[players] = np.arange(len(others)), np.arange(len(players))
        self.entries = []
        for user in users:
            vector_D = judges.user_UD[user]
            warm = item_ND[others] @ vector_D
            new = crossfit_ND[players] @ vector_D
            truth = judges.truth[user]
            warm_truth = warm[place[truth[known_N[truth] & ~playing_N[truth]]]]
            new_truth = new[place[truth[playing_N[truth]]]]
            seen = judges.seen[user]
            unseen_warm = np.delete(warm, place[seen[known_N[seen] & ~playing_N[seen]]])
            unseen_new = np.delete(new, place[seen[playing_N[seen]]])
            self.entries.append((np.sort(unseen_warm), np.sort(unseen_new), warm_truth, new_truth))

    @property
    def has_warm(self) -> bool:
        return any(len(entry[2]) for entry in self.entries)

    @property
    def has_new(self) -> bool:
        return any(len(entry[3]) for entry in self.entries)

    def lifts(self, length: float) -> Sequence[float]:
        """Biases from where hardly a newcomer reaches anybody's first places to where they fill them."""
        gaps = []
        for warm, new, _, _ in self.entries:
            if len(warm) >= K and len(new):
                best = length * new[::-1]
                gaps.append((warm[-K] - best[0], warm[-1] - best[min(K, len(best)) - 1]))
        if not gaps:
            return [0.0]
        low = np.quantile([gap for gap, _ in gaps], 0.01)
        high = np.quantile([gap for _, gap in gaps], 0.5)
        return [float(lift) for lift in np.linspace(low, max(high, low), NUM_LIFTS)]

    def figures(self, length: float, lift: float) -> tuple[float, float, float]:
        """Mean NDCG@K of warm truth, and NDCG@K and Recall@2K of new truth, in the whole catalogue."""
        warm_scores, new_scores, recalls = [], [], []
        for warm, new, warm_truth, new_truth in self.entries:
            lifted = np.float32(length) * new + np.float32(lift)
            if len(warm_truth):
                warm_scores.append(_ndcg(_ranks(warm_truth, warm, lifted)))
            if len(new_truth):
                rank = _ranks(length * new_truth + lift, warm, lifted)
                new_scores.append(_ndcg(rank))
                recalls.append(float((rank <= 2 * K).mean()))
        return _mean(warm_scores), _mean(new_scores), _mean(recalls)


def _ranks(score: Floats, *ascending: Floats) -> Ints:
    """1 + how many stand above, in lists that are sorted upwards."""
    above = sum(len(each) - np.searchsorted(each, score, side="right") for each in ascending)
    return 1 + np.asarray(above, np.int64)


def _ndcg(rank: Ints) -> float:
    gains = np.sum(1.0 / np.log2(1.0 + rank[rank <= K]))
    ideal = np.sum(1.0 / np.log2(1.0 + np.arange(1, min(K, len(rank)) + 1)))
    return float(gains / ideal)


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else 0.0
