"""All events of a split with their parts as arrays, from frames or from a prepared log.

Legend: L events, U users.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from features.id_arrays import encode
from features.parts import CONTEXT, NOWHERE, PART, TEST, TRAIN, VALIDATION
from features.prepared.log import Partition
from features.prepared.split import CODES, PARTS, StreamedSplit
from features.tables import Dataset, Split
from recsys.batches import Bools, Ints
from recsys.columns import Columns
from recsys.errors import LeakError
from recsys.ids import NUM_RESERVED, IdMap

SPLIT_REMEDY = "make the split anew with features.splits.make_split"
SAMPLED_USERS = 256  # of a prepared log, whose histories are made and looked at


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """Events of whole users, sorted by user, time and row."""

    user: Ints  # [L] place in `AuditedEvents.users`
    item: Ints  # [L] ids of the item map
    timestamp: Ints
    row: Ints
    part: npt.NDArray[np.uint8]  # `CODES` of features/prepared/split.py
    positive: Bools
    kind: Ints  # [L] place in `AuditedEvents.kinds`
    value: npt.NDArray[np.float64]  # NaN where there is none

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
        """For every event the place of its user's first event in `parts`, L where there is none."""
        starts = self.starts
        place = np.where(self.is_part(*parts), np.arange(len(self)), len(self))
        first = np.minimum.reduceat(place, starts) if len(starts) else starts
        return np.repeat(first, np.diff([*starts, len(self)]))


class AuditedEvents:
    """Every event of the dataset with the part that the split gives it."""

    def __init__(self, dataset: Dataset, split: Split, item_ids: IdMap) -> None:
        """Raises `LeakError` where an event is in two parts, or a part's event is none of the dataset."""
        self.split, self.item_ids = split, item_ids
        self.is_streamed = isinstance(split, StreamedSplit)
        if isinstance(split, StreamedSplit):
            self.users, self.kinds = split.dataset.log.users, split.dataset.log.manifest.kinds
        else:
            self._whole = self._from_frames(dataset, split)

    def chunks(self) -> Iterator[Chunk]:
        if isinstance(self.split, StreamedSplit):
            for number, partition in enumerate(self.split.dataset.log.partitions()):
                yield _from_log(partition, self.split.codes(number))
        else:
            yield self._whole

    def sampled(self) -> Chunk:
        """Events of all users, of a prepared log those of a seeded few."""
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
        """Place of each name in `users`, -1 where it has no event. Shape [len(users)]."""
        table = pl.DataFrame({"name": self.users}).with_row_index("code")
        frame = pl.DataFrame({"name": users.cast(pl.String)})
        found = frame.join(table, on="name", how="left", maintain_order="left")["code"]
        return found.cast(pl.Int64).fill_null(-1).to_numpy()

    def keys(self, user: Ints, item: Ints) -> Ints:
        """One number a (user, item) pair; negative for a user without events."""
        keys: Ints = user.astype(np.int64) * self.item_ids.size + item
        return keys

    def user_name(self, code: int) -> str:
        return str(self.users[int(code)])

    def item_name(self, item: int) -> str | None:
        return self.item_ids.external[item - NUM_RESERVED] if item >= NUM_RESERVED else None

    def leak(self, what: str, chunk: Chunk, place: int, *, table: str, remedy: str) -> LeakError:
        """An error about the event in that place of the chunk."""
        item = self.item_name(int(chunk.item[place]))
        user = self.user_name(int(chunk.user[place]))
        return LeakError(what, table=table, user=user, item=item, remedy=remedy)

    def _from_frames(self, dataset: Dataset, split: Split) -> Chunk:
        parts = _checked_parts(dataset, split)
        events = dataset.interactions.join(parts, on=Columns.ROW, how="left")
        events = events.sort(Columns.USER, Columns.TIMESTAMP, Columns.ROW)
        self.users = events[Columns.USER].unique(maintain_order=True)
        self.kinds = events[Columns.EVENT].unique().sort().to_list()
        return Chunk(
            user=events[Columns.USER].rle_id().cast(pl.Int64).to_numpy(),
            item=encode(events[Columns.ITEM], self.item_ids),
            timestamp=events[Columns.TIMESTAMP].to_numpy(),
            row=events[Columns.ROW].to_numpy(),
            part=events[PART].fill_null(CODES[NOWHERE]).to_numpy(),
            positive=events[Columns.POSITIVE].to_numpy(),
            kind=encode(events[Columns.EVENT], IdMap(self.kinds)) - NUM_RESERVED,
            value=events[Columns.VALUE].cast(pl.Float64).fill_null(float("nan")).to_numpy(),
        )


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
        value=columns[Columns.VALUE].astype(np.float64),
    )


def _checked_parts(dataset: Dataset, split: Split) -> pl.DataFrame:
    """Row and part of the events in the split's tables, each an event of the dataset and in one part."""
    what = [Columns.USER, Columns.ITEM, Columns.TIMESTAMP]
    parts = pl.concat(
        [
            getattr(split, part).select(Columns.ROW, *what, pl.lit(CODES[part], pl.UInt8).alias(PART))
            for part in (TRAIN, VALIDATION, TEST, CONTEXT)
        ]
    )
    if parts[Columns.ROW].n_unique() < parts.height:
        twice = parts.filter(pl.col(Columns.ROW).is_duplicated()).sort(Columns.ROW, PART)
        names = [PARTS[code] for code in twice[PART].head(2)]
        raise _of_a_row(twice, f"one event stands in {' and in '.join(names)}")
    own = dataset.interactions.select(Columns.ROW, *what)
    joined = parts.join(own, on=Columns.ROW, how="left", suffix="_own")
    differs = pl.any_horizontal(pl.col(name).ne_missing(pl.col(f"{name}_own")) for name in what)
    strangers = joined.filter(differs)
    if strangers.height:
        raise _of_a_row(strangers, "an event of the split is none of the dataset")
    found: pl.DataFrame = parts.select(Columns.ROW, PART)
    return found


def _of_a_row(events: pl.DataFrame, what: str) -> LeakError:
    first = events.row(0, named=True)
    return LeakError(
        f"{what}: row {first[Columns.ROW]} of the interactions",
        table=f"split.{PARTS[first[PART]]}",
        user=first[Columns.USER],
        item=first[Columns.ITEM],
        remedy=SPLIT_REMEDY,
    )
