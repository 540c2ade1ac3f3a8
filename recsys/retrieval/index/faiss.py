"""`FaissIndex`: approximate search over FAISS's graph of neighbours; extra `faiss`."""

from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, Self

import numpy as np

from recsys.arrays import Bools, Floats, Ints
from recsys.errors import MissingExtraError
from recsys.ids import NUM_RESERVED
from recsys.retrieval.index.base import check_search, load_arrays, read_settings, save_arrays
from recsys.retrieval.index.exact import ExactIndex
from recsys.retrieval.topk import top_k_of_lists

# FAISS filters while it walks its graph. With a smaller share of allowed items it would find too few of them.
FILTERED_SHARE = 0.2
LEAST_EF_CONSTRUCTION = 200  # items kept while a node's links are chosen; fewer cost recall
LEAST_EF_SEARCH = 128  # items kept on the walk of a search


class FaissIndex:
    """FAISS's HNSW graph (Malkov and Yashunin 2018), or its flat scan."""

    kind: ClassVar[str] = "faiss"
    is_exact: ClassVar[bool] = False

    def __init__(self, exact: ExactIndex, index: Any, *, num_links: int) -> None:
        self._exact = exact  # for searches with few allowed items, see FILTERED_SHARE
        self._index = index
        self._num_links = num_links

    @classmethod
    def build(cls, vectors: Floats, ids: Ints | None = None, *, num_links: int = 32) -> Self:
        """As `Index.build`. `num_links` is M of HNSW, the neighbors of a node; 0 builds a flat scan."""
        faiss = _faiss()
        exact = ExactIndex.build(vectors, ids)
        real_ND = np.ascontiguousarray(exact.vectors_ND[exact.ids_N >= NUM_RESERVED])
        if num_links:
            index = faiss.IndexHNSWFlat(real_ND.shape[1], num_links, faiss.METRIC_INNER_PRODUCT)
            index.hnsw.efConstruction = max(LEAST_EF_CONSTRUCTION, 2 * num_links)
        else:
            index = faiss.IndexFlatIP(real_ND.shape[1])
        index.add(real_ND)
        return cls(exact, index, num_links=num_links)

    @property
    def vectors(self) -> Floats:
        """The indexed vectors. Shape [N, D]."""
        return self._exact.vectors

    def search(self, queries: Floats, k: int, *, allowed: Bools | None = None) -> tuple[Ints, Floats]:
        check_search(queries, k, allowed, self._exact.vectors_ND)
        real_rows = np.flatnonzero(self._exact.ids_N >= NUM_RESERVED)
        reachable = real_rows if allowed is None else real_rows[allowed[real_rows]]
        if len(reachable) < FILTERED_SHARE * len(real_rows) or not len(reachable) or not len(queries):
            return self._exact.search(queries, k, allowed=allowed)
        width = min(k, len(reachable))
        found, positions = self._index.search(
            np.ascontiguousarray(queries, np.float32),
            width,
            params=self._parameters(width, allowed, real_rows),
        )
        ids_BK = self._exact.ids_N[real_rows[positions]]
        items, scores = top_k_of_lists(ids_BK, found, k)
        # Queries whose walk ended before it found `width` items are searched exactly.
        ended = np.flatnonzero((positions < 0).any(1))
        if len(ended):
            items[ended], scores[ended] = self._exact.search(queries[ended], k, allowed=allowed)
        return items, scores

    def _parameters(self, width: int, allowed: Bools | None, real_rows: Ints) -> Any:
        faiss = _faiss()
        options: dict[str, Any] = {}
        if allowed is not None:
            # One bit for each row, lowest bit first; the selector keeps a reference to the array.
            bits = np.packbits(allowed[real_rows], bitorder="little")
            options["sel"] = faiss.IDSelectorBitmap(bits)
        if not self._num_links:
            return faiss.SearchParameters(**options)
        return faiss.SearchParametersHNSW(efSearch=max(LEAST_EF_SEARCH, 2 * width), **options)

    def save(self, directory: Path) -> None:
        save_arrays(
            directory, self.kind, self._exact.vectors_ND, self._exact.ids_N, num_links=self._num_links
        )
        _faiss().write_index(self._index, str(directory / "faiss.index"))

    @classmethod
    def load(cls, directory: Path) -> Self:
        settings = read_settings(directory, cls.kind)
        index = _faiss().read_index(str(directory / "faiss.index"))
        return cls(ExactIndex(*load_arrays(directory)), index, num_links=settings["num_links"])


def _faiss() -> ModuleType:
    try:
        import faiss
    except ImportError:
        raise MissingExtraError("faiss-cpu", "faiss") from None
    assert isinstance(faiss, ModuleType)
    return faiss
