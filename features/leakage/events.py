"""All events of a split with their parts as arrays, from data frames or from an event log.

Legend: L events, U users, F numbers of an event.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from features.dataset import Dataset
from features.event_log import Partition
from features.splits import CODES, CONTEXT, PARTS, TEST, TRAIN, UNUSED, VALIDATION, Split, StreamedSplit
from recsys.arrays import Bools, Ints
from recsys.columns import Columns
from recsys.errors import LeakError
from recsys.history import EVENT_NUMBERS
from recsys.ids import NUM_RESERVED, UNKNOWN, IdMap

SPLIT_REMEDY = "make the split anew with features.splits.make.make_split"
SAMPLED_USERS = 256  # users of an event log whose histories are checked


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """Events of whole users, sorted by user, time and row."""

    user: Ints  # [L] index in `AuditedEvents.users`
    item: Ints  # [L] ids of the item map
    timestamp: Ints
    row: Ints
    part: npt.NDArray[np.uint8]  # `CODES` of features/splits/streamed.py
    positive: Bools
    kind: Ints  # [L] index in `AuditedEvents.kinds`
    numbers: npt.NDArray[np.float64]  # [L, F] of `EVENT_NUMBERS`, NaN where there is none

    def __len__(self) -> int:
        return len(self.user)

    def of(self, chosen: Bools) -> "Chunk":
        """Events where `chosen` [L] is true."""
        return Chunk(**{each.name: getattr(self, each.name)[chosen] for each in fields(self)})

    def is_part(self, *parts: str) -> Bools:
        """Shape [L]."""
        return np.isin(self.part, [CODES[part] for part in parts])

    @cached_property
    def starts(self) -> Ints:
        """Where each user's events begin. Shape [U]."""
        return np.flatnonzero(np.diff(self.user, prepend=-1)).astype(np.int64)

    def first_place(self, *parts: str) -> Ints:
        """For every event, the position of its user's first event in `parts`; L where there is none. [L]."""
        starts = self.starts
        place = np.where(self.is_part(*parts), np.arange(len(self)), len(self))
        first = np.minimum.reduceat(place, starts) if len(starts) else starts
        return np.repeat(first, np.diff([*starts, len(self)]))


class AuditedEvents:
    """Every event of the dataset with the part that the split gives it."""

    def __init__(self, dataset: Dataset, split: Split, item_ids: IdMap) -> None:
        """Raises `LeakError` where an event is in two parts, or an event of a part is not in the dataset."""
        self.split, self.item_ids = split, item_ids
        self._streamed = split if isinstance(split, StreamedSplit) else None
        if self._streamed is not None:
            log = self._streamed.dataset.log
            self.users, self.kinds = log.users, log.manifest.kinds
        else:
            self._whole = self._from_frames(dataset, split)

    @property
    def is_streamed(self) -> bool:
        return self._streamed is not None

    def chunks(self) -> Iterator[Chunk]:
        """All events; of an event log, one partition after the other."""
        if self._streamed is None:
            yield self._whole
            return
        for number, partition in enumerate(self._streamed.dataset.log.partitions()):
            yield _from_log(partition, self._streamed.codes(number))

    def sampled(self) -> Chunk:
        """Events of all users; of an event log, the events of `SAMPLED_USERS` users, sampled with a seed."""
        if not self.is_streamed:
            return self._whole
        chosen = np.zeros(len(self.users), np.bool_)
        rng = np.random.default_rng(0)
        chosen[rng.choice(len(chosen), min(SAMPLED_USERS, len(chosen)), replace=False)] = True
        kept = [chunk.of(chosen[chunk.user]) for chunk in self.chunks()]
        joined = {
            each.name: np.concatenate([getattr(chunk, each.name) for chunk in kept]) for each in fields(Chunk)
        }
        return Chunk(**joined)

    def codes_of(self, users: pl.Series) -> Ints:
        """Index of each name in `self.users`, -1 for a user without events. Shape [len(users)]."""
        return _places(users.cast(pl.String), self.users)

    def keys(self, user: Ints, item: Ints) -> Ints:
        """One number for each (user, item) pair; negative for a user without events."""
        keys: Ints = user.astype(np.int64)  # a copy
        keys *= self.item_ids.size
        keys += item
        return keys

    def user_name(self, code: int) -> str:
        return str(self.users[int(code)])

    def item_name(self, item: int) -> str | None:
        return self.item_ids.external[item - NUM_RESERVED] if item >= NUM_RESERVED else None

    def leak(self, what: str, chunk: Chunk, place: int, *, table: str, remedy: str) -> LeakError:
        """A `LeakError` about the event at the index `place` of the chunk."""
        item = self.item_name(int(chunk.item[place]))
        user = self.user_name(int(chunk.user[place]))
        return LeakError(what, table=table, user=user, item=item, remedy=remedy)

    def _from_frames(self, dataset: Dataset, split: Split) -> Chunk:
        events = dataset.interactions  # by time and row, so that a stable sort by user is enough
        part = _parts_of(dataset, split)
        self.users = events[Columns.USER].unique().sort()
        self.kinds = events[Columns.EVENT].unique().sort().to_list()
        user = _places(events[Columns.USER], self.users)
        order = np.argsort(user, kind="stable")
        items = pl.Series(self.item_ids.external, dtype=pl.String)
        numbers = events.select(EVENT_NUMBERS).cast(pl.Float64).fill_null(float("nan"))
        return Chunk(
            user=user[order],
            item=_places(events[Columns.ITEM], items)[order] + NUM_RESERVED,
            timestamp=events[Columns.TIMESTAMP].to_numpy()[order],
            row=events[Columns.ROW].to_numpy()[order],
            part=part[order],
            positive=events[Columns.POSITIVE].to_numpy()[order],
            kind=_places(events[Columns.EVENT], pl.Series(self.kinds))[order],
            numbers=numbers.to_numpy()[order],
        )


