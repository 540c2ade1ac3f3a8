"""The checks of the table of interactions, and datasets without a table of items."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

import polars as pl

from features.dataset.joins import KnownIds, reject_unknown_items
from features.dataset.schema import FILE_NAME, DatasetSpec
from features.dataset.sections import InteractionsSpec, positive_columns
from features.dataset.table_checker import TableChecker, unreadable
from features.dataset.values import casting
from features.dataset.values.positive import positive_events
from recsys.columns import Columns
from recsys.errors import DataError
from recsys.history import EVENT_NUMBERS

NO_EVENT_KIND = "interaction"  # the kind of every event where the dataset names no column for it


INTERACTIONS_SCHEMA = {
    Columns.USER: pl.String,
    Columns.ITEM: pl.String,
    Columns.TIMESTAMP: pl.Int64,
    Columns.EVENT: pl.String,
    **dict.fromkeys(EVENT_NUMBERS, pl.Float64),
    Columns.POSITIVE: pl.Boolean,
    Columns.ROW: pl.Int64,
}


@dataclass(frozen=True, kw_only=True)
class EventsTable:
    """The validated interactions."""

    events: pl.DataFrame  # `Dataset.interactions`, or of an event log every user in a column `user_id`
    item_ids: pl.Series  # the ids of the table of items; without that table, `valid_item_ids`


# Reads the interactions, given the ids of the table of items: None where the dataset has no such table, an
# empty series where that table has an error. Raises `DataError` with all problems of the interactions.
ReadEvents = Callable[[InteractionsSpec, pl.Series | None], EventsTable]


def require_interactions(root: Path) -> None:
    """Raises `DataError` with the remedy where the dataset.toml in `root` has no [interactions].

    Other mistakes in dataset.toml are left to `load_dataset`, which reports them with those of the tables.
    """
    try:
        spec = DatasetSpec.load(root)
    except DataError:
        return
    if spec.interactions is None:
        raise DataError(
            f"{root / FILE_NAME} has no [interactions], from which recommendations are learned and measured. "
            f"To search its items:  {index_command(root)}   To train, name its events in [interactions]"
        )


def index_command(root: Path) -> str:
    """The command that makes a search bundle of items alone."""
    return f"recsys index {quote(str(root))} --out bundle"


def id_columns(spec: InteractionsSpec) -> set[str]:
    """Columns of the interactions' files that hold ids or names."""
    return {spec.user, spec.item, *([spec.event] if spec.event else [])}


def interaction_columns(spec: InteractionsSpec) -> list[str]:
    """Columns of the interactions' files that are read."""
    wanted = [spec.user, spec.item]
    wanted += [name for name in (spec.timestamp, spec.event, *spec.numbers.values()) if name is not None]
    return wanted + (positive_columns(spec.positive) if spec.positive else [])


def check_interactions(
    table: TableChecker, spec: InteractionsSpec, items: KnownIds | None
) -> list[pl.Series]:
    """The columns of `Dataset.interactions` for every raw row; `table.kept` marks the valid rows."""
    user, item = table.required_id(spec.user), table.required_id(spec.item)
    timestamp = table.required_time(spec.timestamp, spec.time) if spec.timestamp else table.rows()
    numbers = [
        (table.number(own) if own else pl.Series([None] * len(user), dtype=pl.Float64)).alias(name)
        for name, own in spec.numbers.items()
    ]
    if spec.event:
        event = table.cast(spec.event, casting.as_name, unreadable("an event kind"))
        table.reject(event.is_null(), spec.event, "no event kind")
        table.reject(casting.has_nul(event), spec.event, "an event kind with a NUL character")
    else:
        event = pl.Series([NO_EVENT_KIND]).new_from_index(0, len(user))
    reject_unknown_items(table, item, spec.item, items)
    positive = positive_events(table, spec.positive)
    return [
        user.alias(Columns.USER),
        item.alias(Columns.ITEM),
        timestamp.cast(pl.Int64).alias(Columns.TIMESTAMP),
        event.alias(Columns.EVENT),
        *(number.cast(pl.Float64) for number in numbers),
        positive.alias(Columns.POSITIVE),
        table.rows(),
    ]


def valid_item_ids(raw: pl.Series) -> pl.Series:
    """The distinct valid ids in the raw column of items, or in its distinct values; sorted.

    The items of rows that are rejected for another reason are included. Empty where the column cannot be read
    as ids; `check_interactions` reports this problem.
    """
    try:
        ids = casting.as_id(casting.without_nan(raw.unique())).cast(pl.String)
    except DataError:
        return pl.Series(Columns.ITEM, dtype=pl.String)
    return ids.filter(casting.id_fault(ids).is_null()).unique().sort().alias(Columns.ITEM)


def items_of_ids(ids: pl.Series) -> pl.DataFrame:
    """`Dataset.items` for items that have only an id."""
    no_text, no_files = pl.lit(None, dtype=pl.String), casting.EMPTY_LIST
    return (
        ids.alias(Columns.ITEM)
        .to_frame()
        .with_columns(
            no_text.alias(Columns.TITLE),
            no_text.alias(Columns.TEXT),
            no_files.alias(Columns.IMAGE),
            no_files.alias(Columns.VIDEO),
            pl.lit(None, dtype=pl.Int64).alias(Columns.CREATED_AT),
        )
    )


def missing_part_warnings(spec: DatasetSpec, items: pl.DataFrame) -> list[str]:
    """Warnings of a dataset without a table of items or without times: the lost features and the remedy."""
    lost = []
    if spec.items is None:
        known, cold_start = "its id alone", "there is no cold start: new items are all the same to the model"
        if spec.reviews is not None:
            known, cold_start = "its id and its reviews", "only reviewed items have a cold start"
        lost.append(
            f"dataset.toml has no [items]: the catalogue is the {items.height:,} item ids of the "
            f"interactions, and an item is known by {known}, so {cold_start}. "
            "There is no search. To have both, name a table of items "
            "with titles, texts, images or categories"
        )
    if spec.interactions is not None and spec.interactions.timestamp is None:
        lost.append(
            "dataset.toml has no timestamp in [interactions]: the events are in the order of their rows, so "
            "there are no time features and no cut-off for all users (split.protocol = 'auto' is "
            "leave_one_out by the order of the rows); to have them, name the column of the times and its unit"
        )
    return lost
