"""Nearest item vectors of a user vector: `ExactIndex`, and `FaissIndex` behind the same contract.

    index = ExactIndex.build(vectors, ids)          # once, over the whole catalogue
    ids, scores = index.search(queries, k)          # the k best items of each query, best first

A score is the inner product of query and item vector, plus the item's bias where one is given. The
padding and the unknown row are never returned. Equal scores stand in the order of their ids.
"""

import json
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, Protocol, Self

import numpy as np
import numpy.typing as npt

from recsys.arrays import Bools, Floats, Ints
from recsys.errors import BundleError, ConfigError, DataError, MissingExtraError
from recsys.ids import NUM_RESERVED, PAD
from recsys.retrieval.topk import top_k, top_k_of_lists

# Scores that stand in memory at once; a search over more is cut into chunks of queries.
MAX_SCORES = 32_000_000
# FAISS filters while it walks its graph; below this share of allowed items the walk ends up empty-handed.
FILTERED_SHARE = 0.2
BLOCK_ITEMS = 65_536  # searched one block after the other, so that memory does not grow with the catalogue
WHOLE_SHARE = 0.5  # from so many allowed items on all are scored, and those that are not left out
INDEX_FILE = "index.json"


class Index(Protocol):
    """What every index can do."""

    kind: ClassVar[str]

    @classmethod
    def build(cls, vectors: Floats, ids: Ints | None = None, *, bias: Floats | None = None) -> Self:
        """An index over `vectors` [N, D]. `ids` [N], strictly ascending, are the rows' numbers by default.

        Raises `DataError` where shapes do not fit together or a number is not finite.
        """
        ...

    def search(self, queries: Floats, k: int, *, allowed: Bools | None = None) -> tuple[Ints, Floats]:
        """Item ids and scores of the best `k` items of each of `queries` [B, D]; shapes [B, k].

        `allowed` [N] keeps only the rows where it is True. Where fewer than k items remain, the rest is
        id 0 with score -inf.
        """
        ...

    def save(self, directory: Path) -> None:
        """Write the index into `directory`, made where missing."""
        ...

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Read what `save` wrote; raises `BundleError` for another kind of index."""
        ...


class ExactIndex:
    """All inner products, by one matrix product: exact, and quick enough up to about a million items."""

    kind: ClassVar[str] = "exact"

    def __init__(self, vectors: Floats, ids: Ints, bias: Floats | None) -> None:
        self._vectors_ND = vectors
        self._ids_N = ids
        self._bias_N = bias

    @classmethod
    def build(cls, vectors: Floats, ids: Ints | None = None, *, bias: Floats | None = None) -> Self:
        return cls(*_checked(vectors, ids, bias))

    @property
    def vectors(self) -> Floats:
        """The indexed vectors. Shape [N, D]."""
        return self._vectors_ND

    def search(self, queries: Floats, k: int, *, allowed: Bools | None = None) -> tuple[Ints, Floats]:
        _check_search(queries, k, allowed, self._vectors_ND)
        items_BK = np.full((len(queries), k), PAD, np.int64)
        best_BK = np.full((len(queries), k), -np.inf, np.float32)
        for start in range(0, len(self._ids_N), BLOCK_ITEMS):
            block = slice(start, start + BLOCK_ITEMS)
            chunk = max(1, MAX_SCORES // len(self._ids_N[block]))
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
        vectors_ND, ids_N = self._vectors_ND[block], self._ids_N[block]
        bias_N = None if self._bias_N is None else self._bias_N[block]
        if allowed is not None and allowed.sum() + NUM_RESERVED < WHOLE_SHARE * len(ids_N):
            vectors_ND, ids_N = vectors_ND[allowed], ids_N[allowed]
            bias_N, allowed = None if bias_N is None else bias_N[allowed], None
        scores_BN = queries @ vectors_ND.T
        if bias_N is not None:
            scores_BN += bias_N
        return top_k(scores_BN, k, ids_N=ids_N, allowed=allowed)

    def save(self, directory: Path) -> None:
        _save(directory, self.kind, self._vectors_ND, self._ids_N, self._bias_N)

    @classmethod
    def load(cls, directory: Path) -> Self:
        _read_settings(directory, cls.kind)
        return cls(*_load(directory))


class FaissIndex:
    """Approximate search over FAISS's graph of neighbours (HNSW), or its flat scan; extra `faiss`.

    The bias is one more dimension: [v, bias] · [q, 1] = v · q + bias, so FAISS ranks by the true score.
    """

    kind: ClassVar[str] = "faiss"

    def __init__(self, exact: ExactIndex, index: Any, *, num_links: int) -> None:
        self._exact = exact  # the vectors, for searches that leave FAISS too little to walk
        self._index = index
        self._num_links = num_links

    @classmethod
    def build(
        cls, vectors: Floats, ids: Ints | None = None, *, bias: Floats | None = None, num_links: int = 32
    ) -> Self:
        """As every index; `num_links` is HNSW's M, neighbours of a node, and 0 builds the flat scan."""
        faiss = _faiss()
        exact = ExactIndex.build(vectors, ids, bias=bias)
        augmented = cls._augmented(exact)
        if num_links:
            index = faiss.IndexHNSWFlat(augmented.shape[1], num_links, faiss.METRIC_INNER_PRODUCT)
            index.hnsw.efConstruction = max(200, 2 * num_links)
        else:
            index = faiss.IndexFlatIP(augmented.shape[1])
        index.add(augmented)
        return cls(exact, index, num_links=num_links)

    @property
    def vectors(self) -> Floats:
        """The indexed vectors. Shape [N, D]."""
        return self._exact.vectors

    @staticmethod
    def _augmented(exact: ExactIndex) -> Floats:
        """Vectors of the real items with their bias as one more dimension. Shape [N - reserved, D + 1]."""
        real = exact._ids_N >= NUM_RESERVED
        vectors_ND = exact._vectors_ND[real]
        bias_N = np.zeros(len(vectors_ND), np.float32) if exact._bias_N is None else exact._bias_N[real]
        return np.ascontiguousarray(np.column_stack([vectors_ND, bias_N]), np.float32)

    def search(self, queries: Floats, k: int, *, allowed: Bools | None = None) -> tuple[Ints, Floats]:
        _check_search(queries, k, allowed, self._exact._vectors_ND)
        real_rows = np.flatnonzero(self._exact._ids_N >= NUM_RESERVED)
        reachable = real_rows if allowed is None else real_rows[allowed[real_rows]]
        if len(reachable) < FILTERED_SHARE * len(real_rows) or not len(reachable) or not len(queries):
            return self._exact.search(queries, k, allowed=allowed)
        reads_bias, missing = self._reads_bias(real_rows, reachable)
        augmented = np.column_stack([queries, np.full(len(queries), reads_bias)]).astype(np.float32)
        width = min(k, len(reachable))
        found, positions = self._index.search(
            np.ascontiguousarray(augmented), width, params=self._parameters(width, allowed, real_rows)
        )
        if (positions < 0).any():  # the walk ended before it had met `width` items
            return self._exact.search(queries, k, allowed=allowed)
        ids_BK = self._exact._ids_N[real_rows[positions]]
        items, scores = top_k_of_lists(ids_BK, found, k)
        return items, scores + missing

    def _reads_bias(self, real_rows: Ints, reachable: Ints) -> tuple[float, np.float32]:
        """What a query has in the bias's dimension, 1 or 0, and what its scores then lack.

        One bias of all allowed items orders none of them; where others have more, the walk would stay among
        those and meet few of the allowed.
        """
        bias_N = self._exact._bias_N
        if bias_N is not None:
            least, most = bias_N[reachable].min(), bias_N[reachable].max()
            if least == most < bias_N[real_rows].max():
                return 0.0, most
        return 1.0, np.float32(0.0)

    def _parameters(self, width: int, allowed: Bools | None, real_rows: Ints) -> Any:
        faiss = _faiss()
        options: dict[str, Any] = {}
        if allowed is not None:
            # One bit a row, lowest bit first; the selector keeps the array alive.
            bits = np.packbits(allowed[real_rows], bitorder="little")
            options["sel"] = faiss.IDSelectorBitmap(bits)
        if not self._num_links:
            return faiss.SearchParameters(**options)
        return faiss.SearchParametersHNSW(efSearch=max(128, 2 * width), **options)

    def save(self, directory: Path) -> None:
        _save(
            directory, self.kind, self._exact._vectors_ND, self._exact._ids_N, self._exact._bias_N,
            num_links=self._num_links,
        )  # fmt: skip
        _faiss().write_index(self._index, str(directory / "faiss.index"))

    @classmethod
    def load(cls, directory: Path) -> Self:
        settings = _read_settings(directory, cls.kind)
        index = _faiss().read_index(str(directory / "faiss.index"))
        return cls(ExactIndex(*_load(directory)), index, num_links=settings["num_links"])


