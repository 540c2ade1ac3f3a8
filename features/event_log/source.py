"""The interactions' files a bounded number of rows at a time, and whether they are still the same."""

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
    explained,
    find_files,
    id_columns,
    interaction_columns,
    numbers_as_text,
    read_file,
    scan_file,
    select_columns,
    stacked,
    valid_item_ids,
)
from recsys.errors import DataError
from recsys.progress import Progress

TABLE = "interactions"
_NOT_YET = 2**62  # first row of a file that was not reached
_SAMPLE_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class LogSource:
    """The files of a log in the order of their rows, and the types of their columns taken together."""

    root: Path
    paths: tuple[Path, ...]
    columns: tuple[str, ...]
    schema: pl.Schema
    ids: frozenset[str]  # columns that identify something

    @classmethod
    def open(cls, root: Path, spec: InteractionsSpec) -> "LogSource":
        """Raises `DataError` with the problems that `read_table` would find before it reads the rows."""
        columns = interaction_columns(spec)
        paths = find_files(root, TABLE, spec.path)
        empty: list[pl.DataFrame] = []
        problems: list[str] = []
        for path in paths:
            shown = path.relative_to(root).as_posix()
            try:
                with explained(path):
                    scanned = scan_file(path)
                    head = read_file(path) if scanned is None else scanned.collect_schema().to_frame()
                empty.append(select_columns(head.clear(), list(dict.fromkeys(columns)), TABLE, shown))
            except DataError as error:
                problems += error.problems or (f"[{TABLE}] {shown}: {error}",)
        if problems:
            raise DataError(f"the {TABLE} cannot be read", problems)
        ids = frozenset(id_columns(spec))
        schema = stacked(empty, paths, root, TABLE, ids).schema
        return cls(root=root, paths=tuple(paths), columns=tuple(schema), schema=schema, ids=ids)

    @property
    def files(self) -> tuple[str, ...]:
        """Relative to the dataset."""
        return tuple(path.relative_to(self.root).as_posix() for path in self.paths)

    def parts(
        self, num_rows: int, *, skip: int = 0, known: dict[int, int] | None = None
    ) -> Iterator[RawTable]:
        """The rows from `skip` on, at most `num_rows` in a part; no part has rows of two files.

        `known` has the number of rows of files that were read before: such a file before `skip` is not
        opened. It is filled as files end.
        """
        heights = {} if known is None else known
        start = 0
        for at, path in enumerate(self.paths):
            if at in heights and start + heights[at] <= skip:
                start += heights[at]
                continue
            place = start
            for frame in self._read(path, num_rows):
                left_out = min(max(skip - place, 0), frame.height)
                place += frame.height
                if left_out < frame.height:
                    yield self._table(frame[left_out:], heights, at, place - frame.height + left_out)
            heights[at] = place - start
            start = place

    def _read(self, path: Path, num_rows: int) -> Iterator[pl.DataFrame]:
        shown = path.relative_to(self.root).as_posix()
        try:
            with explained(path):
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
        """The part with the types of the log; numbers that identify something become text as in `stacked`."""
        for column, kind in self.schema.items():
            if column in self.ids and kind == pl.String and part.schema[column].is_numeric():
                part = part.with_columns(numbers_as_text(part.select(column), shown, TABLE))
        return part.cast(self.schema)

    def _table(self, frame: pl.DataFrame, heights: dict[int, int], at: int, offset: int) -> RawTable:
        starts = [sum(heights[before] for before in range(file)) for file in range(at + 1)]
        starts += [_NOT_YET] * (len(self.paths) - len(starts))
        return RawTable(name=TABLE, frame=frame, files=self.files, starts=tuple(starts), offset=offset)

    def item_ids(self, spec: InteractionsSpec, num_rows: int, progress: Progress) -> pl.Series:
        """`valid_item_ids` of the log: distinct raw values are gathered part by part, and cast once."""
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
        """Changes with the files, the columns that are read and how, and the items that they may name."""
        ids = None if items is None else hashlib.sha256("\0".join(items.to_list()).encode()).hexdigest()
        return {
            "spec": json.loads(spec.model_dump_json()),
            "items": ids,
            "files": [_fingerprint(path, shown) for path, shown in zip(self.paths, self.files, strict=True)],
        }


def estimate_events(root: Path, spec: InteractionsSpec) -> int:
    """About how many rows the interactions have: of Parquet exactly, of text from the first megabyte."""
    total = 0.0
    for path in find_files(root, TABLE, spec.path):
        with explained(path):
            if path.suffix.lower() in PARQUET:
                total += pl.scan_parquet(path, glob=False).select(pl.len()).collect().item()
                continue
            with path.open("rb") as file:
                sample = file.read(_SAMPLE_BYTES)
            total += sample.count(b"\n") * path.stat().st_size / max(len(sample), 1)
    return round(total)


def _fingerprint(path: Path, shown: str) -> dict[str, Any]:
    """Size, time of the last change, and a hash of both ends: reading all of a large log costs minutes."""
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
