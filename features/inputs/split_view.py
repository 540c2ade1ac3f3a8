"""What training and evaluation read of a split, from frames in memory or from a prepared log.

Both give the same users in the same order, so that nobody downstream can tell them apart.
"""

import copy
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import polars as pl

from features.dataset.tables import Dataset, Split
from features.event_log.dataset import StreamedDataset
from features.inputs.histories import HistoryBuilder
from features.inputs.streamed_histories import (
    LazyHistories,
    before_test,
    before_validation,
    everything,
    training,
)
from features.inputs.user_items import UserItems
from features.splits.assignment import PART, TRAIN, VALIDATION
from features.splits.make import events_before, write_split
from features.splits.streamed import CODES, PARTS, StreamedSplit
from features.splits.train_statistics import FrameFacts, TrainFacts
from recsys.arrays import Bools, Ints
from recsys.columns import Columns
from recsys.history import History
from recsys.ids import IdMap


class SplitView(Protocol):
    @property
    def facts(self) -> TrainFacts: ...

    def training(self, builder: HistoryBuilder) -> tuple[Mapping[str, History], Callable[[str], Bools]]:
        """Histories of training events, and which events of a user's are positive."""
        ...

    def training_items(self, item_ids: IdMap) -> UserItems:
        """Items of every user's positive training events."""
        ...

    def before_validation(self, builder: HistoryBuilder) -> Mapping[str, History]:
        """What may be read when validation events are to be guessed."""
        ...

    def before_test(self, builder: HistoryBuilder) -> Mapping[str, History]:
        """What may be read when test events are to be guessed."""
        ...

    def validation_items(self, item_ids: IdMap) -> dict[str, Ints]:
        """Items of each user's validation events; users by the first of these."""
        ...

    def known_items(self, item_ids: IdMap) -> Bools:
        """Items with a training or validation event. Shape [N]."""
        ...

    def write(self, directory: Path) -> None:
        """`history.parquet` and `truth.parquet`, as `write_split`."""
        ...


def view_of(split: Split) -> SplitView:
    return StreamedView(split) if isinstance(split, StreamedSplit) else FrameView(split)


def testing_alone(split: Split, users: Collection[str]) -> Split:
    """The same split, whose test events are those of `users` alone."""
    smaller = copy.copy(split)
    test = split.test.filter(pl.col(Columns.USER).is_in(list(users)))
    object.__setattr__(smaller, "test", test)  # of either kind of split, one of which reads it from disk
    return smaller


def all_histories(builder: HistoryBuilder, dataset: Dataset) -> Mapping[str, History]:
    """Histories of all events of the dataset."""
    if isinstance(dataset, StreamedDataset):
        return LazyHistories(builder, dataset.log, None, everything)
    return builder.build(dataset.interactions)


class SeenItems(Mapping[str, Ints]):
    """The seen items of each history."""

    def __init__(self, histories: Mapping[str, History]) -> None:
        self._histories = histories

    def __getitem__(self, user: str) -> Ints:
        return self._histories[user].seen

    def __iter__(self) -> Iterator[str]:
        return iter(self._histories)

    def __len__(self) -> int:
        return len(self._histories)


class FrameView:
    """Of a split in memory."""

    def __init__(self, split: Split) -> None:
        self._split = split

    @property
    def facts(self) -> TrainFacts:
        return FrameFacts(self._split.train)

    def training(self, builder: HistoryBuilder) -> tuple[Mapping[str, History], Callable[[str], Bools]]:
        ordered = self._split.train.sort(Columns.TIMESTAMP, Columns.ROW)
        grouped = ordered.group_by(Columns.USER, maintain_order=True).agg(Columns.POSITIVE)
        positive = {user: np.asarray(flags, np.bool_) for user, flags in grouped.iter_rows()}
        return builder.build(self._split.train), positive.__getitem__

    def training_items(self, item_ids: IdMap) -> UserItems:
        return UserItems.of_frame(self._split.train.filter(Columns.POSITIVE), item_ids)

    def before_validation(self, builder: HistoryBuilder) -> Mapping[str, History]:
        validation = self._split.validation
        return builder.build(events_before(self._split, validation, future=validation))

    def before_test(self, builder: HistoryBuilder) -> Mapping[str, History]:
        return builder.build(events_before(self._split, self._split.test))

    def validation_items(self, item_ids: IdMap) -> dict[str, Ints]:
        grouped = self._split.validation.group_by(Columns.USER, maintain_order=True).agg(Columns.ITEM)
        return {user: item_ids.encode(items) for user, items in grouped.iter_rows()}

    def known_items(self, item_ids: IdMap) -> Bools:
        names = pl.concat([self._split.train[Columns.ITEM], self._split.validation[Columns.ITEM]]).unique()
        known = np.zeros(item_ids.size, np.bool_)
        known[item_ids.encode(names)] = True
        return known

    def write(self, directory: Path) -> None:
        write_split(self._split, directory)


