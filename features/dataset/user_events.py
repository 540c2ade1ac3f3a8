"""Protocols: the events of single users, read from disk on demand, and the builder of histories.

Legend: U users, E events of one user.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy.typing as npt
import polars as pl

from recsys.arrays import Bools, Ints
from recsys.history import History


class UserEvents(Protocol):
    """Some events of every user of an event log, read user by user. A user is a row, sorted by user id."""

    @property
    def num_items(self) -> int:
        """Number of items of the dataset from which the log was made."""
        ...

    @property
    def kinds(self) -> Sequence[str]:
        """Kinds of events; kind i has the id i + 2 in `columns`."""
        ...

    @property
    def counts(self) -> Ints:
        """Number of events of each user. Shape [U]."""
        ...

    def names(self, rows: Ints) -> list[str]:
        """External ids of the users in `rows`."""
        ...

    def row_of(self, user: str) -> int | None:
        """The row of a user, None for an unknown one."""
        ...

    def columns(self, row: int) -> dict[str, npt.NDArray[Any]]:
        """The user's events, oldest first: column of the interactions -> [E]; items and kinds are ids."""
        ...

    def positive(self, user: str) -> Bools:
        """Which of the user's events are positive. Shape [E]."""
        ...

    def frames(self, users: pl.Series) -> Iterator[tuple[Ints, pl.DataFrame]]:
        """Rows and events of the users in `users` who have events, a few users at a time.

        A frame has the columns of `Dataset.interactions` and is sorted by user, time and row.
        """
        ...


class HistoryMaker(Protocol):
    """Turns events into histories: `features.inputs.histories.HistoryBuilder`."""

    def build(self, events: pl.DataFrame) -> Mapping[str, History]:
        """A history for each user of a frame with the columns of `Dataset.interactions`."""
        ...

    def build_lazily(self, events: UserEvents) -> Mapping[str, History]:
        """A history for each user with an event, built at each access."""
        ...
