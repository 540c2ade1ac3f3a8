"""The files of the interactions: their rows in parts of bounded size, and a fingerprint of the files."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from features.dataset import (
    PARQUET,
    InteractionsSpec,
    RawTable,
    concat_files,
    explained_errors,
    find_files,
    id_columns,
    interaction_columns,
    numbers_as_text,
    read_file,
    scan_file,
    select_columns,
    valid_item_ids,
)
from recsys.errors import DataError
from recsys.progress import Progress

TABLE = "interactions"
_UNKNOWN_START = 2**62  # first row of a file that has not been reached
_SAMPLE_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class LogSource:
    """The files of a log, sorted by name, and the types of their columns over all files."""

    root: Path
    paths: tuple[Path, ...]
    columns: tuple[str, ...]
    schema: pl.Schema
    ids: frozenset[str]  # columns of ids and names

    @classmethod
    def open(cls, root: Path, spec: InteractionsSpec) -> "LogSource":
        """The source of the interactions in `root`.

        Raises `DataError` with the problems that `read_table` finds before it reads rows: missing files and
        columns, incompatible types.
        """
        columns = interaction_columns(spec)
        paths = find_files(root, TABLE, spec.path)
        empty: list[pl.DataFrame] = []
        problems: list[str] = []
        for path in paths:
            shown = path.relative_to(root).as_posix()
            try:
                with explained_errors(path):
                    scanned = scan_file(path)
                    head = read_file(path) if scanned is None else scanned.collect_schema().to_frame()
                empty.append(select_columns(head.clear(), list(dict.fromkeys(columns)), TABLE, shown))
            except DataError as error:
                problems += error.problems or (f"[{TABLE}] {shown}: {error}",)
        if problems:
            raise DataError(f"the {TABLE} cannot be read", problems)
        ids = frozenset(id_columns(spec))
        schema = concat_files(empty, paths, root, TABLE, ids).schema
        return cls(root=root, paths=tuple(paths), columns=tuple(schema), schema=schema, ids=ids)

    @property
    def files(self) -> tuple[str, ...]:
        """Paths of the files, relative to the dataset."""
        return tuple(path.relative_to(self.root).as_posix() for path in self.paths)

    def parts(
        self, num_rows: int, *, skip: int = 0, known: dict[int, int] | None = None
    ) -> Iterator[RawTable]:
        """Parts of at most `num_rows` rows, from row `skip` on. All rows of a part are of one file.

        `known` maps positions of files to their numbers of rows. A file of `known` before `skip` is not
        opened. The number of rows of each file that has been read is added to `known`.
        """
        heights = {} if known is None else known
        start = 0
        for at, path in enumerate(self.paths):
            if at in heights and start + heights[at] <= skip:
                start += heights[at]
                continue
            row = start
            for frame in self._read(path, num_rows):
                num_skipped = min(max(skip - row, 0), frame.height)
                if num_skipped < frame.height:
                    yield self._table(frame[num_skipped:], heights, at, row + num_skipped)
                row += frame.height
            heights[at] = row - start
            start = row

    def _read(self, path: Path, num_rows: int) -> Iterator[pl.DataFrame]:
        shown = path.relative_to(self.root).as_posix()
        try:
            with explained_errors(path):
                scanned = scan_file(path)
                if scanned is None:
                    frames: Iterator[pl.DataFrame] = iter(read_file(path).iter_slices(num_rows))
                else:
                    frames = scanned.select(self.columns).collect_batches(chunk_size=num_rows, lazy=True)
                for frame in frames:
                    for part in frame.select(self.columns).iter_slices(num_rows):
                        yield self._typed(part, shown)
        except DataError as error:
            problems = error.problems or (f"[{TABLE}] {shown}: {error}",)
            raise DataError(f"the {TABLE} cannot be read", problems) from None

    def _typed(self, part: pl.DataFrame, shown: str) -> pl.DataFrame:
        """The part with the types of the log. Numbers in columns of ids become text, as in `concat_files`."""
        for column, kind in self.schema.items():
            if column in self.ids and kind == pl.String and part.schema[column].is_numeric():
                part = part.with_columns(numbers_as_text(part.select(column), shown, TABLE))
        return part.cast(self.schema)

    def _table(self, frame: pl.DataFrame, heights: dict[int, int], at: int, offset: int) -> RawTable:
        starts = [sum(heights[before] for before in range(file)) for file in range(at + 1)]
        starts += [_UNKNOWN_START] * (len(self.paths) - len(starts))
        return RawTable(name=TABLE, frame=frame, files=self.files, starts=tuple(starts), offset=offset)

    def item_ids(self, spec: InteractionsSpec, num_rows: int, progress: Progress) -> pl.Series:
        """`valid_item_ids` of the log. The distinct raw values of all parts are collected, then cast."""
        column = spec.item
        schema = pl.Schema({column: self.schema[column]})
        found = pl.Series(column, dtype=schema[column])
        done, estimate = 0, estimate_events(self.root, spec)
        for raw in replace(self, columns=(column,), schema=schema).parts(num_rows):
            found = found.append(raw.frame[column].unique()).unique()
            done += raw.frame.height
            progress("read item ids", done, max(estimate, done))
        return valid_item_ids(found)

    def fingerprint(self, spec: InteractionsSpec, items: pl.Series | None) -> dict[str, Any]:
        """Values that differ if the files, the section [interactions] or the item ids differ."""
        ids = None if items is None else hashlib.sha256("\0".join(items.to_list()).encode()).hexdigest()
        return {
            "spec": json.loads(spec.model_dump_json()),
            "items": ids,
            "files": [_fingerprint(path, shown) for path, shown in zip(self.paths, self.files, strict=True)],
        }


def estimate_events(root: Path, spec: InteractionsSpec) -> int:
    """The number of rows of the interactions: exact for Parquet, an estimate from the first MiB for text."""
    total = 0.0
    for path in find_files(root, TABLE, spec.path):
        with explained_errors(path):
            if path.suffix.lower() in PARQUET:
                total += pl.scan_parquet(path, glob=False).select(pl.len()).collect().item()
                continue
            with path.open("rb") as file:
                sample = file.read(_SAMPLE_BYTES)
            total += sample.count(b"\n") * path.stat().st_size / max(len(sample), 1)
    return round(total)


def _fingerprint(path: Path, shown: str) -> dict[str, Any]:
    """Size, time of the last change, and a hash of both ends; a hash of a whole large log takes minutes."""
    status = path.stat()
    with path.open("rb") as file:
        digest = hashlib.sha256(file.read(_SAMPLE_BYTES))
        file.seek(max(status.st_size - _SAMPLE_BYTES, 0))
        digest.update(file.read())
    return {
        "path": shown,
        "bytes": status.st_size,
        "modified_ns": status.st_mtime_ns,
        "sha256_of_ends": digest.hexdigest(),
    }
