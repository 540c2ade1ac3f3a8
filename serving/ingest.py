"""`ingest`: live events become interactions and reviews of a dataset, impressions a file beside them.

The dataset gets a folder `live` with files that its tables read after their own:
    interactions.parquet   the columns that [interactions] names, and `ingested:` columns with the events
    reviews.parquet        the columns that [reviews] names, where it names a text
    impressions.parquet    one row for each listed item, which no table reads
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import polars as pl

from features.dataset import (
    FILE_NAME,
    INGESTED,
    NO_EVENT_KIND,
    DatasetSpec,
    InteractionsSpec,
    ReviewsSpec,
    TimeUnit,
    find_files,
    interaction_columns,
    read_file,
    require_interactions,
    scan_file,
)
from recsys.columns import Columns
from recsys.errors import DataError
from recsys.files import exclusive, replacing
from recsys.history import EVENT_NUMBERS
from serving.state import Impression, LiveEvent, LiveRows, hash_of

_KEPT: Final = "ingested:"  # prefix of the columns of `_EVENTS` in the file of the interactions
_EVENTS: Final = pl.Schema(
    {
        "event_id": pl.String,
        Columns.USER: pl.String,
        Columns.ITEM: pl.String,
        Columns.EVENT: pl.String,
        **dict.fromkeys(EVENT_NUMBERS, pl.Float64),
        Columns.TIMESTAMP: pl.Int64,
        "review": pl.String,
        "request_id": pl.String,
    }
)
_IMPRESSIONS: Final = pl.Schema(
    {
        "request_id": pl.String,
        Columns.USER: pl.String,
        Columns.TIMESTAMP: pl.Int64,
        "bundle": pl.String,
        Columns.RANK: pl.Int32,
        Columns.ITEM: pl.String,
        Columns.SCORE: pl.Float64,
        "source": pl.String,
        "propensity": pl.Float64,
    }
)
_PER_UNIT: Final[Mapping[TimeUnit, int]] = {"unix_s": 1_000_000, "unix_ms": 1_000, "unix_us": 1, "order": 1}


@dataclass(kw_only=True)
class IngestReport:
    """Counts of the files after an ingest."""

    num_events: int = 0
    num_new: int = 0  # of the events
    num_erased: int = 0  # events of an earlier ingest that were removed, since their users were erased
    num_reviews: int = 0
    num_impressions: int = 0  # listed items
    warnings: list[str] = field(default_factory=list)


def ingest(rows: LiveRows, dataset: Path) -> IngestReport:
    """Write all events and impressions of `rows` to the folder `live` of the dataset, once each.

    Each file appears whole or not at all; after an interruption the same call completes them. Earlier events
    and impressions stay, but for those of users who were erased from `rows`. A file whose content stays the
    same is not written. Raises `DataError` for a dataset without interactions or without times.
    """
    require_interactions(dataset)
    spec = DatasetSpec.load(dataset)
    assert spec.interactions is not None
    _check_times(spec.interactions, dataset)
    place = dataset / INGESTED.format(table="interactions")
    place.parent.mkdir(exist_ok=True)
    report = IngestReport(warnings=_warnings(spec))
    with exclusive(place, remedy="wait until it has ended"):
        erased = rows.erased()
        events = _merged_events(place, _event_frame(rows.events()), erased, report)
        impressions = _merged_impressions(dataset, _impression_frame(rows.impressions()), erased)
        report.num_impressions = impressions.height
        _write(impressions, dataset / INGESTED.format(table="impressions"))
        if spec.reviews is not None and spec.reviews.text is not None:
            reviews = _reviews(events, spec.reviews, spec.interactions.time, dataset)
            report.num_reviews = reviews.height
            _write(reviews, dataset / INGESTED.format(table="reviews"))
        _write(_interactions(events, spec.interactions, dataset), place)
    return report


def _check_times(spec: InteractionsSpec, dataset: Path) -> None:
    if spec.timestamp is None:
        raise DataError(
            f"{dataset / FILE_NAME}: [interactions] names no column of times, so that live events have no "
            "place among its rows; add a column of times, or of positions, and name it as `timestamp`"
        )


def _warnings(spec: DatasetSpec) -> list[str]:
    """What of the live events the dataset does not keep."""
    assert spec.interactions is not None
    found = []
    if spec.interactions.event is None:
        found.append("[interactions] names no column `event`: the kinds of live events are not kept apart")
    found += [
        f"[interactions] names no column `{name}`: the numbers of live events are left out"
        for name, own in spec.interactions.numbers.items()
        if own is None
    ]
    if spec.reviews is None or spec.reviews.text is None:
        found.append("[reviews] names no column `text`: the reviews of live events are left out")
    if spec.split is not None:
        found.append("[split] names the events of training and test, so live events are in neither")
    return found


def _event_frame(events: Iterable[LiveEvent]) -> pl.DataFrame:
    rows = [
        (
            each.event_id,
            each.user,
            each.item,
            NO_EVENT_KIND if each.kind is None else each.kind,
            *(getattr(each, name) for name in EVENT_NUMBERS),
            each.timestamp,
            each.review,
            each.request_id,
        )
        for each in events
    ]
    return pl.DataFrame(rows, schema=_EVENTS, orient="row")


def _impression_frame(impressions: Iterable[Impression]) -> pl.DataFrame:
    rows = [
        (each.request_id, each.user, each.timestamp, each.bundle, rank, *listed)
        for each in impressions
        for rank, listed in enumerate(
            zip(each.items, each.scores, each.sources, each.propensities, strict=True), 1
        )
    ]
    return pl.DataFrame(rows, schema=_IMPRESSIONS, orient="row")


def _merged_events(
    place: Path, events: pl.DataFrame, erased: frozenset[str], report: IngestReport
) -> pl.DataFrame:
    """Earlier events and `events`, each id once, by time."""
    earlier = pl.DataFrame(schema=_EVENTS)
    if place.is_file():
        columns = [pl.col(_KEPT + name).alias(name) for name in _EVENTS]
        earlier = read_file(place).select(columns)
    gone = earlier.join(events, on="event_id", how="anti")
    kept = _without(gone, erased)
    report.num_erased = gone.height - kept.height
    merged = pl.concat([kept, events]).sort(Columns.TIMESTAMP, "event_id")
    report.num_events = merged.height
    report.num_new = events.join(earlier, on="event_id", how="anti").height
    return merged


def _merged_impressions(dataset: Path, impressions: pl.DataFrame, erased: frozenset[str]) -> pl.DataFrame:
    place = dataset / INGESTED.format(table="impressions")
    earlier = read_file(place) if place.is_file() else pl.DataFrame(schema=_IMPRESSIONS)
    gone = earlier.join(impressions, on="request_id", how="anti")
    return pl.concat([_without(gone, erased), impressions]).sort(
        Columns.TIMESTAMP, "request_id", Columns.RANK
    )


def _without(rows: pl.DataFrame, erased: frozenset[str]) -> pl.DataFrame:
    """The rows of users who were not erased."""
    if not erased:
        return rows
    users = rows[Columns.USER].unique().drop_nulls()
    removed = [user for user in users if hash_of(user) in erased]
    return rows.filter(~pl.col(Columns.USER).is_in(removed).fill_null(False))


def _interactions(events: pl.DataFrame, spec: InteractionsSpec, dataset: Path) -> pl.DataFrame:
    """The columns that [interactions] names, of the types that its files have, and those of `_EVENTS`."""
    assert spec.timestamp is not None
    columns = {
        spec.user: events[Columns.USER],
        spec.item: events[Columns.ITEM],
        spec.timestamp: _times(events[Columns.TIMESTAMP], spec.time),
    }
    if spec.event is not None:
        columns[spec.event] = events[Columns.EVENT]
    columns |= {own: events[name] for name, own in spec.numbers.items() if own is not None}
    ids = {spec.user, spec.item, spec.event}
    wanted = dict.fromkeys(interaction_columns(spec))
    table = _typed(columns, list(wanted), ids, _types(dataset, "interactions", spec.path))
    return pl.concat([table, events.rename(lambda name: _KEPT + name)], how="horizontal")


def _reviews(events: pl.DataFrame, spec: ReviewsSpec, time: TimeUnit, dataset: Path) -> pl.DataFrame:
    assert spec.text is not None
    given = events.filter(pl.col("review").is_not_null())
    columns = {
        spec.user: given[Columns.USER],
        spec.item: given[Columns.ITEM],
        spec.text: given["review"],
    }
    if spec.timestamp is not None:
        columns[spec.timestamp] = _times(given[Columns.TIMESTAMP], spec.time or time)
    if spec.value is not None:
        columns[spec.value] = given[Columns.VALUE]
    named = (spec.user, spec.item, spec.timestamp, spec.text, spec.audio, spec.value)
    wanted = dict.fromkeys(name for name in named if name is not None)
    return _typed(columns, list(wanted), {spec.user, spec.item}, _types(dataset, "reviews", spec.path))


def _times(microseconds: pl.Series, unit: TimeUnit) -> pl.Series:
    """Times in the unit of the dataset, rounded down."""
    if unit == "iso":
        return microseconds.cast(pl.Datetime("us")).dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ")
    return microseconds * 1_000 if unit == "unix_ns" else microseconds // _PER_UNIT[unit]


def _types(dataset: Path, table: str, pattern: str) -> pl.Schema:
    """The types of the columns in the first file of a table."""
    path = find_files(dataset, table, pattern)[0]
    scanned = scan_file(path)
    return read_file(path).schema if scanned is None else scanned.collect_schema()


def _typed(
    columns: Mapping[str, pl.Series], wanted: Sequence[str], ids: set[str | None], types: pl.Schema
) -> pl.DataFrame:
    """`columns` with the types of the dataset's files; a wanted column that is not among them is null."""
    missing = pl.Series([None] * len(columns[wanted[0]]), dtype=pl.Null)
    made = []
    for name in wanted:
        series = columns.get(name, missing)
        made.append((series if name in ids else _cast(series, name, types[name])).alias(name))
    return pl.DataFrame(made)


def _cast(series: pl.Series, name: str, kind: pl.DataType) -> pl.Series:
    """The series with the type of the dataset's column `name`; times as text become dates and times."""
    if series.dtype == kind:
        return series
    problem = f"column {name!r} of the dataset is {kind}, which cannot hold the live events' "
    if kind == pl.Date:
        raise DataError(f"{problem}time of day; write it as text or as a datetime")
    try:
        if kind.is_temporal() and series.dtype == pl.String:
            series = series.str.strptime(pl.Datetime("us"), "%Y-%m-%dT%H:%M:%S%.fZ")
            if isinstance(kind, pl.Datetime) and kind.time_zone is not None:
                series = series.dt.replace_time_zone("UTC").dt.convert_time_zone(kind.time_zone)
        return series.cast(kind)
    except pl.exceptions.PolarsError:
        raise DataError(f"{problem}{series.dtype}; write it as text") from None


def _write(frame: pl.DataFrame, place: Path) -> None:
    """Write the file where its content differs; without rows none is made."""
    if place.is_file():
        if read_file(place).equals(frame):
            return
    elif not frame.height:
        return
    with replacing(place) as unfinished:
        frame.write_parquet(unfinished)
