"""Queries and judgements in the public forms.

Queries
    JSON Lines of BEIR         {"_id": "q1", "text": "green vase"}; "user_id" is optional
    two columns, no header     q1<TAB>green vase
    the columns of `recsys search --queries`: query_id, query, image, audio, video, item_id, user_id

Judgements (qrels)
    TREC                       q1 0 item 2
    BEIR                       query-id<TAB>corpus-id<TAB>score, with this header or without

Items are named by the ids of the dataset. A grade above 0 is relevant. A query that the judgements do not
name is left out; one with no grade above 0 is one that the catalogue does not answer.
"""

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from features.queries import Clause, ItemClause, QueryRow, TextClause, read_queries
from recsys.arrays import Bools
from recsys.errors import DataError, clipped
from recsys.history import History
from recsys.ids import UNKNOWN, IdMap
from recsys.retrieval import Owners
from recsys.search import EncodedQuery
from training.search.quality.lists import GradedQuery

_MAX_SHOWN: Final = 20  # faulty rows that an error lists
_HEADER: Final = ("query-id", "corpus-id", "score")
_TEXT_FILES: Final = (".tsv", ".txt")


@dataclass(frozen=True, kw_only=True)
class QueryFiles:
    """The content of a file of queries and of one of judgements."""

    queries: tuple[QueryRow, ...]  # those that are judged
    grades: dict[str, dict[str, float]]  # query id -> external item id -> grade


def read_query_files(queries: Path, qrels: Path) -> QueryFiles:
    """Queries and their judgements; raises `DataError` with file, rows, values and remedy."""
    grades = read_qrels(qrels)
    rows = _read_queries(queries)
    judged = tuple(each for each in rows if each.query_id in grades)
    if not judged:
        raise DataError(
            f"{qrels}: judges none of the {len(rows)} queries of {queries.name}; its first query is "
            f"{next(iter(grades))!r}, and that of the queries is {rows[0].query_id!r}"
        )
    return QueryFiles(queries=judged, grades=grades)


def read_qrels(path: Path) -> dict[str, dict[str, float]]:
    """Query id -> item id -> grade, in the order of the file."""
    grades: dict[str, dict[str, float]] = {}
    problems: list[str] = []
    for number, line in _lines(path):
        cells = line.split("\t") if line.count("\t") == 2 else line.split()
        if number == 1 and tuple(cells) == _HEADER:
            continue
        if len(cells) not in (3, 4):
            problems.append(f"row {number}: {clipped(line)!r}: write query, 0, item and grade, or 3 columns")
            continue
        query, item, value = cells[0], cells[-2], cells[-1]
        grade = _number(value)
        if grade is None:
            problems.append(f"row {number}: grade {clipped(value)!r} is no number; write 1 where relevant")
        elif item in grades.setdefault(query, {}):
            problems.append(f"row {number}: judges {item!r} for query {query!r} again; keep one of the rows")
        else:
            grades[query][item] = grade
    _raise(path, problems)
    if not grades:
        raise DataError(f"{path}: has no judgements; write one a row: query, 0, item and grade")
    return grades


def graded_queries(
    files: QueryFiles,
    item_ids: IdMap,
    encode: Callable[[Sequence[Clause]], EncodedQuery],
    history_of: Callable[[str], History | None] = lambda user: None,
    owners: Owners | None = None,
) -> tuple[list[GradedQuery], tuple[str, ...]]:
    """The queries encoded, with internal ids, and what was left out in words.

    Judgements of items that the catalogue lacks, or that belong to somebody else than the user of the query,
    are left out, and with them queries that only such items answer. A user searches the items that `owners`
    lets them see. Raises `DataError` where no query is left, and `RequestError` for one that cannot be
    encoded.
    """
    found: list[GradedQuery] = []
    num_unknown = num_hidden = num_dropped = 0
    for row in files.queries:
        allowed = owners.visible(row.user_id) if owners else None
        grades = files.grades[row.query_id]
        known = {item_ids.get(name): grade for name, grade in grades.items()}
        num_unknown += sum(item_ids.get(name) == UNKNOWN for name in grades)
        known.pop(UNKNOWN, None)
        if allowed is not None:
            num_hidden += sum(not allowed[item] for item in known)
            known = {item: grade for item, grade in known.items() if allowed[item]}
        if _has_relevant(grades.values()) and not _has_relevant(known.values()):
            num_dropped += 1
            continue
        history = None if row.user_id is None else history_of(row.user_id)
        if owners and history is not None:
            history = owners.visible_history(row.user_id, history)
        found.append(
            GradedQuery(
                query=encode(_clauses(row, item_ids, allowed)),
                grades=known,
                group=f"query {row.query_id}" if row.user_id is None else row.user_id,
                history=history,
                allowed=allowed,
            )
        )
    if not found:
        raise DataError(
            f"the catalogue has none of the relevant items of {num_dropped} queries; judge items by their "
            "ids in the dataset"
        )
    notes = []
    if num_unknown:
        notes.append(f"{num_unknown} judgements are of items that the catalogue lacks")
    if num_hidden:
        notes.append(f"{num_hidden} judgements are of items that the user of the query may not see")
    if num_dropped:
        notes.append(f"{num_dropped} queries are left out, because only such items answer them")
    return found, tuple(notes)


