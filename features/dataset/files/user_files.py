"""Ids from a file that a user names on the command line: users, candidates.

    form                            content
    .csv .tsv .jsonl .ndjson .json  a table; the ids are one column of it
    .parquet .pq                    a table
    .txt                            one id a line, or a table of one column with its name on the first line;
                                    JSON Lines are recognised

Texts may be compressed with gzip (.csv.gz). The case of a file extension does not matter.
"""

import io
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import polars as pl

from features.dataset.files.readers import (
    JSON_LINES,
    PARQUET,
    SEPARATORS,
    WRONG_SEPARATOR,
    explained_errors,
    read_file,
)
from features.dataset.files.text_diagnosis import (
    binary_problem,
    encoding_problem,
    json_problem,
    open_bytes,
    refuse_constant,
)
from features.dataset.values.casting import as_id, id_fault
from recsys.errors import DataError, did_you_mean

TEXT: Final = (".txt",)
_PARQUET_MAGIC: Final = b"PAR1"
# The beginning of a JSON object or array, but not of an id in braces, such as a GUID.
_JSON_START: Final = re.compile(r'\[?\s*\{\s*("|\}|$)|\[\s*("|\]|$)')
_MAX_SHOWN: Final = 100  # faulty rows that an error lists


@dataclass(frozen=True, kw_only=True)
class NamedIds:
    """Distinct ids of one file, in its order."""

    ids: pl.Series  # String, without nulls
    places: tuple[str, ...]  # of each id: "line 3" (from 1) or "row 3" (from 0, under the header)
    num_repeated: int  # lines or rows that named an id again
    num_empty: int  # rows of a table without an id; blank lines of a text are not counted

    def first_line(self) -> str | None:
        """The first id if it is the first line of a text file, where it may be a column name; else None."""
        return self.ids[0] if self.places[0] == "line 1" and len(self.ids) > 1 else None

    def is_first_unlike_others(self) -> bool:
        """Whether all ids but the first have digits; the first is then probably a column name."""
        has_digit = self.ids.str.contains(r"\d")
        return not has_digit[0] and bool(has_digit[1:].all())


def read_ids(path: Path, column: str, *, named: str | None = None) -> NamedIds:
    """The ids in the file at `path`, from the column `named`, by default from the column `column`.

    Case, white space, hyphens and underscores do not matter in the default name. A Parquet or JSON table with
    one column needs no name. Ids are cast as in a dataset (`casting.as_id`), never through floating point.
    Raises `DataError`, with file and remedy, where the file or column is missing, the extension is unknown or
    contradicts the content, there are no ids, or an id is invalid.
    """
    if not path.is_file():
        raise DataError(f"{path}: {'is a folder, not a file' if path.is_dir() else 'no such file'}")
    try:
        raw, unit, numbers = _raw_ids(path, column, named)
        ids = as_id(raw)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    return _distinct(path, ids, [f"{unit} {number}" for number in numbers], column)


def _distinct(path: Path, ids: pl.Series, places: Sequence[str], column: str) -> NamedIds:
    frame = pl.DataFrame({"id": ids, "place": pl.Series(places, dtype=pl.String), "fault": id_fault(ids)})
    given = frame.filter(pl.col("id").is_not_null())
    faulty = given.filter(pl.col("fault").is_not_null())
    if faulty.height:
        problems = [f"{place}: {fault}" for place, fault in faulty.select("place", "fault").iter_rows()]
        raise DataError(f"{path}: {faulty.height} ids cannot be used", problems[:_MAX_SHOWN])
    if not given.height:
        raise DataError(f"{path} names no {column}; write one id a line")
    distinct = given.unique("id", keep="first", maintain_order=True)
    return NamedIds(
        ids=distinct["id"],
        places=tuple(distinct["place"].to_list()),
        num_repeated=given.height - distinct.height,
        num_empty=frame.height - given.height,
    )


def _raw_ids(path: Path, column: str, named: str | None) -> tuple[pl.Series, str, Sequence[int]]:
    """The raw column of ids, the unit of its positions ("line" or "row"), and the positions."""
    form = _form(path)
    start = file_start(path, form)
    first_line = start.removeprefix(b"\xef\xbb\xbf").lstrip().partition(b"\n")[0].decode("utf-8", "replace")
    is_json = _JSON_START.match(first_line.strip()) is not None
    if form in JSON_LINES or (form in TEXT and is_json):
        rows = _json_rows(path)
        if not rows:
            raise DataError("the file is empty")
        name = _column_name(
            [*dict.fromkeys(name for row in rows for name in row)], column, named, may_be_any=True
        )
        ids = pl.Series(name, [_text(row.get(name)) for row in rows], dtype=pl.String)
        return ids, "row", range(len(ids))
    if form in TEXT:
        return _lines(path, column, named)
    if is_json and form not in PARQUET:
        raise DataError(f"contains JSON, but its extension is {form}; change the extension to .jsonl")
    table = read_file(path)
    name = _column_name(table.columns, column, named, may_be_any=form in PARQUET)
    return table[name], "row", range(table.height)


