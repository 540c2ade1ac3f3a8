"""Counts and times of all events of a dataset, for reports and split protocols."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import polars as pl

from recsys.columns import Columns


@dataclass(frozen=True, kw_only=True)
class EventSummary:
    """Counts of all events, for reports."""

    num_events: int
    num_positive: int
    num_tied: int  # events that share user and time with another
    first: int | None  # earliest timestamp
    last: int | None
    kinds: dict[str, int]  # events of each kind, the most frequent kind first
    by_item: pl.DataFrame  # item_id, len; only items with an event
    reasons: tuple[dict[str, Any], ...] = ()  # of rejected rows that are not in `Dataset.rejected`

    @classmethod
    def of(cls, events: pl.DataFrame) -> "EventSummary":
        """The summary of a frame with the columns of `Dataset.interactions`."""
        tied = events.select(pl.struct(Columns.USER, Columns.TIMESTAMP).is_duplicated()).to_series()
        span = events.select(first=pl.col(Columns.TIMESTAMP).min(), last=pl.col(Columns.TIMESTAMP).max()).row(
            0, named=True
        )
        kinds = events.group_by(Columns.EVENT).len().sort("len", Columns.EVENT, descending=[True, False])
        return cls(
            num_events=events.height,
            num_positive=int(events[Columns.POSITIVE].sum()),
            num_tied=int(tied.sum()),
            kinds=dict(kinds.iter_rows()),
            by_item=events.group_by(Columns.ITEM).len(),
            **span,
        )


class EventStatistics(Protocol):
    """Statistics of all positive events that a split protocol needs before it assigns events to parts."""

    @property
    def has_clock(self) -> bool: ...

    @property
    def items(self) -> pl.DataFrame:
        """`Dataset.items`."""
        ...

    @property
    def positive_items(self) -> pl.Series:
        """Ids of the items with a positive event."""
        ...

    @property
    def num_positive(self) -> int: ...

    def positive_time(self, rank: int) -> int:
        """The timestamp with this rank, counted from 0, among the sorted timestamps of positive events."""
        ...

    def num_returning_users(self, start: int, end: int | None) -> int:
        """Users with a positive event in [start, end), without an end if None, and another one before it."""
        ...


class InMemoryEventStatistics:
    """`EventStatistics` of a frame with the columns of `Dataset.interactions`."""

    def __init__(self, items: pl.DataFrame, events: pl.DataFrame, *, has_clock: bool) -> None:
        self.has_clock, self.items = has_clock, items
        self._positive = events.filter(Columns.POSITIVE)

    @property
    def positive_items(self) -> pl.Series:
        return self._positive[Columns.ITEM].unique()

    @property
    def num_positive(self) -> int:
        return self._positive.height

    def positive_time(self, rank: int) -> int:
        return int(self._times[rank])

    def num_returning_users(self, start: int, end: int | None) -> int:
        time = pl.col(Columns.TIMESTAMP)
        inside = (time >= start) if end is None else time.is_between(start, end, closed="left")
        users = self._positive.group_by(Columns.USER).agg((time < start).any() & inside.any())
        return int(users[Columns.TIMESTAMP].sum())

    @cached_property
    def _times(self) -> pl.Series:
        return self._positive[Columns.TIMESTAMP].sort()