def _clauses(row: QueryRow, item_ids: IdMap, allowed: Bools | None) -> Sequence[Clause]:
    if row.item_id is None:
        return row.clauses
    item = item_ids.get(row.item_id)
    if item == UNKNOWN or (allowed is not None and not allowed[item]):
        raise DataError(f"{row.place}: item_id = {row.item_id!r} is no item of the catalogue")
    return (*row.clauses, ItemClause(name="item_id", item=item))


def _read_queries(path: Path) -> list[QueryRow]:
    if path.suffix.lower() == ".jsonl" and _first_line(path).find('"_id"') >= 0:
        return _unique(path, _json_queries(path))
    if path.suffix.lower() in _TEXT_FILES and "query_id" not in _first_line(path).split("\t"):
        return _unique(path, _text_queries(path))
    return read_queries(path)


def _json_queries(path: Path) -> Iterator[tuple[int, str, str, str | None]]:
    for number, line in _lines(path):
        try:
            values = json.loads(line)
            yield number, str(values["_id"]), str(values["text"]), values.get("user_id")
        except (ValueError, KeyError, TypeError, AttributeError):
            raise DataError(
                f'{path}: row {number}: {clipped(line)!r}: write {{"_id": "q1", "text": "some words"}}'
            ) from None


def _text_queries(path: Path) -> Iterator[tuple[int, str, str, str | None]]:
    for number, line in _lines(path):
        name, tab, text = line.partition("\t")
        if not tab:
            raise DataError(f"{path}: row {number}: {clipped(line)!r}: write an id, a tab and the words")
        yield number, name.strip(), text, None


def _unique(path: Path, rows: Iterator[tuple[int, str, str, str | None]]) -> list[QueryRow]:
    found: dict[str, QueryRow] = {}
    problems: list[str] = []
    for number, name, text, user in rows:
        if not text.strip() or not name:
            problems.append(f"row {number}: query {name!r} has no words; write some, or leave it out")
        elif name in found:
            problems.append(f"row {number}: query {name!r} repeats {found[name].place}; name each once")
        else:
            clause = TextClause(name="query", text=text)
            found[name] = QueryRow(
                query_id=name, place=f"row {number}", clauses=(clause,), item_id=None, user_id=user
            )
    _raise(path, problems)
    if not found:
        raise DataError(f"{path}: has no queries; write one a row")
    return list(found.values())


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a text file that are not empty, numbered from 1."""
    if not path.is_file():
        raise DataError(f"{path}: {'is a folder, not a file' if path.is_dir() else 'no such file'}")
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not UTF-8 at byte {error.start}; save it as UTF-8") from None
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            yield number, line.strip("\r\n ")


def _first_line(path: Path) -> str:
    return next((line for _, line in islice(_lines(path), 1)), "")


def _number(value: str) -> float | None:
    try:
        grade = float(value)
    except ValueError:
        return None
    return grade if math.isfinite(grade) else None


def _has_relevant(grades: object) -> bool:
    return any(grade > 0 for grade in grades)  # type: ignore[attr-defined]


def _raise(path: Path, problems: list[str]) -> None:
    if problems:
        raise DataError(f"{path}: {len(problems)} rows cannot be used", problems[:_MAX_SHOWN])
