"""Search between modalities: how often a vector of one modality finds the other modality of the same item.

Legend: N items of the catalogue, P items with both modalities, S width of the shared space.
"""

from collections.abc import Mapping
from itertools import permutations

import numpy as np
import polars as pl

from recsys.arrays import Floats, Ints
from recsys.modalities import EncoderKind
from recsys.search import AlignmentHeads
from training.alignment.views import ModalityVectors, modality_kinds

CUT_OFFS = (1, 5, 10)
_ROWS = 1024  # queries scored at once


def cross_modal_recall(
    heads: AlignmentHeads,
    vectors: ModalityVectors,
    held_out: Ints,
    *,
    kinds: Mapping[str, EncoderKind] | None = None,
) -> pl.DataFrame:
    """One row for each ordered pair of modalities that at least one held-out item has.

    The query is the vector of one modality, and the answer the `n` held-out items with both modalities,
    ordered by cosine in the shared space; the one relevant item is the query's own. Columns: `query`, `item`,
    `Recall@1`, `Recall@5`, `Recall@10`, `median rank` (1 is the best), `n`, and `chance`, the Recall@10 of a
    random order. Modalities without a head are left out. `kinds` has the kinds of modalities that the
    registry does not know.
    """
    kind_of = modality_kinds(vectors, kinds)
    names = [name for name in vectors if kind_of.get(name) in heads.kinds]
    rows = []
    for query, item in permutations(names, 2):
        both = held_out[vectors[query][1][held_out] & vectors[item][1][held_out]]
        if not len(both):
            continue
        query_PS, item_PS = (
            heads.project(kind_of[name], vectors[name][0][both].astype(np.float32)) for name in (query, item)
        )
        ranks = ranks_of_own(query_PS, item_PS)
        recalls = {f"Recall@{k}": float((ranks <= k).mean()) for k in CUT_OFFS}
        rows.append(
            {"query": query, "item": item, **recalls, "median rank": float(np.median(ranks)), "n": len(both)}
            | {"chance": min(CUT_OFFS[-1] / len(both), 1.0)}
        )
    return pl.DataFrame(rows, schema=_SCHEMA)


def ranks_of_own(query_PS: Floats, item_PS: Floats) -> Ints:
    """Rank from 1 on of item i in the order of query i by dot product; ties go to the lowest i. Shape [P]."""
    own_P = np.arange(len(query_PS))
    ranks_P = np.empty(len(query_PS), np.int64)
    for start in range(0, len(query_PS), _ROWS):
        rows = slice(start, start + _ROWS)
        score = query_PS[rows] @ item_PS.T
        own_score = score[np.arange(len(score)), own_P[rows]][:, None]
        is_before = (score > own_score) | ((score == own_score) & (own_P[None] < own_P[rows, None]))
        ranks_P[rows] = 1 + is_before.sum(1)
    return ranks_P


_SCHEMA = {
    "query": pl.String,
    "item": pl.String,
    **{f"Recall@{k}": pl.Float64 for k in CUT_OFFS},
    "median rank": pl.Float64,
    "n": pl.Int64,
    "chance": pl.Float64,
}
