"""Histories of a prepared log, made when a user is asked for: the arrays stay on disk.

`LazyHistories` stands where `HistoryBuilder.build` gives a dict: the same users in the same order, the same
`History`. In memory are the ids of the users, one number a user, and the reviews that were attached.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import polars as pl

from features.event_log.log import Partition, PreparedLog
from features.inputs.histories import HistoryBuilder
from features.splits.assignment import (
    CONTEXT,
    TEST,
    TRAIN,
    VALIDATION,
)
from features.splits.streamed import CODES, StreamedSplit
from recsys.arrays import Bools, Floats, Ints
from recsys.columns import Columns
from recsys.history import EVENT_NUMBERS, REVIEW_FIELDS, History
from recsys.ids import NUM_RESERVED, UNKNOWN

Codes = npt.NDArray[np.uint8]
_READ = (Columns.ITEM, Columns.TIMESTAMP, Columns.EVENT, *EVENT_NUMBERS, Columns.POSITIVE)
Select = Callable[[Codes, Ints, Ints], Bools]  # codes of events [L], start and stop of users [U] -> [L]
_OPEN_PARTITIONS = 128  # each has six files open


def everything(codes: Codes, start: Ints, stop: Ints) -> Bools:
    return np.ones(len(codes), np.bool_)


def training(codes: Codes, start: Ints, stop: Ints) -> Bools:
    is_train: Bools = codes == CODES[TRAIN]
    return is_train


def before_validation(codes: Codes, start: Ints, stop: Ints) -> Bools:
    """As `events_before(split, split.validation, future=split.validation)`."""
    known: Bools = (codes == CODES[TRAIN]) | _context_before(codes, start, stop, VALIDATION)
    return known


def before_test(codes: Codes, start: Ints, stop: Ints) -> Bools:
    """As `events_before(split, split.test)`."""
    known: Bools = (codes == CODES[TRAIN]) | (codes == CODES[VALIDATION])
    return known | _context_before(codes, start, stop, TEST)


def _context_before(codes: Codes, start: Ints, stop: Ints, target: str) -> Bools:
    """Context events before the user's first target; all of them where there is no target."""
    place = np.arange(len(codes))
    target_place = np.where(codes == CODES[target], place, len(codes))
    first = np.minimum.reduceat(target_place, start) if len(start) else target_place
    known: Bools = (codes == CODES[CONTEXT]) & (place < np.repeat(first, stop - start))
    return known


class LazyHistories(Mapping[str, History]):
    """Histories of all users who have a selected event, by user id in sorted order."""

    def __init__(
        self, builder: HistoryBuilder, log: PreparedLog, split: StreamedSplit | None, select: Select
    ) -> None:
        """`select` chooses events by their part in `split`; without a split all parts are 0."""
        assert builder.item_ids.size == log.manifest.num_items + NUM_RESERVED, "the log knows other items"
        self._builder, self._log, self._split, self._select = builder, log, split, select
        kinds = builder.maps.kinds
        self._kind_ids = np.array([UNKNOWN] * NUM_RESERVED + [kinds.get(kind) for kind in log.manifest.kinds])
        self._open = lru_cache(maxsize=_OPEN_PARTITIONS)(self._partition)
        self.counts: Ints = np.zeros(log.manifest.num_users, np.int64)  # selected events by row of `users`
        # Name of `REVIEW_FIELDS` -> row of the user -> position -> vector.
        self._reviews: dict[str, dict[int, dict[int, Floats]]] = {name: {} for name in REVIEW_FIELDS}
        for number in range(log.manifest.num_partitions):
            self._survey(number)
        self._rows = np.flatnonzero(self.counts)

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[str]:
        return iter(self._log.users.gather(self._rows).to_list())

    def __contains__(self, user: object) -> bool:
        row = self._row(user)
        return row is not None and bool(self.counts[row])

    def __getitem__(self, user: str) -> History:
        row = self._row(user)
        if row is None or not self.counts[row]:
            raise KeyError(user)
        cut, mask = self._events(row)
        columns = self._open(self._log.locate(row)[0])[0].columns
        item = columns[Columns.ITEM][cut][mask].astype(np.int64)
        return History.of(
            {
                "item": item,
                "event": self._kind_ids[columns[Columns.EVENT][cut][mask]],
                "timestamp": np.asarray(columns[Columns.TIMESTAMP][cut][mask]),
                **{name: np.asarray(columns[name][cut][mask]) for name in EVENT_NUMBERS},
            },
            reviews={name: placed[row] for name, placed in self._reviews.items() if row in placed},
            seen=first_appearances(item),
            profile=self._builder.profile(user),
        )

    def positive(self, user: str) -> Bools:
        """Which of the history's events are positive."""
        row = self._row(user)
        assert row is not None
        cut, mask = self._events(row)
        flags = self._open(self._log.locate(row)[0])[0].columns[Columns.POSITIVE]
        return np.asarray(flags[cut][mask])

    def _row(self, user: object) -> int | None:
        return self._log.rows.get(user) if isinstance(user, str) else None

    def _events(self, row: int) -> tuple[slice, Bools]:
        """Where the user's events stand in their partition, and which of them are selected."""
        number, start, stop = self._log.locate(row)
        codes = self._open(number)[1][start:stop]
        return slice(start, stop), self._select(codes, np.zeros(1, np.int64), np.array([stop - start]))

    def _partition(self, number: int) -> tuple[Partition, Codes]:
        partition = self._log.partition(number, _READ)
        codes = np.zeros(len(partition), np.uint8) if self._split is None else self._split.codes(number)
        return partition, codes

    def _survey(self, number: int) -> None:
        """Count the selected events of each user, and attach reviews."""
        partition, codes = self._partition(number)
        if not len(partition):
            return
        mask = self._select(codes, partition.start, partition.stop)
        self.counts[partition.users] = np.add.reduceat(mask.astype(np.int64), partition.start)
        authors = self._builder.reviewers
        if not authors.height:
            return
        names = self._log.users.gather(partition.users)
        is_author = names.is_in(authors[Columns.USER].implode()).to_numpy()
        mask &= np.repeat(is_author, partition.stop - partition.start)
        items = self._builder.dataset.items[Columns.ITEM]
        whole = self._log.partition(number)
        events = self._log.frame(whole, items).filter(pl.Series(mask))
        if not events.height:
            return
        rows = partition.users[is_author & (self.counts[partition.users] > 0)]
        for name, placed in self._builder.reviews_of(events, np.cumsum(self.counts[rows])).items():
            self._reviews[name] |= {int(rows[place]): vectors for place, vectors in placed.items()}


def first_appearances(item: Ints) -> Ints:
    """Unique known items in the order in which they first stand."""
    unique, place = np.unique(item, return_index=True)
    return item[np.sort(place[unique > UNKNOWN])]
