"""Rows and media that were left out: collected with their reasons, written out, counted."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import polars as pl

from features.tables import Dataset, SetAside
from recsys.columns import Columns
from recsys.errors import DataError

SCHEMA = {field.name: pl.Int64 if field.name == "row" else pl.String for field in fields(SetAside)}


def set_aside_frame(set_aside: Iterable[SetAside]) -> pl.DataFrame:
    """One row for each entry, its columns the fields of `SetAside`."""
    entries = list(set_aside)
    return pl.DataFrame({name: [getattr(entry, name) for entry in entries] for name in SCHEMA}, schema=SCHEMA)


def write_set_aside(set_aside: Iterable[SetAside], path: Path) -> int:
    """Write the entries to `path`, a .csv or .parquet file; returns how many there were."""
    frame = set_aside_frame(set_aside)
    match path.suffix:
        case ".csv":
            frame.write_csv(path)
        case ".parquet":
            frame.write_parquet(path)
        case suffix:
            raise DataError(f"cannot write {path}: {suffix!r} is neither .csv nor .parquet")
    return frame.height


def count_reasons(set_aside: Iterable[SetAside]) -> list[dict[str, Any]]:
    """Entries by table, column and reason, the most frequent first, each with one example."""
    entries = list(set_aside)
    counts = Counter((entry.table, entry.column, entry.reason) for entry in entries)
    example = {(entry.table, entry.column, entry.reason): entry for entry in reversed(entries)}
    return [
        {"table": key[0], "column": key[1], "reason": key[2], "count": count, "example": asdict(example[key])}
        for key, count in counts.most_common()
    ]


def summarise(dataset: Dataset) -> dict[str, Any]:
    """What `recsys check` tells: rows of each table, coverage of each modality, time, what was set aside.

    Coverage is a share: of the items, and of the interactions (those whose item has the modality).
    """
    events = dataset.interactions
    return {
        "name": dataset.name,
        "has_clock": dataset.has_clock,
        "counts": {
            "items": dataset.items.height,
            "items with interactions": events[Columns.ITEM].n_unique(),
            "users": dataset.users.height,
            "interactions": events.height,
            "reviews": dataset.reviews.height,
            "spoken reviews": dataset.reviews.height - dataset.reviews[Columns.AUDIO].null_count(),
        },
        "events": dict(events.group_by(Columns.EVENT).len().sort("len", descending=True).iter_rows()),
        "positive_share": float(events[Columns.POSITIVE].cast(pl.Float64).mean() or 0.0),  # type: ignore[arg-type]
        "time": _time_range(dataset),
        "coverage": _coverage(dataset),
        "set_aside": count_reasons(dataset.set_aside),
    }


def _time_range(dataset: Dataset) -> dict[str, Any]:
    timestamp = dataset.interactions[Columns.TIMESTAMP]
    span = pl.Series([timestamp.min(), timestamp.max()], dtype=pl.Int64)
    if dataset.has_clock:
        first, last = span.cast(pl.Datetime("us")).dt.to_string("iso").to_list()
    else:
        first, last = span.to_list()
    per_second = dataset.interactions.select(pl.struct(Columns.USER, Columns.TIMESTAMP).is_duplicated())
    return {"first": first, "last": last, "tied_share": float(per_second.to_series().mean() or 0.0)}  # type: ignore[arg-type]


def _coverage(dataset: Dataset) -> dict[str, dict[str, float]]:
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
    events = dataset.interactions.group_by(Columns.ITEM).len()
    flags = dataset.items.select(Columns.ITEM, **has).join(events, on=Columns.ITEM, how="left")
    weight = flags["len"].fill_null(0)
    total = max(int(weight.sum()), 1)
    return {
        name: {
            "items": float(flags[name].cast(pl.Float64).mean() or 0.0),  # type: ignore[arg-type]
            "interactions": float((flags[name].cast(pl.Int64) * weight).sum()) / total,
        }
        for name in has
    }
