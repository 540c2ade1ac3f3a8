"""Search for every query of a file, to a Parquet file.

Finished hits are kept in parts (serving/batch_parts.py), so that the same command goes on after an
interruption.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import polars as pl

from features.queries import Clause, QueryRow, read_queries
from recsys.checksums import sha256_of
from recsys.columns import Columns
from recsys.errors import DataError, RequestError
from recsys.files import exclusive, remove_unfinished, replacing
from recsys.history import History
from recsys.progress import Progress, silent
from serving.batch_parts import PartStore, check_is_parquet
from serving.filters import Filters
from serving.search.engine import SearchAnswer, SearchEngine, SearchRequest

SCHEMA: Final = pl.Schema(
    {
        Columns.QUERY: pl.String,
        Columns.ITEM: pl.String,
        Columns.RANK: pl.Int32,
        Columns.SCORE: pl.Float32,
        Columns.RELEVANCE: pl.Float32,
    }
)
REPORT_SCHEMA: Final = pl.Schema(
    {
        Columns.QUERY: pl.String(),
        "num_items": pl.Int32(),
        "degraded": pl.List(pl.String),  # why the order is impersonal although the query has a user
        "notes": pl.List(pl.String),  # what was left out of the query, and why
    }
)
STEP: Final = "search"
QUERIES_AT_ONCE: Final = 256  # of one part, whose users' histories are in memory
_MAX_SHOWN: Final = 100  # faulty rows that an error lists


@dataclass(frozen=True, kw_only=True)
class SearchBatch:
    """The file of queries (`features.queries.read_queries`), and what holds for all of them."""

    queries: Path
    k: int = 20
    filters: Filters = field(default_factory=dict)
    exclude_seen: bool = False
    min_relevance: float | None = None
    personal: float | None = None


@dataclass(kw_only=True)
class SearchBatchReport:
    """Counts of a batch."""

    num_queries: int = 0
    num_rows: int = 0
    num_without_hits: int = 0
    num_noted: int = 0  # queries of which a part was left out
    num_impersonal: Counter[str] = field(default_factory=Counter)  # queries with a user, by `degraded`


def search_to_parquet(
    search: SearchEngine,
    batch: SearchBatch,
    out: Path,
    *,
    report: Path | None = None,
    queries_at_once: int = QUERIES_AT_ONCE,
    progress: Progress = silent,
) -> SearchBatchReport:
    """Write query_id, item_id, rank (from 1), score and relevance for every query, complete or not at all.

    After an interruption the finished hits lie in the folder .NAME.parts beside `out`. The same call uses
    those whose queries, media, request, bundle and histories are unchanged. `report` is one more Parquet
    file, with a row for each query that has no hit, an impersonal order although it names a user, or a part
    that was left out: query_id, num_items, degraded, notes. Raises `DataError` for an output that is no
    Parquet file, as `read_queries`, and, after all queries were tried, with all rows whose query cannot be
    answered; `LockedError` where another process writes `out`.
    """
    for path in (out, *([report] if report else [])):
        check_is_parquet(path)
    rows = read_queries(batch.queries)
    out.parent.mkdir(parents=True, exist_ok=True)
    with exclusive(out):
        remove_unfinished(out)
        work = _Work(search, batch, out)
        progress(STEP, 0, len(rows))
        for start in range(0, len(rows), queries_at_once):
            work.answer(rows[start : start + queries_at_once])
            progress(STEP, min(start + queries_at_once, len(rows)), len(rows))
        if work.problems:
            raise DataError(
                f"{batch.queries}: {len(work.problems)} of {len(rows)} queries cannot be answered, and "
                "nothing was written; correct or remove these rows",
                work.problems[:_MAX_SHOWN],
            )
        work.hits.merge()
        if report is not None:
            _write_report(work.frames, report)
        work.hits.remove()
    return _counts(work.frames)


class _Work:
    """The parts of one batch, the report row of every query, and the rows that cannot be answered."""

    def __init__(self, search: SearchEngine, batch: SearchBatch, out: Path) -> None:
        self.search, self.batch = search, batch
        request = repr(
            (
                search.engine.bundle.version,
                sorted(search.engine.providers.items()),
                batch.k,
                json.dumps(batch.filters, sort_keys=True),
                batch.exclude_seen,
                batch.min_relevance,
                batch.personal,
            )
        )
        self.hits = PartStore(out, SCHEMA, request)
        self._reports = PartStore(out, REPORT_SCHEMA, f"report of {request}")
        self.frames: list[pl.DataFrame] = []  # report rows
        self.problems: list[str] = []

    def answer(self, rows: Sequence[QueryRow]) -> None:
        """One part; a finished one is read. A part with a row that cannot be answered is not kept."""
        users = list(dict.fromkeys(row.user_id for row in rows if row.user_id is not None))
        histories = self.search.engine.histories(users)
        asked = [_identity(row) for row in rows]
        key, report_key = self.hits.key(asked, [histories]), self._reports.key(asked, [histories])
        kept = self._reports.read(report_key) if self.hits.read(key) is not None else None
        if kept is not None:
            self.hits.add(key, None)
            self.frames.append(kept)
            return
        by_user = dict(zip(users, histories, strict=True))
        answers: list[tuple[str, SearchAnswer]] = []
        num_problems = len(self.problems)
        for row in rows:
            try:
                answers.append((row.query_id, self._answer(row, by_user)))
            except RequestError as error:
                self.problems.append(f"{row.place} ({Columns.QUERY} = {row.query_id!r}): {error}")
        if len(self.problems) == num_problems:
            self.frames.append(_report_rows(answers))
            self._reports.add(report_key, self.frames[-1])
            self.hits.add(key, pl.concat([_hits(self.search, *each) for each in answers]))

    def _answer(self, row: QueryRow, histories: Mapping[str, History | None]) -> SearchAnswer:
        clauses: list[Clause] = list(row.clauses)
        if row.item_id is not None:
            clauses.append(self.search.item_clause(row.item_id, Columns.ITEM, user=row.user_id))
        history = None if row.user_id is None else histories[row.user_id]
        return self.search.search(
            SearchRequest(
                clauses=tuple(clauses),
                k=self.batch.k,
                user=row.user_id,
                history=history,
                is_unknown_user=row.user_id is not None and history is None,
                filters=self.batch.filters,
                exclude_seen=self.batch.exclude_seen,
                min_relevance=self.batch.min_relevance,
                personal=self.batch.personal,
            )
        )


def _identity(row: QueryRow) -> str:
    """Everything of a row that its hits depend on, and the content of its media."""
    digest = hashlib.sha256(repr((row.query_id, row.item_id, row.user_id)).encode("utf-8", "surrogatepass"))
    for clause in row.clauses:
        digest.update(repr(clause).encode("utf-8", "surrogatepass"))
        medium = getattr(clause, "medium", None)
        if isinstance(medium, Path):
            digest.update(sha256_of(medium).encode())
    return digest.hexdigest()


def _hits(search: SearchEngine, query_id: str, answer: SearchAnswer) -> pl.DataFrame:
    hits = answer.hits
    return pl.DataFrame(
        {
            Columns.QUERY: [query_id] * len(hits),
            Columns.ITEM: [search.engine.item_id(hit.item) for hit in hits],
            Columns.RANK: list(range(1, len(hits) + 1)),
            Columns.SCORE: [hit.score for hit in hits],
            Columns.RELEVANCE: [hit.relevance for hit in hits],
        },
        schema=SCHEMA,
    )


def _report_rows(answers: Sequence[tuple[str, SearchAnswer]]) -> pl.DataFrame:
    rows = [(name, len(each.hits), list(each.degraded), list(each.notes)) for name, each in answers]
    return pl.DataFrame(rows, schema=REPORT_SCHEMA, orient="row")


def _write_report(frames: Sequence[pl.DataFrame], path: Path) -> None:
    rows = pl.concat([pl.DataFrame(schema=REPORT_SCHEMA), *frames])
    is_noted = (
        (pl.col("num_items") == 0) | (pl.col("degraded").list.len() > 0) | (pl.col("notes").list.len() > 0)
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as unfinished:
        rows.filter(is_noted).write_parquet(unfinished)


def _counts(frames: Sequence[pl.DataFrame]) -> SearchBatchReport:
    report = SearchBatchReport()
    for _, num_items, degraded, notes in (row for frame in frames for row in frame.iter_rows()):
        report.num_queries += 1
        report.num_rows += num_items
        report.num_without_hits += num_items == 0
        report.num_noted += bool(notes)
        report.num_impersonal.update(degraded)
    return report
