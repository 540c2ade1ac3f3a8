"""The parts of an unfinished batch: a folder beside the file that is written.

.out.parquet.parts/
  0d6c...f2.parquet     the lists of some users or queries; the name is the digest of everything that they
                        depend on
"""

import hashlib
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

import polars as pl

from recsys.errors import DataError
from recsys.files import remove_unfinished_in, replacing
from recsys.history import History


class PartStore:
    """Parts by their keys, and the file `out` that they are merged into, for one process at a time."""

    def __init__(self, out: Path, schema: pl.Schema, request_key: str) -> None:
        self.folder = out.with_name(f".{out.name}.parts")
        self._out, self._schema = out, schema
        self._request_key = request_key.encode()
        self._written: list[Path] = []
        remove_unfinished_in(self.folder)

    def key(self, asked: Sequence[str], batches: Iterable[Sequence[History | None]]) -> str:
        """A hexadecimal SHA-256 of the request, the users or queries, and their histories as they are now."""
        digest = hashlib.sha256(self._request_key)
        digest.update(repr(asked).encode("utf-8", "surrogatepass"))
        for histories in batches:
            for history in histories:
                digest.update(b"unknown" if history is None else b"known")
                for name, array in (history.to_arrays() if history is not None else {}).items():
                    digest.update(f"{name} {array.dtype} {array.shape}".encode())
                    digest.update(array.tobytes())
        return digest.hexdigest()

    def read(self, key: str) -> pl.DataFrame | None:
        """The lists of the part `key`; None where it is not finished, or its file is damaged."""
        path = self._path(key)
        if not path.exists():
            return None
        try:
            found = pl.read_parquet(path, glob=False)
        except (pl.exceptions.PolarsError, OSError):
            path.unlink()
            return None
        return found if found.schema == self._schema else None

    def add(self, key: str, lists: pl.DataFrame | None) -> None:
        """The next part of the file. `lists` are written; None: the part `key` is there."""
        path = self._path(key)
        if lists is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            with replacing(path) as temporary:
                lists.write_parquet(temporary)
        self._written.append(path)

    def merge(self) -> None:
        """Write all parts in their order to `out`, whole or not at all."""
        with replacing(self._out) as temporary:
            if not self._written:
                pl.DataFrame(schema=self._schema).write_parquet(temporary)
                return
            pl.scan_parquet(self._written, glob=False).sink_parquet(temporary)

    def remove(self) -> None:
        """Remove the folder; the batch is complete."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.parquet"


def check_is_parquet(path: Path) -> None:
    """Raises `DataError` for an output that does not end in .parquet, or is a folder."""
    if path.suffix.lower() != ".parquet":
        raise DataError(f"{path}: is written as Parquet; name a file that ends in .parquet")
    if path.is_dir():
        raise DataError(f"{path}: is a folder; name a file that ends in .parquet")
