"""The files of a table (CSV, TSV, Parquet, JSON, JSON Lines, or a glob of them) to one raw table.

All columns of a text file are read as strings, so that no type is guessed from the first rows;
features/dataset/values casts them. Text files may be compressed with gzip. If a row of a CSV file has fewer
fields than the header, the last columns of the row are null.
"""

import glob
import json
import zlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path, PurePosixPath

import numpy as np
import polars as pl

from features.dataset.files.text_diagnosis import diagnose, header_problem, open_bytes
from features.dataset.tables import Rejected
from features.dataset.values.casting import as_id
from features.dataset.values.list_columns import json_rows, wrap_single_values
from recsys.arrays import Ints
from recsys.errors import DataError, clipped, did_you_mean

SEPARATORS = {".csv": ",", ".tsv": "\t"}
PARQUET = (".parquet", ".pq")
# A damaged file can make polars panic, and `PanicException` is not an `Exception`.
POLARS_ERRORS = (pl.exceptions.PolarsError, pl.exceptions.PanicException)
JSON_LINES = (".jsonl", ".ndjson", ".json")
INGESTED = "live/{table}.parquet"  # events that `recsys ingest` adds to the table of this name
WRONG_SEPARATOR = (
    "its values seem to have another separator than the one of its file extension (.csv: ',', .tsv: tab)"
)


@dataclass(frozen=True, kw_only=True)
class RawTable:
    """A table, or a part of one, before its values are checked."""

    name: str  # items, interactions, reviews, users
    frame: pl.DataFrame
    files: tuple[str, ...]  # relative to the dataset, in the order of their rows
    starts: tuple[int, ...]  # the first row of each file
    offset: int = 0  # row of the table at which the frame starts, if the frame is a part of the table

    def describe(
        self, rows: Sequence[int], values: Iterable[object], column: str, reason: str
    ) -> list[Rejected]:
        """One entry for each of `rows` of the frame; an entry names the file that has the row."""
        table_rows = np.asarray(rows, np.int64) + self.offset
        return [
            Rejected(
                table=self.name,
                path=self.files[file],
                row=row,
                column=column,
                value=value_text(value),
                reason=reason,
            )
            for row, file, value in zip(
                table_rows.tolist(), self.files_of(table_rows).tolist(), values, strict=True
            )
        ]

    def files_of(self, table_rows: Ints) -> Ints:
        """Positions in `files` of the files that have these rows of the table. Same shape as `table_rows`."""
        return np.searchsorted(np.asarray(self.starts), table_rows, side="right") - 1


def value_text(value: object) -> str:
    """A raw value as it is shown in a rejected entry; empty for None."""
    return "" if value is None else clipped(str(value))


def read_table(
    root: Path,
    name: str,
    pattern: str,
    columns: Iterable[str],
    *,
    ids: Collection[str] = (),
    lists: Collection[str] | None = None,
) -> RawTable:
    """The named columns of the files that match `pattern` in `root`, in the order of the file names.

    `ids` names the columns of ids. If their types differ between files, they are concatenated as text.
    `lists` names the columns that may hold lists: in a JSON file such a column may have a list in one row and
    a single value in another row. If `lists` is given, a list or an object in any other column is an error.
    Raises `DataError` whose `problems` name the file, the row where it is known, and the remedy.
    """
    wanted = list(dict.fromkeys(columns))
    paths = find_files(root, name, pattern)
    frames: list[pl.DataFrame] = []
    problems: list[str] = []
    for path in paths:
        shown = path.relative_to(root).as_posix()
        try:
            frame = select_columns(read_file(path, lists or ()), wanted, name, shown)
            if lists is not None and extension(path) in JSON_LINES:
                _refuse_nested(path, frame, [column for column in wanted if column not in lists])
            frames.append(frame)
        except DataError as error:
            problems += error.problems or (f"[{name}] {shown}: {error}",)
    if problems:
        raise DataError(f"the {name} cannot be read", problems)
    frame = concat_files(frames, paths, root, name, ids)
    if not frame.height:
        raise DataError(f"the {name} are empty", [f"[{name}] {pattern}: no rows under the header"])
    heights = [part.height for part in frames]
    return RawTable(
        name=name,
        frame=frame,
        files=tuple(path.relative_to(root).as_posix() for path in paths),
        starts=tuple(accumulate(heights[:-1], initial=0)),
    )


def find_files(root: Path, name: str, pattern: str) -> list[Path]:
    """The files in `root` that match `pattern`, sorted by name, then what was ingested into the table `name`.

    Raises `DataError` where no file matches `pattern`.
    """
    ingested = root / INGESTED.format(table=name)
    found = [path for path in _matching(root, name, pattern) if path != ingested]
    return [*found, ingested] if ingested.is_file() else found


