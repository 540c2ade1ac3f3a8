"""Histories of an event log, made when a user is looked up; the arrays stay on disk.

`LazyHistories` has the users of the dict that `HistoryBuilder.build` returns for the same events, in the same
order, with equal histories. In memory are one number a user, and the reviews of the selected events.
"""

from collections.abc import Iterator, Mapping
from typing import Protocol

import numpy as np
import polars as pl

from features.dataset import IdMaps, UserEvents
from recsys.arrays import Floats, Ints
from recsys.columns import Columns
from recsys.history import EVENT_NUMBERS, REVIEW_FIELDS, History
from recsys.ids import NUM_RESERVED, UNKNOWN, IdMap


class _Builder(Protocol):
    """The parts of `HistoryBuilder` that are used here."""

    @property
    def item_ids(self) -> IdMap: ...
    @property
    def maps(self) -> IdMaps: ...
    @property
    def reviewers(self) -> pl.Series: ...
    def profile(self, user: str) -> dict[str, Ints]: ...
    def reviews_of(self, events: pl.DataFrame, ends: Ints) -> dict[str, dict[int, dict[int, Floats]]]: ...


class LazyHistories(Mapping[str, History]):
    """Histories of all users who have a selected event, by user id in sorted order."""

    def __init__(self, builder: _Builder, events: UserEvents) -> None:
        assert builder.item_ids.size == events.num_items + NUM_RESERVED, "the log has other items"
        self._builder, self._events = builder, events
        kinds = builder.maps.kinds
        self._kind_ids = np.array([UNKNOWN] * NUM_RESERVED + [kinds.get(kind) for kind in events.kinds])
        self._rows = np.flatnonzero(events.counts)
        # Name of `REVIEW_FIELDS` -> row of the user -> position -> vector.
        self._reviews: dict[str, dict[int, dict[int, Floats]]] = {name: {} for name in REVIEW_FIELDS}
        if len(builder.reviewers):
            self._attach_reviews()

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[str]:
        return iter(self._events.names(self._rows))

    def __contains__(self, user: object) -> bool:
        row = self._events.row_of(user) if isinstance(user, str) else None
        return row is not None and bool(self._events.counts[row])

    def __getitem__(self, user: str) -> History:
        row = self._events.row_of(user)
        if row is None or not self._events.counts[row]:
            raise KeyError(user)
        columns = self._events.columns(row)
        item = columns[Columns.ITEM].astype(np.int64)
        return History.of(
            {
                "item": item,
                "event": self._kind_ids[columns[Columns.EVENT]],
                "timestamp": columns[Columns.TIMESTAMP],
                **{name: columns[name] for name in EVENT_NUMBERS},
            },
            reviews={name: by_event[row] for name, by_event in self._reviews.items() if row in by_event},
            seen=first_appearances(item),
            profile=self._builder.profile(user),
        )

    def _attach_reviews(self) -> None:
        for rows, events in self._events.frames(self._builder.reviewers):
            ends = np.cumsum(self._events.counts[rows])
            for name, by_event in self._builder.reviews_of(events, ends).items():
                self._reviews[name] |= {int(rows[place]): vectors for place, vectors in by_event.items()}


def first_appearances(item: Ints) -> Ints:
    """Each known item once, in the order of its first event."""
    unique, place = np.unique(item, return_index=True)
    return item[np.sort(place[unique > UNKNOWN])]
