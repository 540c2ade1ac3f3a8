"""Orders of candidates: by score, and by maximal marginal relevance for diversity.

Legend: B users, K candidates, L ranks of a list, N items, D width.
"""

import numpy as np

from recsys.arrays import Bools, Floats, Ints, unit
from recsys.ids import PAD

# Scores that differ by at most this are a tie. It is more than the rounding errors of float32, which depend
# on the size of the batch and differ between ONNX Runtime and torch. It is less than the 1e-4 within which
# two lists may differ.
TIE = 3e-5
# The largest weight of `diversify`. A retriever's score is a cosine divided by the temperature, which is at
# least 0.01: with a weight of 100 the similarity to picked items counts at least as much as such a score.
MAX_DIVERSITY = 100.0


def best_first(score_BK: Floats, item_BK: Ints) -> Ints:
    """Columns of each row from the highest score to the lowest, ties by ascending item id. Shape [B, K].

    Two neighbours in descending order of score tie where their scores differ by at most `TIE`. Scores are not
    rounded: a score near the edge of a rounding step would be rounded up by one computation and down by
    another.
    """
    order_BK = np.argsort(-score_BK, axis=1, kind="stable")
    tie_BK = tie_groups(np.take_along_axis(score_BK, order_BK, 1))
    within_BK = np.lexsort((np.take_along_axis(item_BK, order_BK, 1), tie_BK), axis=1)
    columns: Ints = np.take_along_axis(order_BK, within_BK, 1)
    return columns


def tie_groups(score_BK: Floats) -> Ints:
    """For each of the scores, in descending order, the number of its group of ties, from 0. Shape [B, K]."""
    group_BK = np.zeros(score_BK.shape, np.int64)
    with np.errstate(invalid="ignore"):  # -inf - -inf at padding, which is one group
        np.cumsum(score_BK[:, :-1] - score_BK[:, 1:] > TIE, axis=1, out=group_BK[:, 1:])
    return group_BK


def diversify(
    item_BL: Ints, score_BL: Floats, is_cold_BL: Bools, vector_ND: Floats, *, k: int, weight: float
) -> Ints:
    """Positions [B, k] of the list's items by maximal marginal relevance (Carbonell and Goldstein 1998).

    Picks in turn the item with the highest score - weight * (largest cosine to the picked items), among the
    items of the kind, warm or cold, that the list has at that rank: cold items keep their ranks. The pick at
    a rank does not depend on k. With weight 0 the list stays as it is.
    """
    num_picks = min(k, item_BL.shape[1])
    if weight == 0.0:
        return np.tile(np.arange(num_picks), (len(item_BL), 1))
    place_Bk = np.empty((len(item_BL), num_picks), np.int64)
    for row, (items, scores) in enumerate(zip(item_BL, score_BL, strict=True)):
        vectors = unit(vector_ND[items])
        kind = np.where(items == PAD, 2, is_cold_BL[row])
        left = np.ones(len(items), np.bool_)
        redundancy = np.zeros(len(items))
        for rank in range(num_picks):
            choice = np.flatnonzero(left & (kind == kind[rank]))
            best = choice[np.argmax(scores[choice] - weight * redundancy[choice])]
            place_Bk[row, rank] = best
            left[best] = False
            redundancy = np.maximum(redundancy, vectors @ vectors[best])
    return place_Bk