class StreamedView:
    """Of a split of a prepared log. In memory are the ids of users, and the validation events' items."""

    def __init__(self, split: StreamedSplit) -> None:
        self._split, self._log = split, split.dataset.log

    @property
    def facts(self) -> TrainFacts:
        return self._split.facts

    def training(self, builder: HistoryBuilder) -> tuple[Mapping[str, History], Callable[[str], Bools]]:
        histories = LazyHistories(builder, self._log, self._split, training)
        return histories, histories.positive

    def training_items(self, item_ids: IdMap) -> UserItems:
        def blocks() -> Iterator[tuple[Ints, npt.NDArray[np.int32]]]:
            for number, partition in enumerate(self._log.partitions()):
                wanted = self._split.codes(number) == CODES[TRAIN]
                wanted = wanted & partition.columns[Columns.POSITIVE]
                yield (
                    partition.user_of_event()[wanted],
                    partition.columns[Columns.ITEM][wanted].astype(np.int32),
                )

        return UserItems.of_blocks(self._log.users, blocks())

    def before_validation(self, builder: HistoryBuilder) -> Mapping[str, History]:
        return LazyHistories(builder, self._log, self._split, before_validation)

    def before_test(self, builder: HistoryBuilder) -> Mapping[str, History]:
        return LazyHistories(builder, self._log, self._split, before_test)

    def validation_items(self, item_ids: IdMap) -> dict[str, Ints]:
        frames = []
        for number, partition in enumerate(self._log.partitions()):
            mask = self._split.codes(number) == CODES[VALIDATION]
            columns = {"user": partition.user_of_event()[mask]}
            columns |= {name: partition.columns[name][mask] for name in (*_ORDER, Columns.ITEM)}
            frames.append(pl.DataFrame(columns))
        ordered = pl.concat(frames).sort(_ORDER)
        grouped = ordered.group_by("user", maintain_order=True).agg(Columns.ITEM)
        names = self._log.users.gather(grouped["user"])
        items = grouped[Columns.ITEM]
        return {name: np.asarray(own, np.int64) for name, own in zip(names, items, strict=True)}

    def known_items(self, item_ids: IdMap) -> Bools:
        return self._split.facts.known

    def write(self, directory: Path) -> None:
        """As `write_split`, but `history.parquet` stands by user, since it is written by partition."""
        directory.mkdir(parents=True, exist_ok=True)
        self._split.test.write_parquet(directory / "truth.parquet")
        items = self._split.dataset.items[Columns.ITEM]
        parts = []
        for number, partition in enumerate(self._log.partitions()):
            codes = self._split.codes(number)
            known = before_test(codes, partition.start, partition.stop) if len(codes) else codes > 0
            named = pl.Series(PARTS, dtype=pl.String).gather(codes.astype(np.uint32)).alias(PART)
            frame = self._log.frame(partition, items).with_columns(named).filter(pl.Series(known))
            parts.append(directory / f".history-{number:04}.parquet")
            frame.write_parquet(parts[-1])
        pl.scan_parquet(parts, glob=False).sink_parquet(directory / "history.parquet")
        for path in parts:
            path.unlink()


_ORDER = [Columns.TIMESTAMP, Columns.ROW]
