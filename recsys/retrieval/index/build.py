"""An index of a named kind, built from vectors or read from files."""

from pathlib import Path

from recsys.arrays import Floats, Ints
from recsys.errors import ConfigError
from recsys.retrieval.index.base import Index, read_settings
from recsys.retrieval.index.exact import ExactIndex
from recsys.retrieval.index.faiss import FaissIndex

INDEX_KINDS: dict[str, type[ExactIndex] | type[FaissIndex]] = {"exact": ExactIndex, "faiss": FaissIndex}


def build_index(kind: str, vectors: Floats, *, ids: Ints | None = None) -> Index:
    """An index of the given kind over `vectors`. `ids` are the row numbers by default."""
    if kind not in INDEX_KINDS:
        raise ConfigError(f"index.kind = {kind!r}; known: {', '.join(sorted(INDEX_KINDS))}")
    return INDEX_KINDS[kind].build(vectors, ids)


def load_index(directory: Path) -> Index:
    """The saved index in `directory`, of whichever kind it is; raises `BundleError`."""
    return INDEX_KINDS[read_settings(directory, *INDEX_KINDS)["kind"]].load(directory)
