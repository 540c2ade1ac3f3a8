"""Files as the user has them (CSV, TSV, Parquet, JSON Lines, globs) to one raw table each.

Text files are read as strings, so that nothing is guessed from their first rows; `features.casting`
gives the values their types.
"""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import numpy as np
import polars as pl

from features.tables import SetAside
from recsys.errors import DataError, did_you_mean

SEPARATORS = {".csv": ",", ".tsv": "\t"}
PARQUET = (".parquet", ".pq")
JSON_LINES = (".jsonl", ".ndjson", ".json")


@dataclass(frozen=True, kw_only=True)
class RawTable:
    """A table before its values were checked."""

    name: str  # items, interactions, reviews, users
    frame: pl.DataFrame
    files: tuple[str, ...]  # relative to the dataset, in the order of their rows
    starts: tuple[int, ...]  # first row of each file
    offset: int = 0  # place of the frame's first row in the table, where the frame is a part of it

    def describe(
        self, rows: Sequence[int], values: Iterable[object], column: str, reason: str
    ) -> list[SetAside]:
        """Entries for `rows`, each with the file it stands in."""
        places = np.asarray(rows, np.int64) + self.offset
        file_of = np.searchsorted(np.asarray(self.starts), places, side="right") - 1
        return [
            SetAside(
                table=self.name,
                path=self.files[at],
                row=row,
                column=column,
                value="" if value is None else str(value),
                reason=reason,
            )
            for row, at, value in zip(places.tolist(), file_of.tolist(), values, strict=True)
        ]


def read_table(root: Path, name: str, pattern: str, columns: Iterable[str]) -> RawTable:
    """The named columns of the file or files that match `pattern` in `root`, in the files' order.

    Raises `DataError` whose `problems` name the file and, where they can, the row and what to do.
    """
    wanted = list(dict.fromkeys(columns))
    paths = find_files(root, name, pattern)
    frames: list[pl.DataFrame] = []
    problems: list[str] = []
    for path in paths:
        shown = path.relative_to(root).as_posix()
        try:
            frames.append(select_columns(read_file(path), wanted, name, shown))
        except DataError as error:
            problems += error.problems or (f"[{name}] {shown}: {error}",)
    if problems:
        raise DataError(f"the {name} cannot be read", problems)
    frame = pl.concat(frames, how="vertical_relaxed") if len(frames) > 1 else frames[0]
    if not frame.height:
        raise DataError(f"the {name} are empty", [f"[{name}] {pattern}: no rows"])
    heights = [part.height for part in frames]
    return RawTable(
        name=name,
        frame=frame,
        files=tuple(path.relative_to(root).as_posix() for path in paths),
        starts=tuple(accumulate(heights[:-1], initial=0)),
    )


def find_files(root: Path, name: str, pattern: str) -> list[Path]:
    """Files of `root` that match `pattern`, sorted by name; at least one."""
    plain = root / pattern
    if plain.is_file():
        return [plain]
    found = sorted(path for path in root.glob(pattern) if path.is_file())
    if not found:
        near = (
            sorted(path.name for path in plain.parent.glob("*") if path.is_file())
            if plain.parent.is_dir()
            else []
        )
        hint = did_you_mean(plain.name, near) if near else f"{plain.parent} holds no files"
        raise DataError(f"the {name} are missing", [f"[{name}] path = {pattern!r}: no such file; {hint}"])
    return found


def read_file(path: Path) -> pl.DataFrame:
    """All rows and columns of one file; strings where the format has no types."""
    suffix = path.suffix.lower()
    with explained(path):
        if suffix in SEPARATORS:
            return pl.read_csv(path, separator=SEPARATORS[suffix], infer_schema=False, glob=False)
        if suffix in PARQUET:
            return pl.read_parquet(path, glob=False)
        if suffix in JSON_LINES:
            return _read_json(path)
    raise unknown_kind(path)


def scan_file(path: Path) -> pl.LazyFrame | None:
    """The same table, read a part at a time; None where a file of that form can only be read whole.

    That is a JSON array, and JSON Lines that start with a byte order mark.
    """
    suffix = path.suffix.lower()
    with explained(path):
        if suffix in SEPARATORS:
            return pl.scan_csv(path, separator=SEPARATORS[suffix], infer_schema=False, glob=False)
        if suffix in PARQUET:
            return pl.scan_parquet(path, glob=False)
        if suffix in JSON_LINES:
            with path.open("rb") as file:
                start = file.read(4096).lstrip()
            is_lines = start[:1] == b"{"
            return pl.scan_ndjson(path, infer_schema_length=None) if is_lines else None
    raise unknown_kind(path)


def unknown_kind(path: Path) -> DataError:
    known = ", ".join([*SEPARATORS, *PARQUET, *JSON_LINES])
    return DataError(f"unknown kind of file {path.suffix!r}; known: {known}")


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """What goes wrong while reading `path` becomes a `DataError` that says where and what to do."""
    try:
        yield
    except pl.exceptions.NoDataError:
        raise DataError("the file is empty") from None
    except (pl.exceptions.PolarsError, OSError) as error:
        separator = SEPARATORS.get(path.suffix.lower())
        if separator is not None and "more fields" in str(error):
            raise DataError(_ragged(path, separator) or f"cannot be read: {error}") from None
        first_line = str(error).strip().partition("\n")[0]
        raise DataError(_undecodable(path) or f"cannot be read: {first_line}") from None


def _read_json(path: Path) -> pl.DataFrame:
    content = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    if content.lstrip()[:1] == b"[":
        return pl.read_json(content, infer_schema_length=None)
    return pl.read_ndjson(content, infer_schema_length=None)


def select_columns(frame: pl.DataFrame, columns: list[str], name: str, shown: str) -> pl.DataFrame:
    missing = [column for column in columns if column not in frame.columns]
    if not missing:
        return frame.select(columns)
    if len(frame.columns) == 1 and any(mark in frame.columns[0] for mark in ";\t|"):
        ending = (
            "its values seem to be separated by something else than its ending says (.csv: ',', .tsv: tab)"
        )
        raise DataError("columns are missing", [f"[{name}] {shown}: {ending}"])
    problems = [
        f"[{name}] {shown}: no column {column!r}; {did_you_mean(column, frame.columns)}" for column in missing
    ]
    raise DataError("columns are missing", problems)


def _undecodable(path: Path) -> str | None:
    """Where a text file stops being UTF-8, None where it does not."""
    if path.suffix.lower() in PARQUET or not path.is_file():
        return None
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                around = line[max(error.start - 20, 0) : error.end + 10].decode("latin-1").strip()
                return (
                    f"line {number} is not UTF-8 (byte {line[error.start]:#04x}, as latin-1: {around!r}); "
                    f"save the file as UTF-8, for instance: iconv -f latin1 -t utf-8 {path.name}"
                )
    return None


def _ragged(path: Path, separator: str) -> str | None:
    """The first row with more fields than the header, None where there is none."""
    with io.TextIOWrapper(path.open("rb"), "utf-8-sig", errors="replace", newline="") as file:
        rows = csv.reader(file, delimiter=separator)
        width = len(next(rows, []))
        for number, row in enumerate(rows):
            if len(row) > width:
                return (
                    f"row {number} (line {rows.line_num}) has {len(row)} fields, the header {width}: "
                    f"{separator.join(row)[:120]!r}; put a text that holds {separator!r} in double quotes"
                )
    return None
