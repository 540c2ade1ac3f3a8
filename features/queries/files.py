"""Queries from a file that a user names on the command line.

    query_id   required, each once
    query      a text
    image, audio, video    paths, relative to the file
    item_id    an item like which others are searched
    user_id    whose taste orders the hits

A row has any of `query`, `image`, `audio`, `video` and `item_id`; each is a clause with weight 1.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import polars as pl

from features.dataset import casting, file_start, read_file
from features.queries.clauses import AudioClause, Clause, ImageClause, TextClause, VideoClause
from recsys.columns import Columns
from recsys.errors import DataError, clipped, did_you_mean

QUERY_TEXT: Final = "query"
MEDIA: Final[dict[str, Any]] = {
    Columns.IMAGE: ImageClause,
    Columns.AUDIO: AudioClause,
    Columns.VIDEO: VideoClause,
}
PARTS: Final = (QUERY_TEXT, *MEDIA, Columns.ITEM)
_IDS: Final = (Columns.QUERY, Columns.ITEM, Columns.USER)
_MAX_SHOWN: Final = 100  # faulty rows that an error lists


@dataclass(frozen=True, kw_only=True)
class QueryRow:
    """One query of a file."""

    query_id: str
    place: str  # "row 3", from 0 under the header
    clauses: tuple[Clause, ...]  # without the one of `item_id`
    item_id: str | None
    user_id: str | None


def read_queries(path: Path) -> list[QueryRow]:
    """The queries in the file at `path` (CSV, TSV, Parquet, JSON Lines), in its order.

    Raises `DataError`, with all faulty rows, their values and the remedy, for a missing file or column, an
    id that is missing, repeated or no id, a row that asks for nothing, and a medium that is not there.
    """
    table = _table(path)
    rows: list[QueryRow] = []
    problems: list[str] = []
    first: dict[str, int] = {}
    for at, values in enumerate(table.iter_rows(named=True)):
        faults = list(_faults(path, values))
        query_id = values[Columns.QUERY]
        if query_id is not None and first.setdefault(query_id, at) != at:
            faults.append(f"{Columns.QUERY} = {query_id!r}: repeats row {first[query_id]}; name each once")
        problems += [f"row {at}: {fault}" for fault in faults]
        if not faults:
            rows.append(_row(path, at, values))
    if problems:
        raise DataError(f"{path}: {len(problems)} values cannot be used", problems[:_MAX_SHOWN])
    if not rows:
        raise DataError(f"{path}: has no rows; write one query a row")
    return rows


def _table(path: Path) -> pl.DataFrame:
    """The known columns as strings, null where empty."""
    if not path.is_file():
        raise DataError(f"{path}: {'is a folder, not a file' if path.is_dir() else 'no such file'}")
    try:
        file_start(path, path.suffix.lower())
        raw = read_file(path)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    if Columns.QUERY not in raw.columns:
        hint = did_you_mean(Columns.QUERY, raw.columns) if raw.columns else "it has no columns"
        raise DataError(f"{path}: no column {Columns.QUERY!r}; {hint}")
    known = [name for name in (Columns.QUERY, Columns.USER, *PARTS) if name in raw.columns]
    if not set(known) & set(PARTS):
        raise DataError(f"{path}: has none of the columns {', '.join(PARTS)}; add one of them")
    return raw.select([_column(path, raw[name]) for name in known])


def _column(path: Path, column: pl.Series) -> pl.Series:
    """A column as strings; ids are cast as in a dataset."""
    try:
        if column.name in _IDS:
            return casting.as_id(column).alias(column.name)
        if column.dtype == pl.Null:
            return column.cast(pl.String)
        if column.dtype != pl.String:
            raise DataError(f"is {column.dtype}, not a text; write texts and paths as text")
        return column
    except DataError as error:
        raise DataError(f"{path}: column {column.name!r} {error}") from None


def _faults(path: Path, values: dict[str, str | None]) -> Iterator[str]:
    if values[Columns.QUERY] is None:
        yield f"{Columns.QUERY} is empty; give each query an id"
    if not any(_is_given(values.get(name)) for name in PARTS):
        yield f"asks for nothing; fill one of {', '.join(name for name in PARTS if name in values)}"
    for name in MEDIA:
        value = values.get(name)
        if _is_given(value) and not (path.parent / str(value)).is_file():
            yield f"{name} = {clipped(str(value))!r}: no such file; paths are relative to {path.parent}"


def _row(path: Path, at: int, values: dict[str, str | None]) -> QueryRow:
    clauses: list[Clause] = []
    text = values.get(QUERY_TEXT)
    if text is not None and _is_given(text):
        clauses.append(TextClause(name=QUERY_TEXT, text=text))
    for name, of in MEDIA.items():
        value = values.get(name)
        if value is not None and _is_given(value):
            clauses.append(of(name=name, medium=path.parent / value))
    query_id = values[Columns.QUERY]
    assert query_id is not None, "rows without an id are refused"
    return QueryRow(
        query_id=query_id,
        place=f"row {at}",
        clauses=tuple(clauses),
        item_id=values.get(Columns.ITEM),
        user_id=values.get(Columns.USER),
    )


def _is_given(value: str | None) -> bool:
    return value is not None and bool(value.strip())
