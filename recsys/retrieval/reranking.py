"""The last steps before an answer: where new items stand, and an order that trades relevance for variety."""

import numpy as np

from recsys.arrays import (
    Bools,
    Floats,
    Ints,
    unit,
)
from recsys.ids import PAD

DECIMALS = 3  # what differs by less is a tie: sums in another order must not give another list
GAP = 2 * 10.0**-DECIMALS  # no tie, whatever is rounded


def best_first(score_BK: Floats, item_BK: Ints) -> Ints:
    """Places of each row from the highest score to the lowest, ties by ascending item id. Shape [B, K].

    Scores are compared at `DECIMALS` places, so that a user alone and in a batch gets the same list.
    """
    places: Ints = np.lexsort((item_BK, -np.round(score_BK.astype(np.float64), DECIMALS)), axis=1)
    return places


def settle_new(retriever_BK: Floats, score_BK: Floats, new_BK: Bools, known_BK: Bools) -> Floats:
    """Final scores in which new items keep the places among the known ones that the retriever gave them.

    A ranker learns from events, of which a new item has none, and so would bury it. Per row the known items'
    retriever scores, sorted, are carried over to their final scores, sorted, and a new item's between two
    of them linearly; beyond the ends it keeps its distance. Where nothing is known, as it was. Shape [B, K].
    """
    settled_BK = score_BK.copy()
    for row in np.flatnonzero(new_BK.any(1)):
        new_K, known_K = new_BK[row], known_BK[row]
        before = np.sort(retriever_BK[row, known_K])
        asked = retriever_BK[row, new_K]
        if not len(before):
            settled_BK[row, new_K] = asked
            continue
        after = np.sort(score_BK[row, known_K])
        beyond = asked - np.clip(asked, before[0], before[-1])
        settled_BK[row, new_K] = np.interp(asked, before, after) + beyond
    return settled_BK


def first_place_of_new(cold_from: int, k: int) -> int:
    """The place from which on new items may stand in a list of `k`.

    A list that ends before `cold_from` opens its last tenth, rounded down: with fewer than ten places it is
    k + 1, none of them.
    """
    return cold_from if cold_from <= k else k - k // 10 + 1


def hold_back(score_BK: Floats, new_BK: Bools, known_BK: Bools, *, first: int) -> Floats:
    """Scores with which new items stand at place `first` of their list at the earliest, in their own order.

    Those that stood before it come, evenly spread, right after the known item at place `first` - 1 of the
    known ones; where fewer are known, after all of them. Where these leave no room between them for scores
    that are no ties, all that follow move down. Shape [B, K].
    """
    if first <= 1 or not new_BK.any():
        return score_BK
    held_BK = score_BK.copy()
    for row in np.flatnonzero(new_BK.any(1) & known_BK.any(1)):
        known = -np.sort(-score_BK[row, known_BK[row]])
        above = known[min(first - 1, len(known)) - 1]
        below = known[first - 1] if first <= len(known) else above - 1.0
        early = np.flatnonzero(new_BK[row] & (score_BK[row] >= above))
        late = score_BK[row, new_BK[row] & (score_BK[row] < above)]
        below = max([below, *late])
        order = early[np.argsort(-score_BK[row, early], kind="stable")]
        lacking = max(0.0, GAP * (len(order) + 1) - (above - below)) if len(order) else 0.0
        held_BK[row, score_BK[row] <= below] -= lacking
        below -= lacking
        held_BK[row, order] = np.linspace(above, below, len(order) + 2)[1:-1]
    return held_BK


def diversify(
    item_BK: Ints,
    score_BK: Floats,
    new_BK: Bools,
    vector_ND: Floats,
    *,
    k: int,
    weight: float,
    first: int = 1,
) -> Ints:
    """Places [B, k] of the picked candidates by maximal marginal relevance (Carbonell and Goldstein 1998).

    Picks in turn the candidate with the highest score - weight * (largest cosine to those picked): before
    place `first` a known one while there is one, and padding when nothing else is left. With weight 0 it is
    the order by score, ties by item id; scores that were held back keep to `first` by themselves.
    """
    if weight == 0.0:
        return best_first(score_BK, item_BK)[:, :k]
    picked = np.empty((len(item_BK), min(k, item_BK.shape[1])), np.int64)
    for row, (items, scores) in enumerate(zip(item_BK, score_BK, strict=True)):
        vectors = unit(vector_ND[items])
        real, left = items != PAD, np.ones(len(items), np.bool_)
        known = real & ~new_BK[row]
        redundancy = np.zeros(len(items))
        for place in range(picked.shape[1]):
            groups = (real, left) if place + 1 >= first else (known, real, left)
            choice = next(at for group in groups if len(at := np.flatnonzero(group & left)))
            best = choice[np.argmax(scores[choice] - weight * redundancy[choice])]
            picked[row, place] = best
            left[best] = False
            redundancy = np.maximum(redundancy, vectors @ vectors[best])
    return picked
