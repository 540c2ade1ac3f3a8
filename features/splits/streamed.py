"""A split of a prepared log: one byte an event says its part, beside the log's own arrays.

Protocols are those of features/splits/protocols.py, given one partition of the users after the other.
"""

import logging
import shutil
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from features.dataset.tables import Dataset, Split
from features.event_log.dataset import StreamedDataset
from features.event_log.log import (
    Partition,
    PreparedLog,
    map_array,
    partition_name,
)
from features.splits.assignment import (
    CONTEXT,
    NOWHERE,
    PART,
    TEST,
    TRAIN,
    VALIDATION,
)
from features.splits.make import check_split, choose_protocol, make_split
from features.splits.protocols import Plan, make_plan
from features.splits.review_visibility import allowed_reviews
from features.splits.train_statistics import FrameFacts
from recsys.arrays import Bools, Ints
from recsys.columns import Columns
from recsys.config import SplitConfig
from recsys.ids import NUM_RESERVED, IdMap
from recsys.progress import Progress, silent

logger = logging.getLogger(__name__)
PARTS = (TRAIN, VALIDATION, TEST, CONTEXT, NOWHERE)
CODES = {part: code for code, part in enumerate(PARTS)}
_BINS = 1 << 16


class StreamedSplit(Split):
    """The same tables; each is in memory only where somebody asks for it.

    `codes(number)` are the places in `PARTS` of the events of a partition.
    """

    dataset: StreamedDataset
    folder: Path
    counts: dict[str, int]  # events by part
    facts: "SplitFacts"

    def __init__(
        self,
        dataset: StreamedDataset,
        folder: Path,
        *,
        protocol: str,
        description: str,
        reviews: pl.DataFrame,
        facts: "SplitFacts",
    ) -> None:
        cold = facts.part_counts[CODES[TRAIN], NUM_RESERVED:] == 0
        values = {
            "dataset": dataset,
            "folder": folder,
            "protocol": protocol,
            "description": description,
            "reviews": reviews,
            "facts": facts,
            "counts": dict(zip(PARTS, facts.part_counts.sum(axis=1).tolist(), strict=True)),
            "cold_items": frozenset(dataset.items[Columns.ITEM].filter(pl.Series(cold)).to_list()),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def described(self, description: str) -> "StreamedSplit":
        """The same split in other words."""
        object.__setattr__(self, "description", description)
        return self

    def in_memory(self) -> Split:
        """All of its tables at once."""
        return Split(
            protocol=self.protocol,
            description=self.description,
            train=self.train,
            validation=self.validation,
            test=self.test,
            context=self.context,
            reviews=self.reviews,
            cold_items=self.cold_items,
        )

    def codes(self, number: int) -> npt.NDArray[np.uint8]:
        return map_array(self.folder / f"{partition_name(number)}.npy")

    @cached_property
    def train(self) -> pl.DataFrame:
        return self.events(TRAIN)

    @cached_property
    def validation(self) -> pl.DataFrame:
        return self.events(VALIDATION)

    @cached_property
    def test(self) -> pl.DataFrame:
        return self.events(TEST)

    @cached_property
    def context(self) -> pl.DataFrame:
        return self.events(CONTEXT)

    def events(self, part: str) -> pl.DataFrame:
        """The events of one part, in memory, sorted by time and row."""
        log, items = self.dataset.log, self.dataset.items[Columns.ITEM]
        frames = []
        for number, partition in enumerate(log.partitions()):
            mask = pl.Series(self.codes(number) == CODES[part])
            frames.append(log.frame(partition, items).filter(mask))
        return pl.concat(frames).sort(Columns.TIMESTAMP, Columns.ROW)


class SplitFacts:
    """`TrainFacts` of a split log, and the number of events of each part by item.

    part_counts      [number of PARTS, N] events
    train_positive   [N] positive training events
    """

    def __init__(self, log: PreparedLog) -> None:
        self._log = log
        num_items = log.manifest.num_items + NUM_RESERVED
        self.part_counts: Ints = np.zeros((len(PARTS), num_items), np.int64)
        self.train_positive: Ints = np.zeros(num_items, np.int64)
        self._kind_counts = np.zeros(log.kinds.size, np.int64)
        self._has_train = np.zeros(log.manifest.num_users, np.bool_)
        self._num_values, self._mean, self._squares = 0, 0.0, 0.0
        self._reviewed: list[pl.DataFrame] = []

    def add(self, partition: Partition, codes: npt.NDArray[np.uint8], reviewed: pl.DataFrame) -> None:
        """Count a partition; `reviewed` are its training events of (user, item) pairs with a review."""
        self._reviewed.append(reviewed)
        columns, size = partition.columns, len(self.train_positive)
        item, train = columns[Columns.ITEM], codes == CODES[TRAIN]
        place = codes.astype(np.int64) * size + item
        self.part_counts += np.bincount(place, minlength=len(PARTS) * size).reshape(len(PARTS), size)
        self.train_positive += np.bincount(item[train & columns[Columns.POSITIVE]], minlength=size)
        self._kind_counts += np.bincount(columns[Columns.EVENT][train], minlength=len(self._kind_counts))
        self._has_train[partition.user_of_event()[train]] = True
        values = columns[Columns.VALUE][train].astype(np.float64)
        values = values[~np.isnan(values)]
        if len(values):  # Chan, Golub and LeVeque 1983: moments of two sets from those of each
            number, mean = self._num_values + len(values), float(values.mean())
            shift = mean - self._mean
            self._squares += float(((values - mean) ** 2).sum())
            self._squares += shift**2 * self._num_values * len(values) / number
            self._mean += shift * len(values) / number
            self._num_values = number

    @property
    def kinds(self) -> list[str]:
        trained = self._kind_counts[NUM_RESERVED:] > 0
        return [kind for kind, has in zip(self._log.manifest.kinds, trained.tolist(), strict=True) if has]

    @property
    def users(self) -> pl.DataFrame:
        return self._log.users.filter(pl.Series(self._has_train)).to_frame()

    @property
    def value_scale(self) -> tuple[float, float]:
        if not self._num_values:
            return 0.0, 1.0
        return self._mean, float(np.sqrt(self._squares / self._num_values))

    def item_counts(self, item_ids: IdMap) -> Ints:
        assert item_ids.size == len(self.train_positive), "the log knows other items"
        return np.stack([self.part_counts[CODES[TRAIN]], self.train_positive], axis=1)

    def has_event(self, pairs: pl.DataFrame) -> Bools:
        return self._of_reviews.has_event(pairs)

    @cached_property
    def _of_reviews(self) -> FrameFacts:
        return FrameFacts(pl.concat(self._reviewed))

    @property
    def known(self) -> Bools:
        """Items with a training or validation event. Shape [N]."""
        known: Bools = (self.part_counts[CODES[TRAIN]] + self.part_counts[CODES[VALIDATION]]) > 0
        return known


class LogOverview:
    """`Overview` of a prepared log."""

    def __init__(self, dataset: StreamedDataset) -> None:
        self.has_clock, self.items = dataset.has_clock, dataset.items
        self._log = dataset.log

    @property
    def bought(self) -> pl.Series:
        return self.items[Columns.ITEM].filter(pl.Series(self._log.item_counts[NUM_RESERVED:, 1] > 0))

    @property
    def num_positive(self) -> int:
        return self._log.manifest.num_positive

    def positive_time(self, place: int) -> int:
        manifest = self._log.manifest
        return nth_smallest(self._positive_times, place, manifest.first_timestamp, manifest.last_timestamp)

    def _positive_times(self) -> Iterator[Ints]:
        for partition in self._log.partitions():
            yield partition.columns[Columns.TIMESTAMP][partition.columns[Columns.POSITIVE]]


def nth_smallest(parts: Callable[[], Iterator[Ints]], place: int, low: int, high: int) -> int:
    """The value in that place of the order of all parts' values, which lie in [low, high].

    Two passes: one counts values in bins, one sorts those of the bin that holds the place.
    """
    width = (high - low) // _BINS + 1
    counts = np.zeros(_BINS, np.int64)
    for values in parts():
        counts += np.bincount((values - low) // width, minlength=_BINS)
    ends = np.cumsum(counts)
    chosen = int(np.searchsorted(ends, place, side="right"))
    inside = np.concatenate([values[(values - low) // width == chosen] for values in parts()])
    rank = place - int(ends[chosen] - counts[chosen])
    return int(np.partition(inside, rank)[rank])


def split_dataset(
    dataset: Dataset, config: SplitConfig, folder: Path, *, progress: Progress = silent
) -> Split:
    """The split of a dataset in memory, or of one whose log is prepared."""
    if isinstance(dataset, StreamedDataset):
        return make_streamed_split(dataset, config, folder, progress=progress)
    return make_split(dataset, config)


def make_streamed_split(
    dataset: StreamedDataset, config: SplitConfig, folder: Path, *, progress: Progress = silent
) -> Split:
    """What `make_split` gives; the parts are written into `folder`, a partition at a time.

    A given split is matched in memory, since its files name events of any user.
    """
    protocol, _ = choose_protocol(dataset, config)
    if protocol == "given":
        logger.warning("a given split is matched in memory: all %d events", dataset.log.manifest.num_events)
        return make_split(dataset, config)
    plan = make_plan(protocol, LogOverview(dataset), config)
    split = split_log(dataset, plan, folder, progress=progress)
    check_split(protocol, split.counts)
    return split


def split_log(
    dataset: StreamedDataset, plan: Plan, folder: Path, *, progress: Progress = silent
) -> StreamedSplit:
    """The split of a plan, whatever it leaves empty."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    log, items = dataset.log, dataset.items[Columns.ITEM]
    facts = SplitFacts(log)
    reviewers = dataset.reviews.select(Columns.USER).unique()
    held: list[pl.DataFrame] = []
    pair = [Columns.USER, Columns.ITEM]
    for number, partition in enumerate(log.partitions()):
        parts = plan.assign(log.frame(partition, items))
        parts = parts.sort(Columns.USER, Columns.TIMESTAMP, Columns.ROW)
        codes = parts[PART].replace_strict(CODES, return_dtype=pl.UInt8).to_numpy()
        np.save(folder / f"{partition_name(number)}.npy", codes)
        trained = parts.filter(pl.col(PART) == TRAIN).join(dataset.reviews, on=pair, how="semi")
        facts.add(partition, codes, trained)
        mine = parts.filter(pl.col(PART).is_in(plan.held)).join(reviewers, on=Columns.USER, how="semi")
        held.append(mine.select(Columns.USER, Columns.ITEM, Columns.TIMESTAMP, PART))
        progress("split", number + 1, log.manifest.num_partitions)
    reviews, words = allowed_reviews(dataset, pl.concat(held), plan.rule)
    return StreamedSplit(
        dataset,
        folder,
        protocol=plan.protocol,
        description=" ".join([plan.description, words]).strip(),
        reviews=reviews,
        facts=facts,
    )
