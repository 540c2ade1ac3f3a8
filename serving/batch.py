"""Recommendations for many users into one Parquet file.

Histories and answers pass through in batches; of all users only the ids ever stand in memory together.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
from polars.io.plugins import register_io_source

from features.dataset.casting import as_id
from features.dataset.readers import read_file
from features.dataset.text_diagnosis import not_utf8
from recsys.arrays import Bools, Floats, Ints
from recsys.columns import Columns
from recsys.errors import DataError, RequestError
from recsys.ids import NUM_RESERVED, PAD
from recsys.progress import Progress, silent
from serving.engine import Engine

SCHEMA = pl.Schema(
    {Columns.USER: pl.String, Columns.ITEM: pl.String, Columns.RANK: pl.Int32, Columns.SCORE: pl.Float32}
)
STEP = "recommend"


@dataclass(frozen=True, kw_only=True)
class BatchReport:
    """What a batch did."""

    num_users: int
    num_rows: int
    num_unknown: int  # users without a history, who got the most popular items
    num_twice: int  # lines that named a user again, left out


def recommend_to_parquet(
    engine: Engine,
    users: Path | Literal["all"],
    out: Path,
    k: int = 20,
    *,
    exclude_seen: bool = True,
    candidates: Path | None = None,
    batch_size: int = 256,
    progress: Progress = silent,
) -> BatchReport:
    """Write user_id, item_id, rank (from 1), score for every user to `out`, complete or not at all.

    `users` is a file with one id a line, or a .csv or .parquet with a column user_id; "all" are those of
    the state. `candidates`, one item id a line, restricts the catalogue. Raises `DataError` for a file
    that is missing, empty or names unknown items, listing their lines, and `RequestError` for a bad k.
    """
    if k < 1:
        raise RequestError("k", "at least 1", k)
    allowed = None if candidates is None else _read_candidates(candidates, engine)
    user_ids, total, num_twice = _queue(engine, users)
    counts = {"rows": 0, "unknown": 0, "done": 0}

    def frames() -> Iterator[pl.DataFrame]:
        progress(STEP, 0, total)
        while batch := list(islice(user_ids, batch_size)):
            histories = engine.state.histories(batch)
            answer = engine.recommend(histories, k, exclude_seen=exclude_seen, allowed=allowed)
            frame = _frame(engine, batch, answer.items, answer.scores)
            counts["rows"] += len(frame)
            counts["unknown"] += sum(history is None or not len(history) for history in histories)
            counts["done"] += len(batch)
            progress(STEP, counts["done"], total)
            yield frame

    _write(frames(), out)
    return BatchReport(
        num_users=counts["done"],
        num_rows=counts["rows"],
        num_unknown=counts["unknown"],
        num_twice=num_twice,
    )


def _queue(engine: Engine, users: Path | Literal["all"]) -> tuple[Iterator[str], int, int]:
    """User ids, how many they are, and how many lines named one again."""
    if users == "all":
        num_users = engine.state.num_users()
        if not num_users:
            raise DataError(
                f"no user is known: there are no histories beside {engine.bundle.path}; name the file of "
                "histories (--histories), or a file of users to get the most popular items (--users)"
            )
        return engine.state.user_ids(), num_users, 0
    named = _read_users(Path(users))
    distinct = named.unique(maintain_order=True)
    return iter(distinct), len(distinct), len(named) - len(distinct)


def _read_users(path: Path) -> pl.Series:
    if not path.is_file():
        raise DataError(f"no file of users at {path}")
    if path.suffix in (".csv", ".parquet"):
        ids = _user_column(path)
    else:
        ids = pl.Series(Columns.USER, [line for _, line in _lines(path)], pl.String)
    if ids.is_empty():
        raise DataError(f"{path} names no user; write one id a line")
    return ids


def _user_column(path: Path) -> pl.Series:
    try:
        table = read_file(path)
        if Columns.USER not in table.columns:
            raise DataError(f"no column {Columns.USER!r}; it has {', '.join(table.columns)}")
        return as_id(table[Columns.USER]).drop_nulls()
    except DataError as error:
        raise DataError(f"{path}: {error}") from None


def _read_candidates(path: Path, engine: Engine) -> Bools:
    """Which items the file names. Shape [N]."""
    if not path.is_file():
        raise DataError(f"no file of candidates at {path}")
    lines = list(_lines(path))
    known = engine.bundle.item_ids
    unknown = [f"line {at}: unknown item {name!r}" for at, name in lines if name not in known]
    if unknown:
        raise DataError(
            f"{path}: {len(unknown)} of {len(lines)} items are not in the catalogue", unknown[:100]
        )
    if not lines:
        raise DataError(f"{path} names no item; write one id a line")
    allowed = np.zeros(known.size, np.bool_)
    allowed[known.encode(name for _, name in lines)] = True
    return allowed


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines that are not blank, with their numbers from 1."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield number, line.strip()
    except UnicodeDecodeError:
        raise DataError(f"{path}: {not_utf8(path)}") from None


def _frame(engine: Engine, users: Sequence[str], items_BK: Ints, scores_BK: Floats) -> pl.DataFrame:
    """One row for each item that was found, users in order, best first."""
    row, place = np.nonzero(items_BK != PAD)
    found = items_BK[row, place]
    return pl.DataFrame(
        {
            Columns.USER: pl.Series(users, dtype=pl.String).gather(row),
            Columns.ITEM: engine.bundle.catalogue[Columns.ITEM].gather(found - NUM_RESERVED),
            Columns.RANK: place + 1,
            Columns.SCORE: scores_BK[row, place],
        },
        schema=SCHEMA,
    )


def _write(frames: Iterator[pl.DataFrame], out: Path) -> None:
    """Stream `frames` into a file beside `out`, then rename it."""
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f".{out.name}.partial")
    try:
        register_io_source(lambda *_: frames, schema=SCHEMA).sink_parquet(partial, sync_on_close="all")
        os.replace(partial, out)
    finally:
        partial.unlink(missing_ok=True)
