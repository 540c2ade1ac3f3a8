"""Orders of candidates: by score, and by maximal marginal relevance for diversity.

Legend: B users, K candidates, L ranks of a list, N items, D width.
"""

import numpy as np

from recsys.arrays import Bools, Floats, Ints, unit
from recsys.ids import PAD

DECIMALS = 3  # scores are rounded: sums in another order (other batch sizes) must not give another list


def best_first(score_BK: Floats, item_BK: Ints) -> Ints:
    """Columns of each row from the highest score to the lowest, ties by ascending item id. Shape [B, K].

    Scores are compared at `DECIMALS` places, so that a user alone and in a batch gets the same list.
    """
    columns: Ints = np.lexsort((item_BK, -np.round(score_BK.astype(np.float64), DECIMALS)), axis=1)
    return columns


def diversify(
    item_BL: Ints, score_BL: Floats, is_cold_BL: Bools, vector_ND: Floats, *, k: int, weight: float
) -> Ints:
    """Places [B, k] of the list's items by maximal marginal relevance (Carbonell and Goldstein 1998).

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
