"""Recommendations for many users, written to one Parquet file.

Histories and lists are processed in batches; only the ids of all users are in memory at once. Finished lists
are kept in parts (serving/batch_parts.py), so that the same command goes on after an interruption.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Final, Literal

import numpy as np
import polars as pl

from features.dataset import NamedIds, read_ids
from recsys.arrays import Bools, Ints
from recsys.columns import Columns
from recsys.errors import DataError, RequestError
from recsys.files import exclusive, remove_unfinished, replacing
from recsys.history import History
from recsys.ids import NUM_RESERVED, PAD
from recsys.progress import Progress, silent
from recsys.retrieval import RuledLists
from serving.batch_parts import PartStore, check_is_parquet
from serving.engine import Engine
from serving.filters import Filters
from serving.rules import seed_of

SCHEMA: Final = pl.Schema(
    {Columns.USER: pl.String, Columns.ITEM: pl.String, Columns.RANK: pl.Int32, Columns.SCORE: pl.Float32}
)
REPORT_SCHEMA: Final = pl.Schema({Columns.USER: pl.String, "num_items": pl.Int32, "history": pl.String})
STEP: Final = "recommend"
USERS_AT_ONCE: Final = 256
BATCHES_A_PART: Final = 4  # a killed process loses at most as many batches
_MAX_SHOWN: Final = 100  # unknown candidates that an error lists


@dataclass(frozen=True, kw_only=True)
class BatchRequest:
    """The users, the number of items, and the items that may be recommended.

    `users` is a file that `features.dataset.files.user_files` reads, or "all" for the users of the state.
    `candidates`, a file of item ids, and `filters` restrict the catalogue. The columns of ids in both files
    may be named.
    """

    users: Path | Literal["all"] = "all"
    users_column: str | None = None
    k: int = 20
    exclude_seen: bool = True
    candidates: Path | None = None
    candidates_column: str | None = None
    filters: Filters = field(default_factory=dict)


@dataclass(kw_only=True)
class BatchReport:
    """Counts of a batch."""

    num_users: int = 0
    num_rows: int = 0
    num_unknown: int = 0  # users whom the state does not know
    num_without_events: int = 0  # known users with an empty history
    num_short: int = 0  # users with fewer than k items
    num_repeated: int = 0  # lines or rows of the two files that repeat an id
    num_empty: int = 0  # rows of the two files without an id
    warnings: list[str] = field(default_factory=list)  # of what may be meant otherwise than it was read


@dataclass(kw_only=True)
class _Work:
    """The inputs of a batch, and the counts and report rows that it fills."""

    users: Iterator[str]
    total: int  # users
    allowed: Bools | None  # [N]
    counts: BatchReport
    report_rows: list[pl.DataFrame] | None  # None: no report is wanted


def recommend_to_parquet(
    engine: Engine,
    request: BatchRequest,
    out: Path,
    *,
    report: Path | None = None,
    users_at_once: int = USERS_AT_ONCE,
    progress: Progress = silent,
) -> BatchReport:
    """Write user_id, item_id, rank (from 1), score for every user to `out`, complete or not at all.

    After an interruption the finished lists lie in the folder .NAME.parts beside `out`. The same call uses
    the lists whose request, bundle and histories are unchanged.
    `report` is one more Parquet file, with a row for each user who got fewer than k items or has no
    history: user_id, num_items, history ("known", "empty" or "unknown"). Raises `DataError` for a file that
    is missing, empty or names unknown items (with their lines), for an `out` that is no Parquet file,
    `LockedError` where another process is writing `out`, and `RequestError` for a bad k.
    """
    if request.k < 1:
        raise RequestError("k", "at least 1", request.k)
    engine.require_recommender()
    for path in (out, *([report] if report else [])):
        check_is_parquet(path)
    out.parent.mkdir(parents=True, exist_ok=True)
    with exclusive(out):
        counts = BatchReport()
        allowed = _allowed(engine, request, counts)
        named = None
        if request.users != "all":
            named = read_ids(request.users, Columns.USER, named=request.users_column)
            _count_left_out(counts, named)
        users, total = (iter(named.ids), len(named.ids)) if named else _known_users(engine)
        work = _Work(
            users=users,
            total=total,
            allowed=allowed,
            counts=counts,
            report_rows=None if report is None else [],
        )
        remove_unfinished(out)
        parts = PartStore(out, _schema(engine), _request_key(engine, request, allowed))
        _make_parts(engine, request, work, parts, users_at_once, progress)
        parts.merge()
        if report is not None:
            _write_report(work.report_rows or [], report)
        parts.remove()
        if named is not None:
            _warn_of_header(engine, request, named, counts)
    return counts


def _request_key(engine: Engine, request: BatchRequest, allowed: Bools | None) -> str:
    """Everything but the users that lists depend on, as text."""
    candidates = "all" if allowed is None else np.packbits(allowed).tobytes().hex()
    providers = sorted(engine.providers.items())
    rules = engine.rule_book.file.model_dump_json()
    return repr((engine.bundle.version, providers, request.k, request.exclude_seen, candidates, rules))


def _make_parts(
    engine: Engine,
    request: BatchRequest,
    work: _Work,
    parts: PartStore,
    users_at_once: int,
    progress: Progress,
) -> None:
    """A part for each `BATCHES_A_PART` batches of users; finished parts are not made again."""
    progress(STEP, 0, work.total)
    while users := list(islice(work.users, users_at_once * BATCHES_A_PART)):
        batches = [users[at : at + users_at_once] for at in range(0, len(users), users_at_once)]
        histories = [engine.histories(batch) for batch in batches]
        key = parts.key(users, histories)
        kept = parts.read(key)
        frames = []
        for batch, known in zip(batches, histories, strict=True):
            if kept is None:
                answer = engine.recommend_by_rules(
                    known,
                    request.k,
                    engine.rule_book.operator,
                    seeds=[seed_of(engine.bundle.version, user) for user in batch],
                    users=batch,
                    exclude_seen=request.exclude_seen,
                    allowed=work.allowed,
                )
                frames.append(_frame(engine, batch, answer))
            else:
                frames.append(kept.filter(pl.col(Columns.USER).is_in(batch)))
            num_items = _num_items(batch, frames[-1])
            _count(work.counts, known, num_items, request.k)
            if work.report_rows is not None:
                work.report_rows.append(_report_rows(batch, known, num_items, request.k))
            progress(STEP, work.counts.num_users, work.total)
        parts.add(key, None if kept is not None else pl.concat(frames))


def _schema(engine: Engine) -> pl.Schema:
    """The columns of a batch: by rules also which of them moved an item, and its propensity."""
    if engine.rule_book.operator.is_empty:
        return SCHEMA
    return pl.Schema([*SCHEMA.items(), ("rules", pl.List(pl.String)), ("propensity", pl.Float32)])


def _num_items(users: Sequence[str], frame: pl.DataFrame) -> Ints:
    """Items that each user got. Shape [U]."""
    counts = frame.group_by(Columns.USER).len("num_items")
    named = pl.DataFrame({Columns.USER: users}, schema={Columns.USER: pl.String})
    joined = named.join(counts, on=Columns.USER, how="left", maintain_order="left")
    return joined["num_items"].fill_null(0).cast(pl.Int64).to_numpy()


def _count(counts: BatchReport, histories: Sequence[History | None], num_items: Ints, k: int) -> None:
    counts.num_users += len(histories)
    counts.num_rows += int(num_items.sum())
    counts.num_unknown += sum(history is None for history in histories)
    counts.num_without_events += sum(history is not None and not len(history) for history in histories)
    counts.num_short += int((num_items < k).sum())


def _report_rows(
    users: Sequence[str], histories: Sequence[History | None], num_items: Ints, k: int
) -> pl.DataFrame:
    kinds = ["unknown" if each is None else "known" if len(each) else "empty" for each in histories]
    rows = pl.DataFrame(
        {Columns.USER: users, "num_items": num_items, "history": kinds}, schema=REPORT_SCHEMA, strict=False
    )
    return rows.filter((pl.col("num_items") < k) | (pl.col("history") != "known"))


def _known_users(engine: Engine) -> tuple[Iterator[str], int]:
    """Ids of the users of the state, and their number."""
    num_users = engine.state.num_users()
    if not num_users:
        raise DataError(
            f"no user is known: there are no histories beside {engine.bundle.path}; name the file of "
            "histories (--histories), or a file of users to get the most popular items (--users)"
        )
    return engine.state.user_ids(), num_users


def _warn_of_header(engine: Engine, request: BatchRequest, named: NamedIds, counts: BatchReport) -> None:
    """Warn where the first line of a text is an unknown user and most others are known, or unlike it."""
    first = named.first_line()
    if first is None or engine.state.histories([first])[0] is not None:
        return
    num_others, num_known = counts.num_users - 1, counts.num_users - counts.num_unknown
    if 2 * num_known > num_others or named.is_first_unlike_others():
        counts.warnings.append(
            f"{request.users}: line 1, {first!r}, was taken for a user but is unknown ({num_known:,} of the "
            f"other {num_others:,} are known); if it is the name of the column, leave the line out, or add "
            f"--users-column {first}"
        )


def _allowed(engine: Engine, request: BatchRequest, counts: BatchReport) -> Bools | None:
    """The items of the file of candidates that pass the filters, as a mask [N]; None is the catalogue."""
    path = request.candidates
    passing, _ = engine.operator_reader.allowed(None, request.filters)
    if path is None:
        return passing
    named = read_ids(path, Columns.ITEM, named=request.candidates_column)
    _count_left_out(counts, named)
    known = engine.bundle.item_ids
    unknown = [
        f"{place}: unknown item {name!r}"
        for place, name in zip(named.places, named.ids, strict=True)
        if name not in known
    ]
    if unknown:
        message = f"{path}: {len(unknown)} of {len(named.ids)} items are not in the catalogue"
        raise DataError(message, unknown[:_MAX_SHOWN])
    allowed = np.zeros(known.size, np.bool_)
    allowed[known.encode(named.ids)] = True
    return allowed if passing is None else allowed & passing


def _count_left_out(counts: BatchReport, named: NamedIds) -> None:
    counts.num_repeated += named.num_repeated
    counts.num_empty += named.num_empty


def _frame(engine: Engine, users: Sequence[str], answer: RuledLists) -> pl.DataFrame:
    """One row for each item that was found, users in order, best first."""
    items_BK = answer.recommendations.items
    row, place = np.nonzero(items_BK != PAD)
    found, schema = items_BK[row, place], _schema(engine)
    columns = {
        Columns.USER: pl.Series(users, dtype=pl.String).gather(row),
        Columns.ITEM: engine.bundle.catalogue[Columns.ITEM].gather(found - NUM_RESERVED),
        Columns.RANK: place + 1,
        Columns.SCORE: answer.recommendations.scores[row, place],
    }
    if schema != SCHEMA:
        columns["rules"] = [answer.rules[at][rank] for at, rank in zip(row, place, strict=True)]
        columns["propensity"] = answer.propensity[row, place]
    return pl.DataFrame(columns, schema=schema)


def _write_report(rows: Sequence[pl.DataFrame], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as unfinished:
        pl.concat([pl.DataFrame(schema=REPORT_SCHEMA), *rows]).write_parquet(unfinished)
