"""Statistics of all training events: counts, kinds, users, mean and deviation of the values."""

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import numpy.typing as npt
import polars as pl

from features.dataset import encode
from features.event_log import Codes, EventLog, Partition
from features.splits.assignment import CODES, PARTS, TRAIN
from recsys.arrays import Bools, Ints
from recsys.columns import Columns
from recsys.history import EVENT_NUMBERS
from recsys.ids import NUM_RESERVED, IdMap


class TrainStatistics(Protocol):
    """Statistics of training events in memory, or in an event log."""

    @property
    def kinds(self) -> list[str]:
        """Kinds of events, sorted."""
        ...

    @property
    def users(self) -> pl.DataFrame:
        """Users with an event, each once."""
        ...

    @property
    def number_scales(self) -> dict[str, tuple[float, float]]:
        """Mean and standard deviation of each of `EVENT_NUMBERS`; 0 and 1 where no event has one."""
        ...

    def item_counts(self, item_ids: IdMap) -> Ints:
        """Events and positive events of each item. Shape [N, 2]."""
        ...

    def has_event(self, pairs: pl.DataFrame) -> Bools:
        """Whether there is an event of the user and item of each row of `pairs`, which are of reviews."""
        ...


class InMemoryTrainStatistics:
    """`TrainStatistics` of a frame with the columns of `Dataset.interactions`."""

    def __init__(self, events: pl.DataFrame) -> None:
        self._events = events

    @property
    def kinds(self) -> list[str]:
        kinds: list[str] = self._events[Columns.EVENT].unique().sort().to_list()
        return kinds

    @property
    def users(self) -> pl.DataFrame:
        return self._events.select(Columns.USER).unique()

    @cached_property
    def number_scales(self) -> dict[str, tuple[float, float]]:
        known = {name: self._events[name].drop_nulls().to_numpy() for name in EVENT_NUMBERS}
        return {
            name: (float(numbers.mean()), float(numbers.std())) if len(numbers) else (0.0, 1.0)
            for name, numbers in known.items()
        }

    def item_counts(self, item_ids: IdMap) -> Ints:
        rows = encode(self._events[Columns.ITEM], item_ids)
        positive = self._events[Columns.POSITIVE].to_numpy()
        counts = [np.bincount(each, minlength=item_ids.size) for each in (rows, rows[positive])]
        return np.stack(counts, axis=1)

    def has_event(self, pairs: pl.DataFrame) -> Bools:
        pair = [Columns.USER, Columns.ITEM]
        known = self._events.select(pair).join(pairs, on=pair, how="semi").unique()
        joined = pairs.join(known.with_columns(found=True), on=pair, how="left", maintain_order="left")
        found: Bools = joined["found"].fill_null(False).to_numpy()
        return found


@dataclass
class Moments:
    """Count, mean and sum of squared deviations of numbers that come in chunks; NaN is left out."""

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0

    def add(self, numbers: npt.NDArray[np.float64]) -> None:
        """Chan, Golub and LeVeque 1983: the moments of a union from those of two sets."""
        numbers = numbers[~np.isnan(numbers)]
        if not len(numbers):
            return
        count, mean = self.count + len(numbers), float(numbers.mean())
        shift = mean - self.mean
        self.squares += float(((numbers - mean) ** 2).sum())
        self.squares += shift**2 * self.count * len(numbers) / count
        self.mean += shift * len(numbers) / count
        self.count = count

    @property
    def scale(self) -> tuple[float, float]:
        """Mean and standard deviation; 0 and 1 without any number."""
        return (self.mean, float(np.sqrt(self.squares / self.count))) if self.count else (0.0, 1.0)


class StreamedTrainStatistics:
    """`TrainStatistics` of a split event log, and the number of events of each part by item.

    part_counts      [number of PARTS, N] events
    train_positive   [N] positive training events
    has_positive     [U] users with a positive training event
    """

    def __init__(self, log: EventLog) -> None:
        self._log = log
        num_items = log.manifest.num_items + NUM_RESERVED
        self.part_counts: Ints = np.zeros((len(PARTS), num_items), np.int64)
        self.train_positive: Ints = np.zeros(num_items, np.int64)
        self._kind_counts = np.zeros(log.kinds.size, np.int64)
        self._has_train = np.zeros(log.manifest.num_users, np.bool_)
        self.has_positive: Bools = np.zeros(log.manifest.num_users, np.bool_)
        self._moments = {name: Moments() for name in EVENT_NUMBERS}
        self._reviewed: list[pl.DataFrame] = []

    def add(self, partition: Partition, codes: Codes, reviewed: pl.DataFrame) -> None:
        """Count a partition; `reviewed` are its training events of (user, item) pairs with a review."""
        self._reviewed.append(reviewed)
        columns, size = partition.columns, len(self.train_positive)
        item, train = columns[Columns.ITEM], codes == CODES[TRAIN]
        place = codes.astype(np.int64) * size + item
        self.part_counts += np.bincount(place, minlength=len(PARTS) * size).reshape(len(PARTS), size)
        positive, user = train & columns[Columns.POSITIVE], partition.user_of_event()
        self.train_positive += np.bincount(item[positive], minlength=size)
        self._kind_counts += np.bincount(columns[Columns.EVENT][train], minlength=len(self._kind_counts))
        self._has_train[user[train]] = True
        self.has_positive[user[positive]] = True
        for name, moments in self._moments.items():
            moments.add(columns[name][train].astype(np.float64))

    @property
    def kinds(self) -> list[str]:
        trained = self._kind_counts[NUM_RESERVED:] > 0
        return [kind for kind, has in zip(self._log.manifest.kinds, trained.tolist(), strict=True) if has]

    @property
    def users(self) -> pl.DataFrame:
        return self._log.users.filter(pl.Series(self._has_train)).to_frame()

    @property
    def number_scales(self) -> dict[str, tuple[float, float]]:
        return {name: moments.scale for name, moments in self._moments.items()}

    def item_counts(self, item_ids: IdMap) -> Ints:
        assert item_ids.size == len(self.train_positive), "the event log has other items"
        return np.stack([self.part_counts[CODES[TRAIN]], self.train_positive], axis=1)

    def has_event(self, pairs: pl.DataFrame) -> Bools:
        return self._of_reviews.has_event(pairs)

    @cached_property
    def _of_reviews(self) -> InMemoryTrainStatistics:
        return InMemoryTrainStatistics(pl.concat(self._reviewed))


def statistics_of(train: pl.DataFrame | TrainStatistics) -> TrainStatistics:
    """Statistics of a frame of training events; statistics as they are."""
    return InMemoryTrainStatistics(train) if isinstance(train, pl.DataFrame) else train