def among(keys: Ints, known: Ints) -> Bools:
    """Whether each of `keys` is in `known`. By sorting: `np.isin` takes seconds for millions of keys."""
    if not len(known):
        return np.zeros(len(keys), np.bool_)
    ordered = np.sort(known)
    place = np.searchsorted(ordered, keys)
    found: Bools = ordered[np.minimum(place, len(ordered) - 1)] == keys
    return found


def _from_log(partition: Partition, codes: npt.NDArray[np.uint8]) -> Chunk:
    columns: dict[str, Any] = partition.columns
    return Chunk(
        user=partition.user_of_event(),
        item=columns[Columns.ITEM].astype(np.int64),
        timestamp=columns[Columns.TIMESTAMP],
        row=columns[Columns.ROW],
        part=codes,
        positive=columns[Columns.POSITIVE],
        kind=columns[Columns.EVENT].astype(np.int64) - NUM_RESERVED,
        numbers=np.stack([columns[name].astype(np.float64) for name in EVENT_NUMBERS], axis=1),
    )


def _parts_of(dataset: Dataset, split: Split) -> npt.NDArray[np.uint8]:
    """Code of each event's part, in the order of the dataset. Shape [L].

    Raises `LeakError` for an event in two tables, twice in one table, or not in the dataset.
    """
    rows = dataset.interactions[Columns.ROW].to_numpy()
    index_of_row = np.full(int(rows.max(initial=-1)) + 2, -1)  # the last entry is for rows that do not exist
    index_of_row[rows] = np.arange(len(rows))
    found = np.full(len(rows), CODES[UNUSED], np.uint8)
    for part in (TRAIN, VALIDATION, TEST, CONTEXT):
        events: pl.DataFrame = getattr(split, part)
        row = events[Columns.ROW].to_numpy()
        places = index_of_row[np.where((row >= 0) & (row < len(index_of_row)), row, -1)]
        is_foreign = (places < 0) | _differ(events, dataset.interactions, places)
        _reject(events, is_foreign, "an event of the split is not in the dataset", part)
        before = found[places]
        twice = before != CODES[UNUSED]
        other = PARTS[int(before[twice.argmax()])] if twice.any() else ""
        _reject(events, twice, f"one event occurs in {other} and in {part}", part)
        found[places] = CODES[part]
        again = np.bincount(places, minlength=len(rows))[places] > 1
        _reject(events, again, f"one event occurs twice in {part}", part)
    return found


def _differ(events: pl.DataFrame, own: pl.DataFrame, places: Ints) -> Bools:
    """Whether user, item or time of each of `events` differs from the row `places` of `own`. Shape [L]."""
    differs = np.zeros(events.height, np.bool_)
    for name in (Columns.USER, Columns.ITEM, Columns.TIMESTAMP):
        differs |= events[name].ne_missing(own[name].gather(np.maximum(places, 0))).to_numpy()
    return differs


def _reject(events: pl.DataFrame, wrong: Bools, what: str, part: str) -> None:
    if wrong.any():
        first = events.row(int(wrong.argmax()), named=True)
        raise LeakError(
            f"{what}: row {first[Columns.ROW]} of the interactions",
            table=f"split.{part}",
            user=first[Columns.USER],
            item=first[Columns.ITEM],
            remedy=SPLIT_REMEDY,
        )


def _places(names: pl.Series, known: pl.Series) -> Ints:
    """Index of each name in `known`, whose names are unique; -1 where it is not in `known`."""
    place = names.cast(pl.Enum(known), strict=False).to_physical().cast(pl.Int64)
    return place.fill_null(UNKNOWN - NUM_RESERVED).to_numpy()