def _matching(root: Path, name: str, pattern: str) -> list[Path]:
    plain = root / pattern
    try:
        if plain.is_file():
            return [plain]
        is_folder = plain.is_dir()
        found = [] if is_folder else sorted(path for path in _glob(root, pattern) if path.is_file())
    except (ValueError, NotImplementedError, OSError) as error:
        raise DataError(
            f"the {name} are missing", [f"[{name}] path = {pattern!r} cannot be looked up: {error}"]
        ) from None
    if found:
        return found
    if is_folder:
        hint = f"is a folder; name a file in it, or all with {str(PurePosixPath(pattern) / '*.csv')!r}"
    else:
        near = _file_names(plain.parent)
        known = did_you_mean(plain.name, near) if near else f"the folder {plain.parent} has no file"
        hint = f"no such file; {known}"
    raise DataError(f"the {name} are missing", [f"[{name}] path = {pattern!r}: {hint}"])


def _glob(root: Path, pattern: str) -> Iterator[Path]:
    """Paths that match `pattern`. The name of an existing folder, such as "part [1]", is not a pattern."""
    parts = PurePosixPath(pattern).parts
    while len(parts) > 1 and (root / parts[0]).is_dir():
        root, parts = root / parts[0], parts[1:]
    return root.glob("/".join(parts))


def _file_names(folder: Path) -> list[str]:
    """Names of the files in a folder, sorted; empty where there is no such folder."""
    if not folder.is_dir():
        return []
    return sorted(path.name for path in folder.iterdir() if path.is_file())


def read_file(path: Path, lists: Collection[str] = ()) -> pl.DataFrame:
    """All rows and columns of one file. All columns of CSV and TSV are strings. `lists`: see `read_table`."""
    suffix = extension(path)
    with explained_errors(path):
        if suffix in SEPARATORS:
            frame = pl.read_csv(path, separator=SEPARATORS[suffix], infer_schema=False, glob=False)
            _check_header(path, frame.columns)
            return frame
        if suffix in PARQUET:
            return pl.read_parquet(path, glob=False)
        if suffix in JSON_LINES:
            return _read_json(path, lists)
    raise unknown_kind(path)


def scan_file(path: Path) -> pl.LazyFrame | None:
    """The table of `read_file` as a lazy frame, None where the file cannot be read in parts.

    A JSON array, JSON Lines with a byte order mark, and compressed files cannot be read in parts.
    """
    suffix = extension(path)
    with explained_errors(path):
        if suffix != path.suffix.lower():
            return None
        if suffix in SEPARATORS:
            scanned = pl.scan_csv(path, separator=SEPARATORS[suffix], infer_schema=False, glob=False)
            _check_header(path, scanned.collect_schema().names())
            return scanned
        if suffix in PARQUET:
            return pl.scan_parquet(path, glob=False)
        if suffix in JSON_LINES:
            with path.open("rb") as file:
                start = file.read(4096).lstrip()
            is_lines = start[:1] == b"{"
            # `scan_ndjson` has no `glob=False`.
            pattern = glob.escape(str(path))
            return pl.scan_ndjson(pattern, infer_schema_length=None) if is_lines else None
    raise unknown_kind(path)


def unknown_kind(path: Path) -> DataError:
    """The error for a file with an unknown extension."""
    known = ", ".join([*SEPARATORS, *PARQUET, *JSON_LINES])
    return DataError(f"unknown kind of file {path.suffix!r}; known: {known}; texts also with .gz")


@contextmanager
def explained_errors(path: Path) -> Iterator[None]:
    """Errors of reading `path` become a `DataError` with the place of the fault and the remedy."""
    try:
        yield
    except pl.exceptions.NoDataError:
        raise DataError("the file is empty") from None
    except (*POLARS_ERRORS, OSError, EOFError, zlib.error) as error:
        raise DataError(_describe(path, extension(path), error)) from None


def extension(path: Path) -> str:
    """The file extension in lower case; of a compressed text file, such as x.csv.gz, the inner one: .csv."""
    suffix = path.suffix.lower()
    inner = Path(path.stem).suffix.lower() if suffix == ".gz" else ""
    return inner if inner in SEPARATORS or inner in JSON_LINES else suffix


def _describe(path: Path, suffix: str, error: BaseException) -> str:
    """The fault of a file that cannot be read, its place, and the remedy."""
    first_line = clipped(str(error).strip().partition("\n")[0])
    if suffix in PARQUET:
        if isinstance(error, OSError) and error.strerror:
            return f"cannot be opened: {error.strerror}"
        return f"is no Parquet file, or cut off or damaged; copy or write it again ({first_line})"
    return diagnose(path, separator=SEPARATORS.get(suffix)) or f"cannot be read: {first_line}"


def _check_header(path: Path, columns: list[str]) -> None:
    if wrong := header_problem(path, columns):
        raise DataError(wrong)


