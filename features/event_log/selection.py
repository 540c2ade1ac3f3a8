"""Selected events of all users of an event log, read from disk user by user.

Legend: L events of a partition, U users, E events of one user.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from features.event_log.log import EventLog, Partition
from recsys.arrays import Bools, Ints
from recsys.columns import Columns
from recsys.history import EVENT_NUMBERS

Codes = npt.NDArray[np.uint8]  # for each event the code of its split part
Select = Callable[[Codes, Ints, Ints], Bools]  # codes of events [L], start and stop of users [U] -> [L]
_READ = (Columns.ITEM, Columns.TIMESTAMP, Columns.EVENT, *EVENT_NUMBERS, Columns.POSITIVE)
_OPEN_PARTITIONS = 128  # a partition has six open files


def select_all(codes: Codes, start: Ints, stop: Ints) -> Bools:
    """Selects every event."""
    return np.ones(len(codes), np.bool_)


class LogSelection:
    """`UserEvents` of an event log: the events that `select` chooses by their split part."""

    def __init__(
        self,
        log: EventLog,
        items: pl.Series,
        codes: Callable[[int], Codes] | None = None,
        select: Select = select_all,
    ) -> None:
        """`items` are the external ids of `Dataset.items`, `codes(number)` the codes of a partition.

        Without `codes` all codes are 0.
        """
        self._log, self._items, self._codes, self._select = log, items, codes, select
        self._open = lru_cache(maxsize=_OPEN_PARTITIONS)(self._partition)

    @property
    def num_items(self) -> int:
        return self._log.manifest.num_items

    @property
    def kinds(self) -> Sequence[str]:
        return self._log.manifest.kinds

    @cached_property
    def counts(self) -> Ints:
        counts = np.zeros(self._log.manifest.num_users, np.int64)
        for number in range(self._log.manifest.num_partitions):
            partition, mask = self._selected(number)
            if len(partition):
                counts[partition.users] = np.add.reduceat(mask.astype(np.int64), partition.start)
        return counts

    def names(self, rows: Ints) -> list[str]:
        return self._log.users.gather(rows).to_list()

    def row_of(self, user: str) -> int | None:
        return self._log.rows.get(user)

    def columns(self, row: int) -> dict[str, npt.NDArray[Any]]:
        cut, mask = self._events(row)
        columns = self._open(self._log.locate(row)[0])[0].columns
        return {name: np.asarray(array[cut][mask]) for name, array in columns.items()}

    def positive(self, user: str) -> Bools:
        row = self.row_of(user)
        assert row is not None, f"no user {user!r} in the log"
        cut, mask = self._events(row)
        flags = self._open(self._log.locate(row)[0])[0].columns[Columns.POSITIVE]
        return np.asarray(flags[cut][mask])

    def frames(self, users: pl.Series) -> Iterator[tuple[Ints, pl.DataFrame]]:
        for number in range(self._log.manifest.num_partitions):
            partition, mask = self._selected(number)
            names = self._log.users.gather(partition.users)
            is_wanted = names.is_in(users.implode()).to_numpy()
            mask &= np.repeat(is_wanted, partition.stop - partition.start)
            if mask.any():
                events = self._log.frame(self._log.partition(number), self._items).filter(pl.Series(mask))
                yield partition.users[is_wanted & (self.counts[partition.users] > 0)], events

    def _events(self, row: int) -> tuple[slice, Bools]:
        """The slice of the user's events in their partition, and a mask of the selected events in it."""
        number, start, stop = self._log.locate(row)
        codes = self._open(number)[1][start:stop]
        return slice(start, stop), self._select(codes, np.zeros(1, np.int64), np.array([stop - start]))

    def _selected(self, number: int) -> tuple[Partition, Bools]:
        partition, codes = self._partition(number)
        return partition, self._select(codes, partition.start, partition.stop)

    def _partition(self, number: int) -> tuple[Partition, Codes]:
        partition = self._log.partition(number, _READ)
        codes = np.zeros(len(partition), np.uint8) if self._codes is None else self._codes(number)
        return partition, codes
