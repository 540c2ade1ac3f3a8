"""`ExactIndex`: all inner products."""

from pathlib import Path
from typing import ClassVar, Self

import numpy as np

from recsys.arrays import Bools, Floats, Ints
from recsys.ids import NUM_RESERVED, PAD
from recsys.retrieval.index.base import check_search, checked, load_arrays, read_settings, save_arrays
from recsys.retrieval.topk import top_k

MAX_SCORES = 32_000_000  # scores in memory at once; a search over more is cut into chunks of queries
WHOLE_SHARE = 0.5  # from this share of allowed items on all items are scored and the others left out


class ExactIndex:
    """All inner products, by one matrix product: exact, and quick enough up to about a million items."""

    kind: ClassVar[str] = "exact"

    def __init__(self, vectors: Floats, ids: Ints) -> None:
        self.vectors_ND = vectors
        self.ids_N = ids

    @classmethod
    def build(cls, vectors: Floats, ids: Ints | None = None) -> Self:
        return cls(*checked(vectors, ids))

    def search(self, queries: Floats, k: int, *, allowed: Bools | None = None) -> tuple[Ints, Floats]:
        check_search(queries, k, allowed, self.vectors_ND)
        usable_N = self.ids_N >= NUM_RESERVED
        if allowed is not None:
            usable_N = usable_N & allowed
        rows = np.flatnonzero(usable_N)
        items_BK = np.full((len(queries), k), PAD, np.int64)
        best_BK = np.full((len(queries), k), -np.inf, np.float32)
        if not len(rows):
            return items_BK, best_BK
        # Few rows left out are no reason to copy the whole catalogue.
        whole = len(rows) + NUM_RESERVED >= WHOLE_SHARE * len(self.ids_N)
        vectors_ND = self.vectors_ND if whole else self.vectors_ND[rows]
        ids_N = self.ids_N if whole else self.ids_N[rows]
        chunk = max(1, MAX_SCORES // len(ids_N))
        for start in range(0, len(queries), chunk):
            part = slice(start, start + chunk)
            scores_BN = queries[part] @ vectors_ND.T
            items_BK[part], best_BK[part] = top_k(
                scores_BN, k, ids_N=ids_N, allowed=allowed if whole else None
            )
        return items_BK, best_BK

    def save(self, directory: Path) -> None:
        save_arrays(directory, self.kind, self.vectors_ND, self.ids_N)

    @classmethod
    def load(cls, directory: Path) -> Self:
        read_settings(directory, cls.kind)
        return cls(*load_arrays(directory))
