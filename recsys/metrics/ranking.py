"""Ranking metrics of each user and their means. Numpy only.

Shape suffixes: U users, K ranks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from recsys.arrays import Bools, Ints
from recsys.errors import DataError
from recsys.ids import PAD

Doubles = npt.NDArray[np.float64]

METRICS = ("recall", "hr", "ndcg", "mrr", "map")


@dataclass(frozen=True, kw_only=True)
class IdLists:
    """One list of ids for each user, as offsets into one array; an id is in a list at most once."""

    offsets: Ints  # [U + 1]
    ids: Ints  # [offsets[-1]], ascending within a list

    @classmethod
    def from_lists(cls, lists: Sequence[Ints]) -> "IdLists":
        """From one array of ids for each user. A repeated id counts once."""
        rows = np.repeat(np.arange(len(lists)), [len(ids) for ids in lists])
        return cls.from_pairs(rows, np.concatenate([np.empty(0, np.int64), *lists]), len(lists))

    @classmethod
    def from_pairs(cls, rows: Ints, ids: Ints, num_lists: int) -> "IdLists":
        """From pairs of a list's number and an id, in any order. A repeated pair counts once."""
        if len(ids) and ids.min() <= PAD:
            raise DataError(f"id {ids.min()} in a list of items; ids are above {PAD}, which is padding")
        stride = int(ids.max(initial=PAD)) + 1
        pairs = np.sort(rows.astype(np.int64) * stride + ids)  # faster than np.unique, which hashes
        pairs = pairs[np.diff(pairs, prepend=-1) != 0]
        counts = np.bincount(pairs // stride, minlength=num_lists)
        return cls(offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64), ids=pairs % stride)

    @classmethod
    def joined(cls, parts: Sequence["IdLists"]) -> "IdLists":
        """The lists of all `parts`, in the order of the parts."""
        counts = np.concatenate([part.counts for part in parts])
        return cls(
            offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            ids=np.concatenate([part.ids for part in parts]),
        )

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def to_lists(self) -> list[Ints]:
        """One array of ids for each list."""
        return [self.ids[start:end] for start, end in pairwise(self.offsets)]

    @property
    def counts(self) -> Ints:
        """Length of each list. Shape [U]."""
        return np.diff(self.offsets)

    def contain(self, ranked_UK: Ints) -> Bools:
        """Whether each id is in its user's list; False for padding. Shape [U, K]."""
        return self.contain_pairs(np.arange(len(self))[:, None], ranked_UK)

    def contain_pairs(self, rows: Ints, ids: Ints) -> Bools:
        """Whether `ids` are in the lists with the numbers `rows`; the two arrays are broadcast."""
        stride = int(max(self.ids.max(initial=PAD), ids.max(initial=PAD))) + 1
        own = np.repeat(np.arange(len(self)), self.counts) * stride + self.ids
        pairs = np.append(own, len(self) * stride)  # ascending; the last one is above every wanted pair
        wanted = rows * stride + ids
        found: Bools = pairs[np.searchsorted(pairs, wanted)] == wanted
        return found


def at_k(ranked_UK: Ints, ground_truth: IdLists | Sequence[Ints], ks: Sequence[int]) -> dict[str, Doubles]:
    """`{"recall@10": [U], "hr@10": ..., "ndcg@10": ..., "mrr@10": ..., "map@10": ...}` for each of `ks`.

    `ranked_UK` holds item ids, best first, 0 where there is no item. With T true items:

    - Recall@k = hits / T; trec_eval's `recall_k`.
    - HR@k = 1 if there is a hit; `success_k`.
    - NDCG@k = sum over hits of 1 / log2(rank + 1), divided by the same sum over the first min(k, T) ranks
      (Järvelin and Kekäläinen 2002, binary gains); `ndcg_cut_k`.
    - MRR@k = 1 / rank of the first hit within k, else 0; `recip_rank` of a list cut at k.
    - MAP@k = sum over hits of the precision at the hit's rank, divided by min(k, T), so that k hits in k
      ranks give 1. `map_cut_k` divides by T instead: MAP@k = `map_cut_k` * T / min(k, T).
    """
    lists = ground_truth if isinstance(ground_truth, IdLists) else IdLists.from_lists(ground_truth)
    _check(ranked_UK, lists, ks)
    hit_UK = lists.contain(ranked_UK)
    rank_K = np.arange(1, ranked_UK.shape[1] + 1)
    discount_K = 1.0 / np.log2(rank_K + 1)
    ideal_K = np.cumsum(discount_K)
    precision_UK = np.where(hit_UK, np.cumsum(hit_UK, axis=1) / rank_K, 0.0)  # at hits alone
    values: dict[str, Doubles] = {}
    for k in ks:
        hit_Uk = hit_UK[:, :k]
        most = np.minimum(k, lists.counts)  # hits that a list of k can have
        by_name = {
            "recall": hit_Uk.sum(1) / lists.counts,
            "hr": hit_Uk.any(1).astype(np.float64),
            "ndcg": hit_Uk @ discount_K[:k] / ideal_K[most - 1],
            "mrr": (hit_Uk / rank_K[:k]).max(1),
            "map": precision_UK[:, :k].sum(1) / most,
        }
        values |= {f"{name}@{k}": by_name[name] for name in METRICS}
    return values


def means(values: Mapping[str, Doubles]) -> dict[str, float]:
    """Mean over users of every metric; NaN where there is no user."""
    return {name: float(v.mean()) if len(v) else float("nan") for name, v in values.items()}


def _check(ranked_UK: Ints, ground_truth: IdLists, ks: Sequence[int]) -> None:
    if len(ranked_UK) != len(ground_truth):
        raise DataError(
            f"{len(ranked_UK)} ranked lists for {len(ground_truth)} users; give one list for each user"
        )
    if not ks or min(ks) < 1 or max(ks) > ranked_UK.shape[1]:
        raise DataError(
            f"k of {tuple(ks)} with {ranked_UK.shape[1]} ranks; each k must be from 1 to the number of ranks"
        )
    if len(ground_truth) and ground_truth.counts.min() == 0:
        row = int(ground_truth.counts.argmin())
        raise DataError(f"user in row {row} has no true item; leave out users without ground truth")
    in_order = np.sort(ranked_UK, axis=1)
    repeated = (in_order[:, 1:] == in_order[:, :-1]) & (in_order[:, 1:] != PAD)
    if repeated.any():
        row, column = np.argwhere(repeated)[0]
        raise DataError(f"item {in_order[row, column]} is repeated in ranked row {row}; ids must be unique")
