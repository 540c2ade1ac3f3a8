"""Vectors and transcripts on disk, found by the content of the medium.

Layout: `<directory>/<kind>/<fingerprint>/part-<random>.parquet`, one column `key` (sha256 of the
medium's bytes or of the text), one column `vector` (fixed-size array of float16) or `text`. A part is
written under a temporary name and renamed, so that it is complete or absent. An interrupted process keeps
its finished parts, and several processes may write at once.
"""

import hashlib
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import polars as pl

from recsys.arrays import Floats
from recsys.errors import DataError
from recsys.files import replacing

# Vectors in a part. A killed process loses at most as many.
_PART_SIZE = 1024
_UNFINISHED_SECONDS = 3600  # writing a part takes less than a second
_MAX_FLOAT16 = float(np.finfo(np.float16).max)


def text_key(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def file_key(path: Path | str) -> str:
    """sha256 of the file's bytes; raises OSError where it cannot be read."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def as_stored(vectors: Floats) -> Floats:
    """`vectors` rounded to float16, as the cache returns them.

    New vectors are rounded as well, so that a first and a second extraction give the same values.
    Raises `DataError` where a value does not fit.
    """
    if not (np.abs(vectors) <= _MAX_FLOAT16).all():  # false for NaN too
        raise DataError(f"a vector has a value that float16 cannot hold: {np.abs(vectors).max()}")
    return vectors.astype(np.float16).astype(np.float32)


class VectorCache:
    """Vectors and transcripts in a directory, which the first `put` creates."""

    def __init__(self, directory: Path | str) -> None:
        self.directory = Path(directory)

    def get(self, fingerprint: str, keys: Iterable[str]) -> dict[str, Floats]:
        """The cached vectors of the encoder `fingerprint` for some of `keys`, each of shape [D]."""
        found = self._read("vectors", fingerprint, keys)
        if found is None:
            return {}
        vectors = found["vector"].to_numpy().astype(np.float32)
        return dict(zip(found["key"].to_list(), vectors, strict=True))

    def put(self, fingerprint: str, vectors: Mapping[str, Floats]) -> None:
        """Write vectors of one width, by key, as one part."""
        if not vectors:
            return
        rows = as_stored(np.stack(list(vectors.values()))).astype(np.float16)
        column = pl.Series("vector", rows, dtype=pl.Array(pl.Float16, rows.shape[1]))
        self._write("vectors", fingerprint, pl.DataFrame([pl.Series("key", list(vectors)), column]))

    def get_texts(self, fingerprint: str, keys: Iterable[str]) -> dict[str, str]:
        """The cached transcripts of the transcriber `fingerprint` for some of `keys`."""
        found = self._read("texts", fingerprint, keys)
        return (
            {} if found is None else dict(zip(found["key"].to_list(), found["text"].to_list(), strict=True))
        )

    def put_texts(self, fingerprint: str, texts: Mapping[str, str]) -> None:
        if texts:
            self._write(
                "texts", fingerprint, pl.DataFrame({"key": list(texts), "text": list(texts.values())})
            )

    def _read(self, kind: str, fingerprint: str, keys: Iterable[str]) -> pl.DataFrame | None:
        """One row for each key that is found. Of a part without any of `keys` only the keys are read."""
        wanted = pl.DataFrame({"key": list(keys)}, schema={"key": pl.String})
        found: list[pl.DataFrame] = []
        for path in sorted((self.directory / kind / fingerprint).glob("part-*.parquet")):
            try:
                if len(pl.read_parquet(path, columns=["key"], glob=False).join(wanted, on="key", how="semi")):
                    found.append(pl.read_parquet(path, glob=False).join(wanted, on="key", how="semi"))
            except (pl.exceptions.PolarsError, OSError) as error:
                raise DataError(f"{path}: a broken part of the cache ({error}); delete this file") from error
        # Two processes may have put the same key; the rows are equal.
        return pl.concat(found).unique("key", keep="first", maintain_order=True) if found else None

    def _write(self, kind: str, fingerprint: str, table: pl.DataFrame) -> None:
        folder = self.directory / kind / fingerprint
        folder.mkdir(parents=True, exist_ok=True)
        self._remove_unfinished(folder)
        with replacing(folder / f"part-{uuid.uuid4().hex}.parquet") as temporary:
            table.write_parquet(temporary, compression="zstd", compression_level=1)

    def _remove_unfinished(self, folder: Path) -> None:
        """Remove the parts that killed processes were writing; a part that is being written is younger."""
        for path in folder.glob("part-*.parquet.tmp"):
            with suppress(FileNotFoundError):  # another process removed or finished it
                if time.time() - path.stat().st_mtime > _UNFINISHED_SECONDS:
                    path.unlink()


class CacheWriter:
    """Collects vectors into parts of the cache. The last part is written when the block ends or fails."""

    def __init__(self, cache: VectorCache, fingerprint: str, found: dict[str, Floats]) -> None:
        self.num_added = 0
        self._cache = cache
        self._fingerprint = fingerprint
        self._found = found
        self._waiting: dict[str, Floats] = {}

    def add(self, keys: Sequence[str], vectors: Floats) -> None:
        added = dict(zip(keys, as_stored(vectors), strict=True))
        self._found |= added
        self._waiting |= added
        self.num_added += len(added)
        if len(self._waiting) >= _PART_SIZE:
            self._flush()

    def _flush(self) -> None:
        self._cache.put(self._fingerprint, self._waiting)
        self._waiting = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._flush()
