"""Past items that a score is owed to: the score is computed again without each of some past items.

    drop of item i by past item j = score(i | history) - score(i | history without all events on j)

The ranker's attention proposes the past items. It is not a faithful explanation by itself (Jain and Wallace
2019): benchmarks/reasons.py compares both with the drops of all past items.

Legend: K listed items, M past items that are left out, H past items that the ranker reads, N items.
"""

from dataclasses import replace

import numpy as np

from recsys.arrays import Floats, Ints
from recsys.history import History
from recsys.ids import NUM_RESERVED, PAD
from recsys.retrieval.fallback import answered_by
from recsys.retrieval.recommendations import Recommendations
from recsys.retrieval.recommender import Recommender

LEFT_OUT = 12  # past items that are left out, one at a time, for the reasons of one list


def score_drops(recommender: Recommender, history: History, items: Ints, past: Ints) -> Floats:
    """How much the score of each of `items` falls without each of the items `past`. Shape [M, K].

    NaN where the rest of the history is answered by popularity, whose scores cannot be compared.
    """
    without = []
    for item in past.tolist():
        removed_N = np.zeros(len(recommender.items.vectors), np.bool_)
        removed_N[item] = True
        without.append(history.without_items(removed_N))
    kinds = [answered_by(each, recommender.settings) for each in (history, *without)]
    is_comparable_M = np.array([kind is kinds[0] for kind in kinds[1:]], np.bool_)
    score_BK = recommender.item_scores([history, *without], np.tile(items, (len(past) + 1, 1)))
    drops: Floats = np.where(is_comparable_M[:, None], score_BK[:1] - score_BK[1:], np.float32(np.nan))
    return drops


def by_leave_one_out(
    recommender: Recommender, history: History, listed: Recommendations, row: int = 0, *, num: int = LEFT_OUT
) -> Recommendations:
    """The list `row` alone, with drops of scores in place of the ranker's attention to past items.

    Of the past items the `num` with the largest attention, summed over the list, are left out. A past item
    without which the score does not fall has no weight. A list without attention, and that of a user with
    one past item, keeps the attention.
    """
    alone = listed.row(row)
    if alone.history_attention is None or alone.history_items is None:
        return alone
    items_K, past_H = alone.items[0], alone.history_items[0]
    total_H = alone.history_attention[0].sum(0)
    distinct, place = np.unique(past_H, return_inverse=True)
    weight = np.bincount(place, weights=total_H)
    known = (distinct >= NUM_RESERVED) & (weight > 0)
    past_M = distinct[known][np.argsort(-weight[known], kind="stable")[:num]]
    real_K = items_K != PAD
    if not len(past_M) or not real_K.any():
        return alone
    effect_KH = np.zeros((len(items_K), len(past_H)), np.float32)
    drop_MK = np.maximum(score_drops(recommender, history, items_K[real_K], past_M), 0.0)
    if np.isnan(drop_MK).any():  # nothing but this item is known of the user
        return alone
    for past, drop_K in zip(past_M.tolist(), drop_MK, strict=True):
        newest = int(np.flatnonzero(past_H == past)[-1])  # one event stands for all of the item
        effect_KH[real_K, newest] = drop_K
    was_read_K = alone.history_attention[0].any(1)
    return replace(alone, history_attention=(effect_KH * was_read_K[:, None])[None])
