"""Files as the user has them (CSV, TSV, Parquet, JSON Lines, globs) to one raw table each.

Text files are read as strings, so that nothing is guessed from their first rows; features/dataset/values
gives the values their types. They may be compressed with gzip. A row of a CSV with fewer fields than the
header has nothing in the last columns, as spreadsheets write it.
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

from features.dataset.files.text_diagnosis import bad_header, explain, open_bytes
from features.dataset.tables import Rejected
from features.dataset.values.casting import as_id
from features.dataset.values.list_columns import json_rows, wrap_single_values
from recsys.errors import DataError, clipped, did_you_mean

SEPARATORS = {".csv": ",", ".tsv": "\t"}
PARQUET = (".parquet", ".pq")
# A damaged file can make polars panic, which Python sees as no `Exception`.
POLARS_ERRORS = (pl.exceptions.PolarsError, pl.exceptions.PanicException)
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
    ) -> list[Rejected]:
        """Entries for `rows`, each with the file it stands in."""
        places = np.asarray(rows, np.int64) + self.offset
        file_of = np.searchsorted(np.asarray(self.starts), places, side="right") - 1
        return [
            Rejected(
                table=self.name,
                path=self.files[at],
                row=row,
                column=column,
                value="" if value is None else clipped(str(value)),
                reason=reason,
            )
            for row, at, value in zip(places.tolist(), file_of.tolist(), values, strict=True)
        ]


def read_table(
    root: Path,
    name: str,
    pattern: str,
    columns: Iterable[str],
    *,
    ids: Collection[str] = (),
    lists: Collection[str] | None = None,
) -> RawTable:
    """The named columns of the file or files that match `pattern` in `root`, in the files' order.

    The columns `ids` identify something, so that files with other kinds of numbers are joined as text;
    the columns `lists` may hold a list in one row of JSON and a single value in the next. Where `lists` is
    given, a list or an object in a text of another column is an error.
    Raises `DataError` whose `problems` name the file and, where they can, the row and what to do.
    """
    wanted = list(dict.fromkeys(columns))
    paths = find_files(root, name, pattern)
    frames: list[pl.DataFrame] = []
    problems: list[str] = []
    for path in paths:
        shown = path.relative_to(root).as_posix()
        try:
            frame = select_columns(read_file(path, lists or ()), wanted, name, shown)
            if lists is not None and ending(path) in JSON_LINES:
                _refuse_nested(path, frame, [column for column in wanted if column not in lists])
            frames.append(frame)
        except DataError as error:
            problems += error.problems or (f"[{name}] {shown}: {error}",)
    if problems:
        raise DataError(f"the {name} cannot be read", problems)
    frame = stacked(frames, paths, root, name, ids)
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
    """Files of `root` that match `pattern`, sorted by name; at least one."""
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
        near = _beside(plain)
        known = did_you_mean(plain.name, near) if near else f"no file lies in {plain.parent}"
        hint = f"no such file; {known}"
    raise DataError(f"the {name} are missing", [f"[{name}] path = {pattern!r}: {hint}"])


def _glob(root: Path, pattern: str) -> Iterator[Path]:
    """Paths that match `pattern`. A folder that exists by that very name ("part [1]") is no pattern."""
    parts = PurePosixPath(pattern).parts
    while len(parts) > 1 and (root / parts[0]).is_dir():
        root, parts = root / parts[0], parts[1:]
    return root.glob("/".join(parts))


def _beside(path: Path) -> list[str]:
    if not path.parent.is_dir():
        return []
    return sorted(each.name for each in path.parent.iterdir() if each.is_file())


def read_file(path: Path, lists: Collection[str] = ()) -> pl.DataFrame:
    """All rows and columns of one file; strings where the format has no types. `lists`: see `read_table`."""
    suffix = ending(path)
    with explained(path):
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
    """The same table, read a part at a time; None where a file of that form can only be read whole.

    That is a JSON array, JSON Lines that start with a byte order mark, and what is compressed.
    """
    suffix = ending(path)
    with explained(path):
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
    known = ", ".join([*SEPARATORS, *PARQUET, *JSON_LINES])
    return DataError(f"unknown kind of file {path.suffix!r}; known: {known}, and texts with .gz after it")


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """What goes wrong while reading `path` becomes a `DataError` that says where and what to do."""
    try:
        yield
    except pl.exceptions.NoDataError:
        raise DataError("the file is empty") from None
    except (*POLARS_ERRORS, OSError, EOFError, zlib.error) as error:
        raise DataError(_why(path, ending(path), error)) from None


def ending(path: Path) -> str:
    """What the file's name says of its form: its ending, of a text that before a last .gz."""
    suffix = path.suffix.lower()
    inner = Path(path.stem).suffix.lower() if suffix == ".gz" else ""
    return inner if inner in SEPARATORS or inner in JSON_LINES else suffix


