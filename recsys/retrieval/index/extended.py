"""`ExtendedIndex`: an index and, beside it, the vectors that came or changed since it was built."""

import numpy as np

from recsys.arrays import Bools, Floats, Ints
from recsys.errors import DataError
from recsys.retrieval.index.base import SearchIndex
from recsys.retrieval.index.exact import ExactIndex
from recsys.retrieval.topk import top_k_of_lists


class ExtendedIndex:
    """`main` over the first `num_main` rows of a catalogue of `num_items`; the rows `rows` are scanned.

    `rows` [R], ascending, are those of `main` that changed since it was built, and all rows after its last
    one. Their vectors are `vectors` [R, D].
    """

    def __init__(
        self, main: SearchIndex, num_main: int, *, rows: Ints, vectors: Floats, num_items: int
    ) -> None:
        self._main, self._num_main, self._num_items = main, num_main, num_items
        self._changed = rows[rows < self._num_main]
        self._scan = ExactIndex(np.ascontiguousarray(vectors, np.float32), rows)

    @property
    def is_exact(self) -> bool:
        """As that of `main`."""
        return self._main.is_exact

    def search(self, queries: Floats, k: int, *, allowed: Bools | None = None) -> tuple[Ints, Floats]:
        """As `Index.search`."""
        if allowed is not None and allowed.shape != (self._num_items,):
            raise DataError(f"allowed is {list(allowed.shape)}; [{self._num_items}] is needed")
        of_main = None if allowed is None else allowed[: self._num_main]
        if len(self._changed):
            of_main = np.ones(self._num_main, np.bool_) if of_main is None else of_main.copy()
            of_main[self._changed] = False
        found, cosine = self._main.search(queries, k, allowed=of_main)
        rows = self._scan.ids_N
        of_scan = None if allowed is None else allowed[rows]
        if not len(rows) or (of_scan is not None and not of_scan.any()):
            return found, cosine
        others, other_cosine = self._scan.search(queries, k, allowed=of_scan)
        items_BK = np.concatenate([found, others], axis=1)
        return top_k_of_lists(items_BK, np.concatenate([cosine, other_cosine], axis=1), k)
