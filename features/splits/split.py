"""A split: the part of each event, and the histories before validation and before test."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import polars as pl

from features.dataset import HistoryMaker, encode
from features.splits.assignment import CONTEXT, ORDER, PART, TEST, TRAIN, VALIDATION
from features.splits.train_statistics import InMemoryTrainStatistics, TrainStatistics
from recsys.arrays import Bools, Ints
from recsys.columns import Columns
from recsys.files import replacing
from recsys.history import History
from recsys.ids import IdMap

# Order of the two files of a predefined split in time: all of training before all of test, the training of
# each user before the user's test, or neither.
Cut = Literal["for_all", "by_user", "overlapping"]


HISTORY, GROUND_TRUTH = "history.parquet", "ground_truth.parquet"


@dataclass(frozen=True, kw_only=True)
class PositiveEvents:
    """Positive training events of some users, sorted by user, timestamp and row. Legend: L events."""

    user: Ints  # [L] numbers from 0, by user id, of the users with a positive training event
    item: Ints  # [L] ids of the item map
    timestamp: Ints  # [L]


class AskedAfterHistory(Mapping[str, History]):
    """The same histories, of users who each ask at the time of their newest event."""

    def __init__(self, histories: Mapping[str, History]) -> None:
        self._histories = histories

    def __getitem__(self, user: str) -> History:
        return self._histories[user].asked_after_it()

    def __contains__(self, user: object) -> bool:
        return user in self._histories

    def __iter__(self) -> Iterator[str]:
        return iter(self._histories)

    def __len__(self) -> int:
        return len(self._histories)


def asking(split: "Split", histories: Mapping[str, History], *, is_test: bool) -> Mapping[str, History]:
    """`histories` before validation or test, with the times at which their users ask.

    With one cut-off for all users that is the end of the training events, else each user's newest event.
    """
    one_cut_off = split.protocol == "global_temporal" or (is_test and split.cut == "for_all")
    return histories if one_cut_off else AskedAfterHistory(histories)


class Split(Protocol):
    """Events by their use. All tables have the columns of `Dataset.interactions`.

    train       all events, of every kind, that the models may be fitted on
    validation  positive events for early stopping, selection and as ranker targets; not in train
    test        positive events that no fit and no choice of settings reads; not in train or validation
    context     events of the validation and test spans that are not positive: part of the history and of the
                seen items after their time, never a target
    reviews     rows of Dataset.reviews that may be read while `test` is held out

    The events are in memory (`InMemorySplit`), or in an event log (`StreamedSplit`), which reads one of the
    four tables into memory where it is asked for. Both give the same users in the same order.
    """

    @property
    def protocol(self) -> str: ...
    @property
    def description(self) -> str:
        """The protocol as text, for the report."""
        ...

    @property
    def train(self) -> pl.DataFrame: ...
    @property
    def validation(self) -> pl.DataFrame: ...
    @property
    def test(self) -> pl.DataFrame: ...
    @property
    def context(self) -> pl.DataFrame: ...
    @property
    def reviews(self) -> pl.DataFrame: ...
    @property
    def cold_items(self) -> frozenset[str]:
        """Items without a training event."""
        ...

    @property
    def cut(self) -> Cut | None:
        """Order of the files of a predefined split in time; None for every other protocol."""
        ...

    @property
    def is_in_memory(self) -> bool:
        """Whether the four tables are in memory."""
        ...

    @property
    def counts(self) -> Mapping[str, int]:
        """Number of events of each part."""
        ...

    @property
    def statistics(self) -> TrainStatistics: ...

    def training(self, builder: HistoryMaker) -> tuple[Mapping[str, History], Callable[[str], Bools]]:
        """Histories of training events, and for a user the mask of the positive ones."""
        ...

    def before_validation(self, builder: HistoryMaker) -> Mapping[str, History]:
        """The histories that may be read when validation events are predicted."""
        ...

    def before_test(self, builder: HistoryMaker) -> Mapping[str, History]:
        """The histories that may be read when test events are predicted."""
        ...

    def validation_items(self, item_ids: IdMap) -> dict[str, Ints]:
        """Items of each user's validation events; users by their first validation event."""
        ...

    def items_before_test(self, item_ids: IdMap) -> Bools:
        """Items with a training or validation event. Shape [N]."""
        ...

    def positive_training(self, item_ids: IdMap) -> Iterator[PositiveEvents]:
        """All positive training events, in blocks of whole users."""
        ...

    def described(self, description: str) -> "Split":
        """The same split with another description."""
        ...

    def testing(self, users: Collection[str]) -> "Split":
        """The same split with the test events of `users` alone."""
        ...

    def with_validation(self) -> "Split":
        """The same split, its validation events moved to training; the test is the same.

        Raises `ConfigError` where the events are not in memory.
        """
        ...

    def in_memory(self) -> "InMemorySplit":
        """The split with all of its tables in memory."""
        ...

    def write(self, directory: Path) -> None:
        """Write `history.parquet` and `ground_truth.parquet`, from which others compute the same metrics.

        The history has the events that may be read at test time, each with its `part` (train, validation or
        context); the ground truth has the test events.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class InMemorySplit:
    """A `Split` whose events are in memory."""

    protocol: str
    description: str
    train: pl.DataFrame
    validation: pl.DataFrame
    test: pl.DataFrame
    context: pl.DataFrame
    reviews: pl.DataFrame
    cold_items: frozenset[str] = frozenset()
    cut: Cut | None = None

    @property
    def is_in_memory(self) -> bool:
        return True

    @property
    def counts(self) -> Mapping[str, int]:
        return {part: getattr(self, part).height for part in (TRAIN, VALIDATION, TEST, CONTEXT)}

    @cached_property
    def statistics(self) -> TrainStatistics:
        return InMemoryTrainStatistics(self.train)

    def training(self, builder: HistoryMaker) -> tuple[Mapping[str, History], Callable[[str], Bools]]:
        ordered = self.train.select(Columns.USER, Columns.POSITIVE, *ORDER).sort(ORDER)
        grouped = ordered.group_by(Columns.USER, maintain_order=True).agg(Columns.POSITIVE)
        positive = {user: np.asarray(flags, np.bool_) for user, flags in grouped.iter_rows()}
        return builder.build(self.train), positive.__getitem__

    def before_validation(self, builder: HistoryMaker) -> Mapping[str, History]:
        known = self.events_before(self.validation, future=self.validation)
        return asking(self, builder.build(known), is_test=False)

    def before_test(self, builder: HistoryMaker) -> Mapping[str, History]:
        return asking(self, builder.build(self.events_before(self.test)), is_test=True)

    def validation_items(self, item_ids: IdMap) -> dict[str, Ints]:
        grouped = self.validation.group_by(Columns.USER, maintain_order=True).agg(Columns.ITEM)
        return {user: item_ids.encode(items) for user, items in grouped.iter_rows()}

    def items_before_test(self, item_ids: IdMap) -> Bools:
        names = pl.concat([self.train[Columns.ITEM], self.validation[Columns.ITEM]]).unique()
        known = np.zeros(item_ids.size, np.bool_)
        known[item_ids.encode(names)] = True
        return known

    def positive_training(self, item_ids: IdMap) -> Iterator[PositiveEvents]:
        events = self.train.filter(Columns.POSITIVE).sort(Columns.USER, *ORDER)
        yield PositiveEvents(
            user=(events[Columns.USER].rank("dense").cast(pl.Int64) - 1).to_numpy(),
            item=encode(events[Columns.ITEM], item_ids),
            timestamp=events[Columns.TIMESTAMP].to_numpy(),
        )

    def described(self, description: str) -> "InMemorySplit":
        return replace(self, description=description)

    def testing(self, users: Collection[str]) -> "InMemorySplit":
        return replace(self, test=self.test.filter(pl.col(Columns.USER).is_in(list(users))))

    def with_validation(self) -> "InMemorySplit":
        return replace(
            self,
            description=f"{self.description} Validation events are training events.",
            train=pl.concat([self.train, self.validation]).sort(ORDER),
            validation=self.validation.clear(),
        )

    def in_memory(self) -> "InMemorySplit":
        return self

    def write(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        rows = {TRAIN: self.train, VALIDATION: self.validation, CONTEXT: self.context}
        parts = pl.concat(
            [frame.select(Columns.ROW, pl.lit(part).alias(PART)) for part, frame in rows.items()]
        )
        history = self.events_before(self.test)
        history = history.join(parts, on=Columns.ROW, how="left", maintain_order="left")
        for name, table in {HISTORY: history, GROUND_TRUTH: self.test}.items():
            with replacing(directory / name) as temporary:
                table.write_parquet(temporary)

    def events_before(self, targets: pl.DataFrame, *, future: pl.DataFrame | None = None) -> pl.DataFrame:
        """The events that may be read when `targets` are predicted, sorted by time and row.

        Training, validation and context events without the events in `future`. A user's context events are
        included if they are before the user's first event among `targets` and `future`.
        """
        future = self.train.clear() if future is None else future
        first = (
            pl.concat([targets, future])
            .sort(ORDER)
            .group_by(Columns.USER)
            .agg(pl.struct(ORDER).first().alias("first"))
        )
        context = self.context.join(first, on=Columns.USER, how="left")
        is_known = pl.col("first").is_null() | (
            (pl.col(Columns.TIMESTAMP) < pl.col("first").struct.field(Columns.TIMESTAMP))
            | (
                (pl.col(Columns.TIMESTAMP) == pl.col("first").struct.field(Columns.TIMESTAMP))
                & (pl.col(Columns.ROW) < pl.col("first").struct.field(Columns.ROW))
            )
        )
        events = pl.concat([self.train, self.validation, context.filter(is_known).drop("first")])
        return events.join(future, on=Columns.ROW, how="anti").sort(ORDER)
