"""The contract of an index of item vectors, and the checks and files that all kinds of index share.

    index = ExactIndex.build(vectors, ids)          # once, over the whole catalogue
    ids, scores = index.search(queries, k)          # the k best items of each query, best first

A score is the inner product of query and item vector. The padding and the unknown row are never returned.
Items with equal scores are in the order of their ids.

Legend: B queries, N items, D width.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self

import numpy as np

from recsys.arrays import Bools, Floats, Ints
from recsys.errors import BundleError, DataError
from recsys.ids import PAD
from recsys.retrieval.topk import top_k_of_lists

INDEX_FILE = "index.json"
LEAST_EXTRA = 64  # additional items that are searched for where a user has seen any item


class SearchIndex(Protocol):
    """What a search needs of an index."""

    @property
    def is_exact(self) -> bool:
        """Whether a search for fewer items gives the first of a search for more."""
        ...

    def search(self, queries: Floats, k: int, *, allowed: Bools | None = None) -> tuple[Ints, Floats]:
        """Item ids and scores of the best `k` items of each of `queries` [B, D]; shapes [B, k].

        `allowed` [N] keeps only the rows where it is True. Where fewer than k items remain, the rest is
        id 0 with score -inf.
        """
        ...


class Index(SearchIndex, Protocol):
    """The methods of every index that is built and saved."""

    kind: ClassVar[str]

    @property
    def vectors(self) -> Floats:
        """The indexed vectors. Shape [N, D]."""
        ...

    @classmethod
    def build(cls, vectors: Floats, ids: Ints | None = None) -> Self:
        """An index over `vectors` [N, D]. `ids` [N], strictly ascending, are the rows' numbers by default.

        Raises `DataError` where shapes do not fit together or a number is not finite.
        """
        ...

    def save(self, directory: Path) -> None:
        """Write the index into `directory`, made where missing."""
        ...

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Read what `save` wrote; raises `BundleError` for another kind of index."""
        ...


def nearest_unseen(
    index: SearchIndex, user_BD: Floats, num: int, allowed: Bools | None, seen: Sequence[Ints] | None
) -> tuple[Ints, Floats]:
    """The `num` nearest items of each user in `index`, those in `seen` left out. Shapes [B, num].

    The index is searched for `num` items plus the number of the user's seen items, rounded up to a power of
    two. This number does not depend on the other users of the batch, so that an approximate index returns the
    same items in every batch.
    """
    if seen is None:
        return index.search(user_BD, num, allowed=allowed)
    found_BK = np.full((len(user_BD), num), PAD, np.int64)
    cosine_BK = np.full((len(user_BD), num), -np.inf, np.float32)
    extra_B = np.array([_extra(len(items)) for items in seen], np.int64)
    for extra in np.unique(extra_B).tolist():
        rows = np.flatnonzero(extra_B == extra)
        found, cosine = index.search(user_BD[rows], num + extra, allowed=allowed)
        found_BK[rows], cosine_BK[rows] = top_k_of_lists(
            found, cosine, num, excluded=[seen[row] for row in rows.tolist()]
        )
    return found_BK, cosine_BK


def _extra(num_seen: int) -> int:
    return max(LEAST_EXTRA, 1 << (num_seen - 1).bit_length()) if num_seen else 0


def checked(vectors: Floats, ids: Ints | None) -> tuple[Floats, Ints]:
    """Vectors and ids as an index keeps them; raises `DataError` where they cannot be indexed."""
    if vectors.ndim != 2:
        raise DataError(f"item vectors have shape {vectors.shape}; an index needs [N, D]")
    numbers = np.arange(len(vectors), dtype=np.int64) if ids is None else np.asarray(ids, np.int64)
    if numbers.shape != (len(vectors),) or (np.diff(numbers) <= 0).any():
        raise DataError(f"ids of shape {numbers.shape} for {len(vectors)} vectors; one each, ascending")
    if not np.isfinite(vectors).all():
        row = int(np.argwhere(~np.isfinite(vectors))[0][0])
        raise DataError(f"item vectors: row {row} is not finite")
    return np.ascontiguousarray(vectors, np.float32), numbers


def check_search(queries: Floats, k: int, allowed: Bools | None, vectors: Floats) -> None:
    """Raise `DataError` for a search that `vectors` cannot answer."""
    if k < 1:
        raise DataError(f"k = {k}; at least 1")
    if queries.ndim != 2 or queries.shape[1] != vectors.shape[1]:
        raise DataError(f"queries have shape {queries.shape}; this index needs [B, {vectors.shape[1]}]")
    if not np.isfinite(queries).all():
        raise DataError("a query vector is not finite")
    if allowed is not None and (allowed.shape != (len(vectors),) or allowed.dtype != np.bool_):
        raise DataError(f"allowed is {allowed.dtype}{list(allowed.shape)}; bool [{len(vectors)}] is needed")


def save_arrays(directory: Path, kind: str, vectors: Floats, ids: Ints, **settings: int) -> None:
    """Write the vectors, the ids, the kind of index and its settings."""
    directory.mkdir(parents=True, exist_ok=True)
    np.save(directory / "vectors.npy", vectors, allow_pickle=False)
    np.save(directory / "ids.npy", ids, allow_pickle=False)
    described = {"kind": kind, **settings}
    (directory / INDEX_FILE).write_text(json.dumps(described, indent=2) + "\n", "utf-8")


def load_arrays(directory: Path) -> tuple[Floats, Ints]:
    """Vectors, mapped into memory, and ids that `save_arrays` wrote."""
    vectors = np.load(directory / "vectors.npy", mmap_mode="r", allow_pickle=False)
    return vectors, np.load(directory / "ids.npy", allow_pickle=False)


def read_settings(directory: Path, *kinds: str) -> dict[str, Any]:
    """The settings of the index in `directory`; raises `BundleError` where it is of none of `kinds`."""
    try:
        settings: dict[str, Any] = json.loads((directory / INDEX_FILE).read_text("utf-8"))
    except FileNotFoundError:
        raise BundleError(f"no index in {directory}: {INDEX_FILE} is missing") from None
    if settings.get("kind") not in kinds:
        expected = " or ".join(sorted(kinds))
        raise BundleError(f"{directory / INDEX_FILE}: kind {settings.get('kind')!r}; expected {expected}")
    return settings