INDEX_KINDS: dict[str, type[ExactIndex] | type[FaissIndex]] = {"exact": ExactIndex, "faiss": FaissIndex}


def build_index(
    kind: str, vectors: Floats, *, ids: Ints | None = None, bias: Floats | None = None
) -> ExactIndex | FaissIndex:
    """The index that the configuration names, over rows numbered as they stand unless by `ids`."""
    if kind not in INDEX_KINDS:
        raise ConfigError(f"index.kind = {kind!r}; known: {', '.join(sorted(INDEX_KINDS))}")
    return INDEX_KINDS[kind].build(vectors, ids, bias=bias)


def load_index(directory: Path) -> ExactIndex | FaissIndex:
    """The saved index in `directory`, of whichever kind it is; raises `BundleError`."""
    return INDEX_KINDS[_read_settings(directory)["kind"]].load(directory)


def _faiss() -> ModuleType:
    try:
        import faiss
    except ImportError:
        raise MissingExtraError("faiss-cpu", "faiss") from None
    assert isinstance(faiss, ModuleType)
    return faiss


def _checked(vectors: Floats, ids: Ints | None, bias: Floats | None) -> tuple[Floats, Ints, Floats | None]:
    if vectors.ndim != 2:
        raise DataError(f"item vectors have shape {vectors.shape}; an index needs [N, D]")
    numbers = np.arange(len(vectors), dtype=np.int64) if ids is None else np.asarray(ids, np.int64)
    if numbers.shape != (len(vectors),) or (np.diff(numbers) <= 0).any():
        raise DataError(f"ids of shape {numbers.shape} for {len(vectors)} vectors; one each, ascending")
    if bias is not None and bias.shape != (len(vectors),):
        raise DataError(f"bias of shape {bias.shape} for {len(vectors)} vectors; one each")
    for name, values in (("vectors", vectors), ("bias", bias)):
        if values is not None and not np.isfinite(values).all():
            row = int(np.argwhere(~np.isfinite(values))[0][0])
            raise DataError(f"item {name}: row {row} is not finite")
    return (
        np.ascontiguousarray(vectors, np.float32),
        numbers,
        None if bias is None else np.ascontiguousarray(bias, np.float32),
    )