def file_start(path: Path, form: str) -> bytes:
    """The first bytes of the file with the extension `form`, decompressed.

    Raises `DataError` for a Parquet file with another extension.
    """
    with explained_errors(path), open_bytes(path) as file:
        start = file.read(4096)
    if start.startswith(_PARQUET_MAGIC) and form not in PARQUET:
        raise DataError("is a Parquet file; change the file extension to .parquet")
    return start


def _form(path: Path) -> str:
    """The file extension in lower case, without a final .gz. Raises `DataError` for an unknown extension."""
    known = (*SEPARATORS, *JSON_LINES, *TEXT)
    suffix = path.suffix.lower()
    if suffix == ".gz":
        suffix = Path(path.stem).suffix.lower()
    elif suffix in PARQUET:
        return suffix
    if suffix not in known:
        shown = "".join(path.suffixes[-2:] if path.suffix.lower() == ".gz" else path.suffixes[-1:])
        raise DataError(
            f"unknown extension {shown!r}; known: {', '.join((*known, *PARQUET))}; texts also with .gz"
        )
    return suffix


def _column_name(columns: Sequence[str], column: str, named: str | None, *, may_be_any: bool) -> str:
    """The name of the column of ids. With `may_be_any` a single column may have any name.

    Raises `DataError` where the column is not found.
    """
    if not columns:
        raise DataError("its rows have no columns; write the ids under the name " + repr(named or column))
    if named is not None:
        if named not in columns:
            raise DataError(f"no column {named!r}; {did_you_mean(named, columns)}")
        return named
    if column in columns:
        return column
    near = [name for name in columns if _is_called(name, column)]
    if len(near) == 1:
        return near[0]
    if may_be_any and len(columns) == 1:
        return columns[0]
    remedy = f"name the column of ids with --{_option(column)}-column"
    if len(columns) == 1 and any(mark in columns[0] for mark in ",;\t|"):
        remedy = WRONG_SEPARATOR
    elif len(columns) == 1:
        remedy += f", or write {column!r} above the ids, or give a file that has only ids the extension .txt"
    raise DataError(f"no column {column!r}; it has {', '.join(columns)}; {remedy}")


def _option(column: str) -> str:
    return {"user_id": "users", "item_id": "candidates"}.get(column, column)


def _is_called(name: str, column: str) -> bool:
    return _folded(name) == _folded(column)


def _folded(name: str) -> str:
    return re.sub(r"[\s_-]", "", name.strip().strip("\"'").lower())


def _lines(path: Path, column: str, named: str | None) -> tuple[pl.Series, str, Sequence[int]]:
    """The lines that are not blank, without the first line if it is the name of the column."""
    if wrong := binary_problem(path) or encoding_problem(path):
        raise DataError(wrong)
    with explained_errors(path), open_bytes(path) as file:
        text = io.TextIOWrapper(file, "utf-8-sig")
        numbered = [(number, line.strip()) for number, line in enumerate(text, 1) if line.strip()]
    if numbered and _is_header(numbered[0][1], column, named):
        numbered = numbered[1:]
    lines = pl.Series(column, [line for _, line in numbered], dtype=pl.String)
    return lines, "line", [number for number, _ in numbered]


def _is_header(line: str, column: str, named: str | None) -> bool:
    """Whether the first line is the name of the column. Raises `DataError` where it is another header."""
    known = {column, named or column}
    if any(_is_called(line, name) for name in known):
        return True
    if any(_is_called(line, other) for other in ("user_id", "item_id")):
        raise DataError(f"its first line is the column name {line!r}; {column!r} is needed here")
    cells = re.split(r"[,;\t|]", line)
    if len(cells) > 1 and any(_is_called(cell, name) for cell in cells for name in known):
        raise DataError(
            f"its first line {line!r} names several columns; give the table the extension .csv (',') "
            "or .tsv (tab)"
        )
    if named is not None:
        raise DataError(f"a text with one id a line has no column {named!r}; its first line is {line!r}")
    return False


def _json_rows(path: Path) -> list[dict[str, Any]]:
    """The objects of JSON Lines or of a JSON array; numbers are strings with their original digits."""
    if wrong := binary_problem(path) or encoding_problem(path):
        raise DataError(wrong)
    try:
        return list(_objects(path))
    except (ValueError, RecursionError) as error:
        raise DataError(json_problem(path) or f"is not JSON: {error}") from None


def _objects(path: Path) -> Iterator[dict[str, Any]]:
    with open_bytes(path) as file:
        content = file.read().decode("utf-8-sig")
    is_array = content.lstrip().startswith("[")
    texts = [content] if is_array else [line for line in content.split("\n") if line.strip()]
    for text in texts:
        value = json.loads(text, parse_int=str, parse_float=str, parse_constant=refuse_constant)
        rows = value if is_array else [value]
        for row in rows:
            if not isinstance(row, dict):
                raise ValueError("not an object")
            yield row


def _text(value: object) -> str | None:
    """A JSON value as an id. Raises `DataError` for lists, objects and booleans."""
    if value is None or isinstance(value, str):
        return value
    raise DataError(f"{json.dumps(value)} is not an id; an id is a text or a number")
