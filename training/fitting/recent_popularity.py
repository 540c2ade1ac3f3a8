"""Popularity for users of whom nothing is known: recent events may count more than old ones.

    popularity of item i = sum over its positive training events of 2^(-age / half-life)

The age is the time to the newest training event. The order of the items does not depend on the time at which
it is asked for. The half-life is chosen on validation.

Legend: U users, N items.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from recsys.arrays import Floats, Ints
from recsys.item_features import ItemArrays
from recsys.metrics import Doubles, at_k, is_clear, standard_error
from recsys.retrieval import Popularity
from training.ranker import SELECTION_K
from training.sequences import TrainingSequence

logger = logging.getLogger(__name__)

MIN_USERS = 30  # with fewer validation users nothing is chosen
MICROSECONDS_A_DAY = 86_400e6


@dataclass(frozen=True, kw_only=True)
class HalfLife:
    """The chosen half-life and its reason; None: every event counts the same."""

    days: float | None = None
    reason: str = "not measured"


def decayed_counts(
    sequences: Mapping[str, TrainingSequence], num_items: int, half_life_days: float
) -> Floats:
    """The formula of the module's docstring. Shape [N]."""
    (count_N,) = _decayed(sequences, num_items, [half_life_days])
    return count_N


def _decayed(
    sequences: Mapping[str, TrainingSequence], num_items: int, half_lives_days: Sequence[float]
) -> list[Floats]:
    """As `decayed_counts`, for each half-life; the sequences are read as often as for one."""
    newest = max(
        (int(each.history.timestamp[-1]) for each in sequences.values() if len(each.history)), default=0
    )
    counts = [np.zeros(num_items, np.float64) for _ in half_lives_days]
    for each in sequences.values():
        item, time = each.history.item[each.target], each.history.timestamp[each.target]
        age = (newest - time) / MICROSECONDS_A_DAY
        for count_N, days in zip(counts, half_lives_days, strict=True):
            np.add.at(count_N, item, np.exp2(-age / days))
    return [count_N.astype(np.float32) for count_N in counts]


def choose_half_life(
    items: ItemArrays,
    sequences: Mapping[str, TrainingSequence],
    ground_truth: Sequence[Ints],
    seen: Sequence[Ints],
    half_lives_days: Sequence[float],
) -> HalfLife:
    """The half-life with the highest NDCG@10 on validation users, without the items `seen` of each.

    No decay unless the best half-life is better by more than the standard error of the paired difference.
    """
    if not half_lives_days or len(ground_truth) < MIN_USERS:
        reason = f"{len(ground_truth)} validation users; {MIN_USERS} are needed to choose a half-life"
        return HalfLife(reason=reason if half_lives_days else "no half-lives are configured")

    def ndcg(popularity_N: Floats | None) -> Doubles:
        order = Popularity(replace(items, recent_popularity=popularity_N), temperature=1.0)
        listed = order.top(len(seen), SELECTION_K, excluded=seen, allowed=None)
        return at_k(listed, ground_truth, [SELECTION_K])[f"ndcg@{SELECTION_K}"]

    without = ndcg(None)
    counts = _decayed(sequences, len(items.popularity), half_lives_days)
    found = {days: ndcg(count_N) for days, count_N in zip(half_lives_days, counts, strict=True)}
    best = max(found, key=lambda days: float(found[days].mean()))
    gain = found[best] - without
    described = (
        f"NDCG@{SELECTION_K} of popularity on {len(gain)} validation users: {without.mean():.4f} without "
        f"decay, {found[best].mean():.4f} with a half-life of {best:g} days "
        f"(standard error {standard_error(gain):.4f})"
    )
    logger.info("%s", described)
    return HalfLife(days=best if is_clear(gain) else None, reason=described)