def _check_search(queries: Floats, k: int, allowed: Bools | None, vectors: npt.NDArray[np.float32]) -> None:
    if k < 1:
        raise DataError(f"k = {k}; at least 1")
    if queries.ndim != 2 or queries.shape[1] != vectors.shape[1]:
        raise DataError(f"queries have shape {queries.shape}; this index needs [B, {vectors.shape[1]}]")
    if not np.isfinite(queries).all():
        raise DataError("a query vector is not finite")
    if allowed is not None and (allowed.shape != (len(vectors),) or allowed.dtype != np.bool_):
        raise DataError(f"allowed is {allowed.dtype}{list(allowed.shape)}; bool [{len(vectors)}] is needed")


def _save(
    directory: Path, kind: str, vectors: Floats, ids: Ints, bias: Floats | None, **settings: int
) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    np.save(directory / "vectors.npy", vectors, allow_pickle=False)
    np.save(directory / "ids.npy", ids, allow_pickle=False)
    if bias is not None:
        np.save(directory / "bias.npy", bias, allow_pickle=False)
    described = {"kind": kind, "has_bias": bias is not None, **settings}
    (directory / INDEX_FILE).write_text(json.dumps(described, indent=2) + "\n", "utf-8")


def _load(directory: Path) -> tuple[Floats, Ints, Floats | None]:
    has_bias = _read_settings(directory)["has_bias"]
    bias = np.load(directory / "bias.npy", allow_pickle=False) if has_bias else None
    vectors = np.load(directory / "vectors.npy", mmap_mode="r", allow_pickle=False)
    return vectors, np.load(directory / "ids.npy", allow_pickle=False), bias


def _read_settings(directory: Path, kind: str | None = None) -> dict[str, Any]:
    try:
        settings: dict[str, Any] = json.loads((directory / INDEX_FILE).read_text("utf-8"))
    except FileNotFoundError:
        raise BundleError(f"no index in {directory}: {INDEX_FILE} is missing") from None
    if settings.get("kind") not in (INDEX_KINDS if kind is None else {kind}):
        expected = kind or " or ".join(sorted(INDEX_KINDS))
        raise BundleError(f"{directory / INDEX_FILE}: kind {settings.get('kind')!r}; expected {expected}")
    return settings
