"""Merges warm and cold items into one list. Cold items have fixed ranks that do not depend on its length.

Legend: B users, L ranks of a list, W warm items, C cold items.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from recsys.arrays import Bools, Floats, Ints
from recsys.ids import PAD
from recsys.retrieval.item_lists import ItemLists
from recsys.retrieval.settings import PAGE

STEP = 0.01  # difference of the scores of adjacent cold items before the first or after the last warm item


def cold_positions(num_warm: int, num_cold: int, cold_ranks: Sequence[int]) -> Ints:
    """Positions (from 0) of the cold items in the merged list. Shape [num_cold].

    The j-th cold item has the j-th rank of the repeated pattern. Where the list has too few warm items to
    reach this rank, the cold item follows the last warm item and the cold items before it.
    """
    after_warm = num_warm + np.arange(num_cold)
    if not cold_ranks:
        return after_warm
    page, within = np.divmod(np.arange(num_cold), len(cold_ranks))
    pattern = page * PAGE + np.asarray(cold_ranks, np.int64)[within] - 1
    return np.minimum(pattern, after_warm)


def merge_by_rank(warm: ItemLists, cold: ItemLists, cold_ranks: Sequence[int]) -> tuple[ItemLists, Bools]:
    """The merged lists [B, W + C], and a mask of their cold items.

    The order within the warm list and within the cold list is kept. The score of a cold item is interpolated
    linearly between the scores of the nearest warm items before and after it. Without any warm item,
    cold items keep their own scores.
    """
    num_rows, num_warm = warm.items.shape
    place_BL = np.empty((num_rows, num_warm + cold.items.shape[1]), np.int64)  # into warm, then cold
    is_cold_BL = np.zeros(place_BL.shape, np.bool_)
    counts = zip((warm.items != PAD).sum(1), (cold.items != PAD).sum(1), strict=True)
    for row, (num_warm_row, num_cold_row) in enumerate(counts):
        at = cold_positions(num_warm_row, num_cold_row, cold_ranks)
        is_cold_BL[row, at] = True
        place_BL[row, at] = num_warm + np.arange(num_cold_row)
        place_BL[row, ~is_cold_BL[row]] = np.r_[
            np.arange(num_warm), num_warm + np.arange(num_cold_row, cold.items.shape[1])
        ]
    both = ItemLists(
        items=np.concatenate([warm.items, cold.items], axis=1),
        scores=np.concatenate([warm.scores, cold.scores], axis=1),
        retriever_scores=np.concatenate([warm.retriever_scores, cold.retriever_scores], axis=1),
        column=np.concatenate([warm.column, cold.column], axis=1),
    ).at(place_BL)
    scores = both.scores.copy()
    for row in range(num_rows):
        scores[row] = _between(both.items[row], both.scores[row], is_cold_BL[row])
    return replace(both, scores=scores), is_cold_BL


def _between(item_L: Ints, score_L: Floats, is_cold_L: Bools) -> Floats:
    """Scores of one list, with interpolated scores of its cold items. Shape [L]."""
    warm, cold = np.flatnonzero((item_L != PAD) & ~is_cold_L), np.flatnonzero(is_cold_L)
    if not len(warm) or not len(cold):
        return score_L
    score_between_L = score_L.copy()
    score_between_L[cold] = np.interp(cold, warm, score_L[warm])
    score_between_L[cold] += STEP * (np.maximum(warm[0] - cold, 0) - np.maximum(cold - warm[-1], 0))
    return score_between_L
