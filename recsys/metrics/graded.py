"""Ranking metrics of each query with graded judgements. Numpy only.

Shape suffixes: Q queries, K ranks.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from recsys.arrays import Ints
from recsys.errors import DataError
from recsys.metrics.ranking import Doubles

# Item id -> grade of one query. An item is relevant where its grade is above 0; unjudged items are not.
Grades = Mapping[int, float]


def graded_at_k(ranked_QK: Ints, judgements: Sequence[Grades], ks: Sequence[int]) -> dict[str, Doubles]:
    """`{"ndcg@10": [Q], "recall@10": ..., "mrr@10": ...}` for each of `ks`.

    `ranked_QK` holds item ids, best first, 0 where there is no item.

    - NDCG@k = sum over ranks of grade / log2(rank + 1), divided by the same sum of the k best grades in
      descending order (Järvelin and Kekäläinen 2002); trec_eval's `ndcg_cut_k`.
    - Recall@k = relevant items in the first k / relevant items; `recall_k`.
    - MRR@k = 1 / rank of the first relevant item within k, else 0; `recip_rank` of a list cut at k.

    Raises `DataError` for a query without a relevant item, and where a k is above the number of ranks.
    """
    if len(ranked_QK) != len(judgements):
        raise DataError(f"{len(ranked_QK)} lists for {len(judgements)} queries; give one list for each query")
    if not ks or min(ks) < 1 or max(ks) > ranked_QK.shape[1]:
        raise DataError(f"k of {tuple(ks)} with {ranked_QK.shape[1]} ranks; each k is from 1 to these")
    gain_QK = np.array(
        [
            [max(grades.get(item, 0), 0) for item in row]
            for row, grades in zip(ranked_QK.tolist(), judgements, strict=True)
        ],
        np.float64,
    ).reshape(ranked_QK.shape)
    best = [sorted((grade for grade in grades.values() if grade > 0), reverse=True) for grades in judgements]
    for row, grades in enumerate(best):
        if not grades:
            raise DataError(f"query in row {row} has no relevant item; leave out queries without one")
    rank_K = np.arange(1, ranked_QK.shape[1] + 1)
    discount_K = 1.0 / np.log2(rank_K + 1)
    num_Q = np.array([len(grades) for grades in best], np.float64)
    values: dict[str, Doubles] = {}
    for k in ks:
        gain_Qk = gain_QK[:, :k]
        ideal_Q = np.array([np.dot(grades[:k], discount_K[: len(grades[:k])]) for grades in best])
        values[f"ndcg@{k}"] = gain_Qk @ discount_K[:k] / ideal_Q
        values[f"recall@{k}"] = (gain_Qk > 0).sum(1) / num_Q
        values[f"mrr@{k}"] = ((gain_Qk > 0) / rank_K[:k]).max(1)
    return values
