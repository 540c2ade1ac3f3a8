"""Top-k selection, and the exclusion of items from it.

Order: higher scores first, equal scores by ascending item id, also at the cut between rank k and rank k + 1.
Legend: B users, N items (columns), K candidates, k ranks of a list.
"""

from collections.abc import Sequence

import numpy as np

from recsys.arrays import Bools, Floats, Ints
from recsys.errors import RecsysError
from recsys.ids import NUM_RESERVED, PAD
from recsys.metrics import IdLists

Excluded = IdLists | Sequence[Ints]  # for each user the item ids that are left out


def top_k(
    score_BN: Floats,
    k: int,
    *,
    ids_N: Ints | None = None,
    allowed: Bools | None = None,
    excluded: Excluded | None = None,
) -> tuple[Ints, Floats]:
    """Ids and scores of the k best items of each user, best first. Shapes [B, k].

    Column n of `score_BN` is the item n, or `ids_N`[n] (strictly ascending) where given. Padding, unknown,
    items outside `allowed` [N] and the user's `excluded` items (by column) are never returned, nor is a
    score of -inf. Where fewer than k items are left, the list ends in id 0 with score -inf.

    `score_BN` is overwritten with -inf where an item is left out: a copy would double the memory. Raises
    `RecsysError` for a NaN.
    """
    if score_BN.size and np.isnan(score_BN.max()):  # the maximum of a NaN and anything is NaN
        raise RecsysError(f"NaN among the scores of user row {int(np.isnan(score_BN).any(1).argmax())}")
    num_items = score_BN.shape[1]
    ids_N = np.arange(num_items) if ids_N is None else ids_N
    score_BN[:, ids_N < NUM_RESERVED] = -np.inf
    mask_excluded(score_BN, allowed=allowed, excluded=excluded)
    best_Bk = np.full((len(score_BN), k), PAD, np.int64)
    best_score_Bk = np.full((len(score_BN), k), -np.inf, np.float32)
    width = min(k, num_items)
    if width == 0:
        return best_Bk, best_score_Bk
    cut_B = np.partition(score_BN, num_items - width, axis=1)[:, num_items - width]
    for row, score_N in enumerate(score_BN):
        above = np.flatnonzero(score_N > cut_B[row])
        above = above[np.argsort(-score_N[above], kind="stable")]
        if cut_B[row] > -np.inf:  # of the items that tie for the last ranks, those with the lowest ids
            above = np.concatenate([above, np.flatnonzero(score_N == cut_B[row])[: width - len(above)]])
        best_Bk[row, : len(above)] = ids_N[above]
        best_score_Bk[row, : len(above)] = score_N[above]
    return best_Bk, best_score_Bk


def top_k_of_lists(
    item_BK: Ints, score_BK: Floats, k: int, *, excluded: Excluded | None = None
) -> tuple[Ints, Floats]:
    """`top_k` where each user has candidates `item_BK` of their own, in any order. Shapes [B, k].

    `excluded` holds item ids. Nothing is overwritten.
    """
    if np.isnan(score_BK).any():
        raise RecsysError(f"NaN among the scores of user row {int(np.isnan(score_BK).any(1).argmax())}")
    item_BK, score_BK = _best_columns(item_BK, score_BK, max(k, 1) + _most(excluded))
    left_BK = (item_BK >= NUM_RESERVED) & (score_BK > -np.inf) & ~_contained(item_BK, excluded)
    item_BK = np.where(left_BK, item_BK, PAD)
    score_BK = np.where(left_BK, score_BK, -np.inf).astype(np.float32)
    order_Bk = np.lexsort((item_BK, -score_BK), axis=1)[:, :k]
    item_Bk: Ints = np.take_along_axis(item_BK, order_Bk, 1)
    score_Bk: Floats = np.take_along_axis(score_BK, order_Bk, 1)
    missing = ((0, 0), (0, k - order_Bk.shape[1]))
    if missing[1][1]:
        item_Bk = np.pad(item_Bk, missing, constant_values=PAD)
        score_Bk = np.pad(score_Bk, missing, constant_values=-np.inf)
    return item_Bk, score_Bk


def _best_columns(item_BK: Ints, score_BK: Floats, num: int) -> tuple[Ints, Floats]:
    """The columns with the `num` highest scores of a list, and those that tie with the last of them.

    Cheaper than sorting all of many columns. Several lists keep all of theirs.
    """
    if len(item_BK) != 1 or item_BK.shape[1] <= 4 * num:
        return item_BK, score_BK
    score_K = np.where(item_BK[0] >= NUM_RESERVED, score_BK[0], -np.inf)
    cut = np.partition(score_K, len(score_K) - num)[len(score_K) - num]
    best = np.flatnonzero(score_K >= cut)
    return item_BK[:, best], score_BK[:, best]


def mask_excluded(
    score_BN: Floats,
    *,
    allowed: Bools | None = None,
    excluded: Excluded | None = None,
    value: float = -np.inf,
) -> Floats:
    """`score_BN`, overwritten with `value` outside `allowed` [N] and at each user's `excluded` columns."""
    if allowed is not None:
        np.copyto(score_BN, value, where=~allowed)
    if excluded is not None:
        score_BN[_pairs(excluded)] = value
    return score_BN


def _pairs(excluded: Excluded) -> tuple[Ints, Ints]:
    """Row and item of every excluded item."""
    if isinstance(excluded, IdLists):
        return np.repeat(np.arange(len(excluded)), excluded.counts), excluded.ids
    rows = np.repeat(np.arange(len(excluded)), [len(items) for items in excluded])
    return rows, np.concatenate([np.empty(0, np.int64), *excluded])


def _most(excluded: Excluded | None) -> int:
    """The largest number of items that are left out for one user."""
    if isinstance(excluded, IdLists):
        return int(excluded.counts.max(initial=0))
    return max((len(items) for items in excluded or ()), default=0)


def _contained(item_BK: Ints, excluded: Excluded | None) -> Bools:
    if excluded is None:
        return np.zeros(item_BK.shape, np.bool_)
    if isinstance(excluded, IdLists):
        return excluded.contain(item_BK)
    return np.stack([np.isin(items, own) for items, own in zip(item_BK, excluded, strict=True)])
