"""Rejected rows and media: tables and counts of them, and the summary of a dataset."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import polars as pl

from features.dataset.event_statistics import EventSummary
from features.dataset.tables import Dataset, Rejected
from recsys.columns import Columns
from recsys.errors import DataError

SCHEMA = {field.name: pl.Int64 if field.name == "row" else pl.String for field in fields(Rejected)}


def rejected_frame(rejected: Iterable[Rejected]) -> pl.DataFrame:
    """One row for each entry, its columns the fields of `Rejected`."""
    entries = list(rejected)
    return pl.DataFrame({name: [getattr(entry, name) for entry in entries] for name in SCHEMA}, schema=SCHEMA)


def write_rejected(rejected: Iterable[Rejected], path: Path) -> int:
    """Write the entries to `path`, a .csv or .parquet file; returns how many there were."""
    frame = rejected_frame(rejected)
    match path.suffix:
        case ".csv":
            frame.write_csv(path)
        case ".parquet":
            frame.write_parquet(path)
        case suffix:
            raise DataError(f"cannot write {path}: {suffix!r} is neither .csv nor .parquet")
    return frame.height


def count_reasons(rejected: Iterable[Rejected]) -> list[dict[str, Any]]:
    """Entries by table, column and reason, the most frequent first, each with one example."""
    entries = list(rejected)
    counts = Counter((entry.table, entry.column, entry.reason) for entry in entries)
    example = {(entry.table, entry.column, entry.reason): entry for entry in reversed(entries)}
    return [
        {"table": key[0], "column": key[1], "reason": key[2], "count": count, "example": asdict(example[key])}
        for key, count in counts.most_common()
    ]


def summarise(dataset: Dataset) -> dict[str, Any]:
    """Counts of a dataset: rows of each table, coverage of each modality, times, and rejected values.

    Coverage is the share of items with the modality, and the share of interactions on these items.
    """
    events = dataset.event_summary()
    total = max(events.num_events, 1)
    return {
        "name": dataset.name,
        "has_clock": dataset.has_clock,
        "counts": {
            "items": dataset.items.height,
            "items with interactions": events.by_item.height,
            "users": dataset.users.height,
            "interactions": events.num_events,
            "reviews": dataset.reviews.height,
            "spoken reviews": dataset.reviews.height - dataset.reviews[Columns.AUDIO].null_count(),
        },
        "ids without a match": dict(dataset.unmatched_ids),
        "events": events.kinds,
        "positive_share": events.num_positive / total,
        "time": _time_range(dataset, events) | {"tied_share": events.num_tied / total},
        "coverage": _coverage(dataset, events.by_item),
        "rejected": sorted(
            [*count_reasons(dataset.rejected), *events.reasons], key=lambda entry: -entry["count"]
        ),
    }


def summary_in_words(summary: Mapping[str, Any]) -> dict[str, Any]:
    """`summarise` for people: names with units, shares as percentages.

    Of a dataset without interactions it has nothing about events.
    """
    has_events = summary["counts"]["interactions"] > 0
    of_events = ("items with interactions", "users", "interactions")
    counts = {name: n for name, n in summary["counts"].items() if has_events or name not in of_events}
    return {
        "name": summary["name"],
        "rows": counts,
        **(_events_in_words(summary) if has_events else {}),
        "present in": {
            name: f"{share['items']:.1%} of the items"
            + (f", {share['interactions']:.1%} of the interactions" if has_events else "")
            for name, share in summary["coverage"].items()
        },
    }


def _events_in_words(summary: Mapping[str, Any]) -> dict[str, Any]:
    time = summary["time"]
    zone = " (UTC)" if summary["has_clock"] else " (position in the order of the events)"
    return {
        "ids without a match": summary["ids without a match"],
        "interactions by kind": summary["events"],
        "share of the interactions": {
            "positive": f"{summary['positive_share']:.1%}",
            "at the same time as another of the user": f"{time['tied_share']:.1%}",
        },
        "times": {
            "are": "dates" if summary["has_clock"] else "an order without dates",
            f"first{zone}": str(time["first"]),
            f"last{zone}": str(time["last"]),
        },
    }


def _time_range(dataset: Dataset, events: EventSummary) -> dict[str, Any]:
    span = pl.Series([events.first, events.last], dtype=pl.Int64)
    if dataset.has_clock:
        span = span.cast(pl.Datetime("us")).dt.to_string("iso")
    first, last = span.to_list()
    return {"first": first, "last": last}


def _coverage(dataset: Dataset, by_item: pl.DataFrame) -> dict[str, dict[str, float]]:
    has = {
        Columns.TITLE: pl.col(Columns.TITLE).is_not_null(),
        Columns.TEXT: pl.col(Columns.TEXT).is_not_null(),
        Columns.IMAGE: pl.col(Columns.IMAGE).list.len() > 0,
        Columns.VIDEO: pl.col(Columns.VIDEO).list.len() > 0,
    }
    for column in dataset.items.columns:
        if column.startswith(Columns.CATEGORY_PREFIX):
            has[column] = pl.col(column).list.len() > 0
        elif column.startswith(Columns.NUMERIC_PREFIX):
            has[column] = pl.col(column).is_not_null()
    reviewed = dataset.reviews.filter(pl.col(Columns.TEXT).is_not_null())[Columns.ITEM]
    spoken = dataset.reviews.filter(pl.col(Columns.AUDIO).is_not_null())[Columns.ITEM]
    has["written reviews"] = pl.col(Columns.ITEM).is_in(reviewed.unique().implode())
    has["spoken reviews"] = pl.col(Columns.ITEM).is_in(spoken.unique().implode())
    flags = dataset.items.select(Columns.ITEM, **has).join(by_item, on=Columns.ITEM, how="left")
    weight = flags["len"].fill_null(0)
    total = max(int(weight.sum()), 1)
    return {
        name: {
            "items": float(flags[name].cast(pl.Float64).mean() or 0.0),  # type: ignore[arg-type]
            "interactions": float((flags[name].cast(pl.Int64) * weight).sum()) / total,
        }
        for name in has
    }