def _why(path: Path, suffix: str, error: BaseException) -> str:
    """What is wrong with the file, where in it, and what to do."""
    first_line = clipped(str(error).strip().partition("\n")[0])
    if suffix in PARQUET:
        if isinstance(error, OSError) and error.strerror:
            return f"cannot be opened: {error.strerror}"
        return f"is no Parquet file, or cut off or damaged; copy or write it again ({first_line})"
    return explain(path, separator=SEPARATORS.get(suffix)) or f"cannot be read: {first_line}"


def _check_header(path: Path, columns: list[str]) -> None:
    if wrong := bad_header(path, columns):
        raise DataError(wrong)


def _read_json(path: Path, lists: Collection[str]) -> pl.DataFrame:
    with open_bytes(path) as file:
        content = file.read().removeprefix(b"\xef\xbb\xbf")
    if not content.strip():
        raise DataError("the file is empty")
    try:
        frame = _parse_json(content)
    except POLARS_ERRORS:
        wrapped = _wrapped(content, lists)
        if wrapped is None:
            raise
        return _parse_json(wrapped)
    # Lists and texts in one column become texts, such as '["a", "b"]'.
    texts = [name for name in lists if frame.schema.get(name) == pl.String]
    suspects = [name for name in texts if frame[name].str.starts_with("[").any()]
    wrapped = _wrapped(content, suspects)
    return frame if wrapped is None else _parse_json(wrapped)


def _refuse_nested(path: Path, frame: pl.DataFrame, columns: Collection[str]) -> None:
    """Raises `DataError` where polars wrote a list or an object into a text column of `columns`."""
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
        return  # polars reads more than the standard library does
    for number, row in enumerate(rows):
        for name in suspects:
            if isinstance(row.get(name), list | dict):
                shown = clipped(json.dumps(row[name], default=str, ensure_ascii=False))
                raise DataError(f"row {number}: field {name!r} is {shown}; write a single value in every row")


def _parse_json(content: bytes) -> pl.DataFrame:
    if content.lstrip()[:1] == b"[":
        return pl.read_json(content, infer_schema_length=None)
    return pl.read_ndjson(content, infer_schema_length=None)


def _wrapped(content: bytes, columns: Collection[str]) -> bytes | None:
    """`wrap_single_values`, None where the content is no JSON with objects."""
    try:
        return wrap_single_values(content, columns) if columns else None
    except DataError:
        raise
    except (ValueError, AttributeError, TypeError, RecursionError):
        return None


def select_columns(frame: pl.DataFrame, columns: list[str], name: str, shown: str) -> pl.DataFrame:
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
        ending = (
            "its values seem to be separated by something else than its ending says (.csv: ',', .tsv: tab)"
        )
        raise DataError("columns are missing", [f"[{name}] {shown}: {ending}"])
    problems = [
        f"[{name}] {shown}: no column {column!r}; {did_you_mean(column, frame.columns)}" for column in missing
    ]
    raise DataError("columns are missing", problems)


def numbers_as_text(part: pl.DataFrame, shown: str, name: str) -> pl.DataFrame:
    """The only column of the file `shown`, as ids where it holds numbers."""
    series = part.to_series()
    if not series.dtype.is_numeric():
        return part
    try:
        return as_id(series).alias(series.name).to_frame()
    except DataError as error:
        problem = f"[{name}] {shown}: column {series.name!r} {error}"
        raise DataError("ids cannot be told apart", [problem]) from None


def stacked(
    frames: list[pl.DataFrame], paths: list[Path], root: Path, name: str, ids: Collection[str] = ()
) -> pl.DataFrame:
    """One table of all files; raises `DataError` where the kinds of a column do not go together.

    Different kinds of numbers become floats, but in the columns `ids`, where they become text.
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
            shown = {str(part.dtypes[0]): path for part, path in zip(parts, paths, strict=True)}
            kinds = ", ".join(
                f"{kind} in {path.relative_to(root).as_posix()}" for kind, path in shown.items()
            )
            problems.append(f"[{name}] column {column!r} is {kinds}; write it alike in every file")
    if problems:
        raise DataError("files do not go together", problems)
    return pl.concat(columns, how="horizontal")
