"""Search for every query of a file, to a Parquet file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import polars as pl

from features.queries import QueryRow, read_queries
from recsys.columns import Columns
from recsys.errors import DataError, RequestError
from recsys.files import exclusive, replacing
from recsys.history import History
from recsys.progress import Progress, silent
from serving.batch_parts import check_is_parquet
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
STEP: Final = "search"
QUERIES_AT_ONCE: Final = 256  # whose users' histories are in memory
_MAX_SHOWN: Final = 100  # faulty rows that an error lists


@dataclass(frozen=True, kw_only=True)
class SearchBatch:
    """The file of queries (`features.queries.read_queries`), and what holds for all of them."""

    queries: Path
    k: int = 20
    filters: Mapping[str, Sequence[str]] = field(default_factory=dict)
    exclude_seen: bool = False
    min_relevance: float | None = None
    personal: float | None = None


@dataclass(kw_only=True)
class SearchBatchReport:
    """Counts of a batch."""

    num_queries: int = 0
    num_rows: int = 0
    num_without_hits: int = 0
    num_unknown_users: int = 0
    num_noted: int = 0  # queries of which a part was left out
    problems: list[str] = field(default_factory=list)


def search_to_parquet(
    search: SearchEngine, batch: SearchBatch, out: Path, *, progress: Progress = silent
) -> SearchBatchReport:
    """Write query_id, item_id, rank (from 1), score and relevance for every query, complete or not at all.

    Raises `DataError` for an `out` that is no Parquet file, as `read_queries`, and, after all queries were
    tried, with all rows whose query cannot be answered; `LockedError` where another process writes `out`.
    """
    check_is_parquet(out)
    rows = read_queries(batch.queries)
    out.parent.mkdir(parents=True, exist_ok=True)
    report = SearchBatchReport()
    frames: list[pl.DataFrame] = []
    with exclusive(out):
        progress(STEP, 0, len(rows))
        for start in range(0, len(rows), QUERIES_AT_ONCE):
            some = rows[start : start + QUERIES_AT_ONCE]
            histories = _histories(search, some)
            for row in some:
                frames += _answered(search, batch, row, histories, report)
            progress(STEP, start + len(some), len(rows))
        if report.problems:
            raise DataError(
                f"{batch.queries}: {len(report.problems)} of {len(rows)} queries cannot be answered, and "
                "nothing was written; correct or remove these rows",
                report.problems[:_MAX_SHOWN],
            )
        with replacing(out) as unfinished:
            pl.concat([pl.DataFrame(schema=SCHEMA), *frames]).write_parquet(unfinished)
    return report


def _histories(search: SearchEngine, rows: Sequence[QueryRow]) -> dict[str, History | None]:
    users = list(dict.fromkeys(row.user_id for row in rows if row.user_id is not None))
    return dict(zip(users, search.engine.histories(users), strict=True))


def _answered(
    search: SearchEngine,
    batch: SearchBatch,
    row: QueryRow,
    histories: Mapping[str, History | None],
    report: SearchBatchReport,
) -> list[pl.DataFrame]:
    """The lines of one query, none where it cannot be answered; the counts in `report` are raised."""
    history = None if row.user_id is None else histories[row.user_id]
    report.num_unknown_users += row.user_id is not None and history is None
    try:
        clauses = list(row.clauses)
        if row.item_id is not None:
            clauses.append(search.item_clause(row.item_id, Columns.ITEM, user=row.user_id))
        answer = search.search(
            SearchRequest(
                clauses=tuple(clauses),
                k=batch.k,
                user=row.user_id,
                history=history,
                filters=batch.filters,
                exclude_seen=batch.exclude_seen,
                min_relevance=batch.min_relevance,
                personal=batch.personal,
            )
        )
    except RequestError as error:
        report.problems.append(f"{row.place} ({Columns.QUERY} = {row.query_id!r}): {error}")
        return []
    report.num_queries += 1
    report.num_rows += len(answer.hits)
    report.num_without_hits += not answer.hits
    report.num_noted += bool(answer.notes)
    return [_frame(search, row.query_id, answer)]


def _frame(search: SearchEngine, query_id: str, answer: SearchAnswer) -> pl.DataFrame:
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
