"""The last step before an answer: an order that trades relevance against repetition."""

import numpy as np

from recsys.batches import Floats, Ints
from recsys.ids import PAD

DECIMALS = 3  # what differs by less is a tie: sums in another order must not give another list


def best_first(score_BK: Floats, item_BK: Ints) -> Ints:
    """Places of each row from the highest score to the lowest, ties by ascending item id. Shape [B, K].

    Scores are compared at `DECIMALS` places, so that a user alone and in a batch gets the same list.
    """
    places: Ints = np.lexsort((item_BK, -np.round(score_BK.astype(np.float64), DECIMALS)), axis=1)
    return places


def diversify(item_BK: Ints, score_BK: Floats, vector_ND: Floats, *, k: int, weight: float) -> Ints:
    """Places [B, k] of the picked candidates by maximal marginal relevance (Carbonell and Goldstein 1998).

    Picks in turn the candidate with the highest score - weight * (largest cosine to those picked).
    With weight 0 it is the order by score, ties by item id.
    """
    if weight == 0.0:
        return best_first(score_BK, item_BK)[:, :k]
    picked = np.empty((len(item_BK), min(k, item_BK.shape[1])), np.int64)
    for row, (items, scores) in enumerate(zip(item_BK, score_BK, strict=True)):
        vectors = vector_ND[items]
        remaining = np.where(items != PAD, scores, -np.inf).astype(np.float64)
        redundancy = np.zeros(len(items))
        for place in range(picked.shape[1]):
            best = int(np.argmax(remaining - weight * redundancy))
            picked[row, place] = best
            remaining[best] = -np.inf
            redundancy = np.maximum(redundancy, vectors @ vectors[best])
    return picked
