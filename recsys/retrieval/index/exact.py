"""`ExactIndex`: all inner products."""

from pathlib import Path
from typing import ClassVar, Self

import numpy as np

from recsys.arrays import Bools, Floats, Ints
from recsys.ids import NUM_RESERVED, PAD
from recsys.retrieval.index.base import check_search, checked, load_arrays, read_settings, save_arrays
from recsys.retrieval.topk import top_k, top_k_of_lists

MAX_SCORES = 32_000_000  # scores in memory at once; a search over more is cut into chunks of queries
BLOCK_ITEMS = 65_536  # items in a block; blocks bound the memory for any size of the catalogue
WHOLE_SHARE = 0.5  # with a larger fraction of allowed items, all items are scored and masked


class ExactIndex:
    """All inner products by matrix products: exact, and fast enough up to about a million items."""

    kind: ClassVar[str] = "exact"
    is_exact: ClassVar[bool] = True

    def __init__(self, vectors: Floats, ids: Ints) -> None:
        self.vectors_ND = vectors
        self.ids_N = ids

    @classmethod
    def build(cls, vectors: Floats, ids: Ints | None = None) -> Self:
        return cls(*checked(vectors, ids))

    @property
    def vectors(self) -> Floats:
        """The indexed vectors. Shape [N, D]."""
        return self.vectors_ND

    def search(self, queries: Floats, k: int, *, allowed: Bools | None = None) -> tuple[Ints, Floats]:
        check_search(queries, k, allowed, self.vectors_ND)
        items_BK = np.full((len(queries), k), PAD, np.int64)
        best_BK = np.full((len(queries), k), -np.inf, np.float32)
        for start in range(0, len(self.ids_N), BLOCK_ITEMS):
            block = slice(start, start + BLOCK_ITEMS)
            chunk = max(1, MAX_SCORES // len(self.ids_N[block]))
            for first in range(0, len(queries), chunk):
                part = slice(first, first + chunk)
                found = self._search_block(
                    queries[part], k, block, None if allowed is None else allowed[block]
                )
                if start:
                    items = np.concatenate([items_BK[part], found[0]], axis=1)
                    found = top_k_of_lists(items, np.concatenate([best_BK[part], found[1]], axis=1), k)
                items_BK[part], best_BK[part] = found
        return items_BK, best_BK

    def _search_block(
        self, queries: Floats, k: int, block: slice, allowed: Bools | None
    ) -> tuple[Ints, Floats]:
        """The `k` best of the rows in `block`, where `allowed`, as long as the block, is True."""
        vectors_ND, ids_N = self.vectors_ND[block], self.ids_N[block]
        if allowed is not None and allowed.sum() + NUM_RESERVED < WHOLE_SHARE * len(ids_N):
            vectors_ND, ids_N, allowed = vectors_ND[allowed], ids_N[allowed], None
        return top_k(queries @ vectors_ND.T, k, ids_N=ids_N, allowed=allowed)

    def save(self, directory: Path) -> None:
        save_arrays(directory, self.kind, self.vectors_ND, self.ids_N)

    @classmethod
    def load(cls, directory: Path) -> Self:
        read_settings(directory, cls.kind)
        return cls(*load_arrays(directory))