def _read_json(path: Path, lists: Collection[str]) -> pl.DataFrame:
    with open_bytes(path) as file:
        content = file.read().removeprefix(b"\xef\xbb\xbf")
    if not content.strip():
        raise DataError("the file is empty")
    try:
        frame = _parse_json(content)
    except POLARS_ERRORS:
        wrapped = _with_wrapped_values(content, lists)
        if wrapped is None:
            raise
        return _parse_json(wrapped)
    # polars reads a column of lists and texts as texts, such as '["a", "b"]'.
    texts = [name for name in lists if frame.schema.get(name) == pl.String]
    suspects = [name for name in texts if frame[name].str.starts_with("[").any()]
    wrapped = _with_wrapped_values(content, suspects)
    return frame if wrapped is None else _parse_json(wrapped)


def _refuse_nested(path: Path, frame: pl.DataFrame, columns: Collection[str]) -> None:
    """Raises `DataError` where a text column of `columns` has a list or an object in the JSON file."""
    suspects = [
        name
        for name in columns
        if frame.schema[name] == pl.String and frame[name].str.contains(r"^\[.*\]$|^\{.*\}$").any()
    ]
    if not suspects:
        return
    try:
        with open_bytes(path) as file:
            rows = json_rows(file.read())
    except (ValueError, RecursionError):
        return  # polars reads some files that the standard library rejects
    for number, row in enumerate(rows):
        for name in suspects:
            if isinstance(row.get(name), list | dict):
                shown = clipped(json.dumps(row[name], default=str, ensure_ascii=False))
                raise DataError(f"row {number}: field {name!r} is {shown}; write a single value in every row")


def _parse_json(content: bytes) -> pl.DataFrame:
    if content.lstrip()[:1] == b"[":
        return pl.read_json(content, infer_schema_length=None)
    return pl.read_ndjson(content, infer_schema_length=None)


def _with_wrapped_values(content: bytes, columns: Collection[str]) -> bytes | None:
    """`wrap_single_values` of the content, None where the content is not JSON with objects."""
    try:
        return wrap_single_values(content, columns) if columns else None
    except DataError:
        raise
    except (ValueError, AttributeError, TypeError, RecursionError):
        return None


def select_columns(frame: pl.DataFrame, columns: list[str], name: str, shown: str) -> pl.DataFrame:
    """The columns of the table `name`, read from the file `shown`.

    Raises `DataError` where a column is missing or appears twice.
    """
    if not frame.columns:
        raise DataError("no rows", [f"[{name}] {shown}: no rows"])
    missing = [column for column in columns if column not in frame.columns]
    twice = [column for column in columns if f"{column}_duplicated_0" in frame.columns]
    if twice:
        problems = [
            f"[{name}] {shown}: column {each!r} appears twice; rename one of the two" for each in twice
        ]
        raise DataError("columns appear twice", problems)
    if not missing:
        return frame.select(columns)
    if len(frame.columns) == 1 and any(mark in frame.columns[0] for mark in ";\t|"):
        raise DataError("columns are missing", [f"[{name}] {shown}: {WRONG_SEPARATOR}"])
    problems = [
        f"[{name}] {shown}: no column {column!r}; {did_you_mean(column, frame.columns)}" for column in missing
    ]
    raise DataError("columns are missing", problems)


def numbers_as_text(part: pl.DataFrame, shown: str, name: str) -> pl.DataFrame:
    """A frame of one column; numbers become ids in text form. Raises `DataError` where ids are inexact."""
    series = part.to_series()
    if not series.dtype.is_numeric():
        return part
    try:
        return as_id(series).alias(series.name).to_frame()
    except DataError as error:
        problem = f"[{name}] {shown}: column {series.name!r} {error}"
        raise DataError("ids cannot be distinguished", [problem]) from None


def concat_files(
    frames: list[pl.DataFrame], paths: list[Path], root: Path, name: str, ids: Collection[str] = ()
) -> pl.DataFrame:
    """The tables of all files, concatenated.

    If a column has integers in one file and floats in another, it becomes a column of floats; a column of
    `ids` becomes a column of text. Raises `DataError` where the types of a column are incompatible.
    """
    if len(frames) == 1:
        return frames[0]
    columns: list[pl.DataFrame] = []
    problems: list[str] = []
    for column in frames[0].columns:
        parts = [frame.select(column) for frame in frames]
        if column in ids and len({part.dtypes[0] for part in parts}) > 1:
            try:
                parts = [
                    numbers_as_text(part, path.relative_to(root).as_posix(), name)
                    for part, path in zip(parts, paths, strict=True)
                ]
            except DataError as error:
                problems += error.problems
                continue
        try:
            columns.append(pl.concat(parts, how="vertical_relaxed"))
        except pl.exceptions.PolarsError:
            types = {str(part.dtypes[0]): path for part, path in zip(parts, paths, strict=True)}
            kinds = ", ".join(
                f"{kind} in {path.relative_to(root).as_posix()}" for kind, path in types.items()
            )
            problems.append(f"[{name}] column {column!r} is {kinds}; use one type in all files")
    if problems:
        raise DataError("the files have different types", problems)
    return pl.concat(columns, how="horizontal")
