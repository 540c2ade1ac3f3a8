"""A split of an event log: one byte for the part of each event, in files beside the arrays of the log.

The plans of features/splits/protocols.py assign one partition of the users after the other.
"""

import shutil
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl

from features.dataset import HistoryMaker
from features.event_log import Codes, LogSelection, Select, StreamedDataset, map_array, partition_name
from features.splits.assignment import CODES, CONTEXT, ORDER, PART, PARTS, TEST, TRAIN, VALIDATION
from features.splits.protocols import Plan
from features.splits.review_visibility import allowed_reviews
from features.splits.split import GROUND_TRUTH, HISTORY, Cut, InMemorySplit, PositiveEvents, asking
from features.splits.train_statistics import StreamedTrainStatistics
from recsys.arrays import Bools, Ints
from recsys.columns import Columns
from recsys.errors import ConfigError
from recsys.files import replacing
from recsys.history import History
from recsys.ids import NUM_RESERVED, IdMap
from recsys.progress import Progress, silent


@dataclass(frozen=True, kw_only=True)
class StreamedSplit:
    """A `Split` of an event log. A table is read into memory at its first use.

    In memory are counts, reviews, the ids of users, and the items of validation events.
    """

    dataset: StreamedDataset
    folder: Path  # of the part of each event, one file a partition
    protocol: str
    description: str
    reviews: pl.DataFrame
    statistics: StreamedTrainStatistics
    test_users: frozenset[str] | None = None  # None: all

    @property
    def cut(self) -> Cut | None:
        return None

    @property
    def is_in_memory(self) -> bool:
        return False

    @property
    def counts(self) -> Mapping[str, int]:
        return dict(zip(PARTS, self.statistics.part_counts.sum(axis=1).tolist(), strict=True))

    @cached_property
    def cold_items(self) -> frozenset[str]:
        cold = self.statistics.part_counts[CODES[TRAIN], NUM_RESERVED:] == 0
        return frozenset(self.dataset.items[Columns.ITEM].filter(pl.Series(cold)).to_list())

    @cached_property
    def train(self) -> pl.DataFrame:
        return self.events(TRAIN)

    @cached_property
    def validation(self) -> pl.DataFrame:
        return self.events(VALIDATION)

    @cached_property
    def test(self) -> pl.DataFrame:
        events = self.events(TEST)
        if self.test_users is None:
            return events
        return events.filter(pl.col(Columns.USER).is_in(list(self.test_users)))

    @cached_property
    def context(self) -> pl.DataFrame:
        return self.events(CONTEXT)

    def codes(self, number: int) -> Codes:
        """Places in `PARTS` of the events of a partition."""
        return map_array(self.folder / f"{partition_name(number)}.npy")

    def events(self, part: str) -> pl.DataFrame:
        """The events of one part, in memory, sorted by time and row."""
        log, items = self.dataset.log, self.dataset.items[Columns.ITEM]
        frames = []
        for number, partition in enumerate(log.partitions()):
            mask = pl.Series(self.codes(number) == CODES[part])
            frames.append(log.frame(partition, items).filter(mask))
        return pl.concat(frames).sort(ORDER)

    def training(self, builder: HistoryMaker) -> tuple[Mapping[str, History], Callable[[str], Bools]]:
        events = self._selection(training)
        return builder.build_lazily(events), events.positive

    def before_validation(self, builder: HistoryMaker) -> Mapping[str, History]:
        return asking(self, builder.build_lazily(self._selection(before_validation)), is_test=False)

    def before_test(self, builder: HistoryMaker) -> Mapping[str, History]:
        return asking(self, builder.build_lazily(self._selection(before_test)), is_test=True)

    def validation_items(self, item_ids: IdMap) -> dict[str, Ints]:
        frames = []
        for number, partition in enumerate(self.dataset.log.partitions()):
            mask = self.codes(number) == CODES[VALIDATION]
            columns = {"user": partition.user_of_event()[mask]}
            columns |= {name: partition.columns[name][mask] for name in (*ORDER, Columns.ITEM)}
            frames.append(pl.DataFrame(columns))
        ordered = pl.concat(frames).sort(ORDER)
        grouped = ordered.group_by("user", maintain_order=True).agg(Columns.ITEM)
        names = self.dataset.log.users.gather(grouped["user"])
        items = grouped[Columns.ITEM]
        return {name: np.asarray(own, np.int64) for name, own in zip(names, items, strict=True)}

    def items_before_test(self, item_ids: IdMap) -> Bools:
        counts = self.statistics.part_counts
        known: Bools = (counts[CODES[TRAIN]] + counts[CODES[VALIDATION]]) > 0
        return known

    def positive_training(self, item_ids: IdMap) -> Iterator[PositiveEvents]:
        number_of_user = np.cumsum(self.statistics.has_positive) - 1
        for number, partition in enumerate(self.dataset.log.partitions()):
            columns = partition.columns
            mask = (self.codes(number) == CODES[TRAIN]) & columns[Columns.POSITIVE]
            yield PositiveEvents(
                user=number_of_user[partition.user_of_event()[mask]],
                item=columns[Columns.ITEM][mask].astype(np.int64),
                timestamp=columns[Columns.TIMESTAMP][mask],
            )

    def described(self, description: str) -> "StreamedSplit":
        return replace(self, description=description)

    def testing(self, users: Collection[str]) -> "StreamedSplit":
        return replace(self, test_users=frozenset(users))

    def with_validation(self) -> "StreamedSplit":
        raise ConfigError(
            "evaluate.with_validation = true needs all events in memory, and this split is of an event log; "
            "set data.stream_above above the number of events, or evaluate.with_validation = false"
        )

    def in_memory(self) -> InMemorySplit:
        tables = {part: getattr(self, part) for part in (TRAIN, VALIDATION, TEST, CONTEXT)}
        return InMemorySplit(
            protocol=self.protocol,
            description=self.description,
            reviews=self.reviews,
            cold_items=self.cold_items,
            **tables,
        )

    def write(self, directory: Path) -> None:
        """As `InMemorySplit.write`, but the history is sorted by partition, user, time and row."""
        directory.mkdir(parents=True, exist_ok=True)
        with replacing(directory / GROUND_TRUTH) as temporary:
            self.test.write_parquet(temporary)
        log, items, written = self.dataset.log, self.dataset.items[Columns.ITEM], []
        for number, partition in enumerate(log.partitions()):
            codes = self.codes(number)
            known = before_test(codes, partition.start, partition.stop)
            named = pl.Series(PARTS, dtype=pl.String).gather(codes.astype(np.uint32)).alias(PART)
            frame = log.frame(partition, items).with_columns(named).filter(pl.Series(known))
            written.append(directory / f".history-{number:04}.parquet.tmp")
            frame.write_parquet(written[-1])
        with replacing(directory / HISTORY) as temporary:
            pl.scan_parquet(written, glob=False).sink_parquet(temporary)
        for path in written:
            path.unlink()

    def _selection(self, select: Select) -> LogSelection:
        return LogSelection(self.dataset.log, self.dataset.items[Columns.ITEM], self.codes, select)


def training(codes: Codes, start: Ints, stop: Ints) -> Bools:
    """Selects training events."""
    is_train: Bools = codes == CODES[TRAIN]
    return is_train


def before_validation(codes: Codes, start: Ints, stop: Ints) -> Bools:
    """Selects the events of `InMemorySplit.before_validation`."""
    known: Bools = (codes == CODES[TRAIN]) | _context_before(codes, start, stop, VALIDATION)
    return known


def before_test(codes: Codes, start: Ints, stop: Ints) -> Bools:
    """Selects the events of `InMemorySplit.before_test`."""
    known: Bools = (codes == CODES[TRAIN]) | (codes == CODES[VALIDATION])
    return known | _context_before(codes, start, stop, TEST)


def _context_before(codes: Codes, start: Ints, stop: Ints, target: str) -> Bools:
    """Context events before the user's first target; all of them where there is no target."""
    place = np.arange(len(codes))
    target_place = np.where(codes == CODES[target], place, len(codes))
    first = np.minimum.reduceat(target_place, start) if len(start) else target_place
    known: Bools = (codes == CODES[CONTEXT]) & (place < np.repeat(first, stop - start))
    return known


def split_log(
    dataset: StreamedDataset, plan: Plan, folder: Path, *, progress: Progress = silent
) -> StreamedSplit:
    """The split of a plan, its parts written into `folder`; any part may be empty."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    log, items = dataset.log, dataset.items[Columns.ITEM]
    statistics = StreamedTrainStatistics(log)
    reviewers = dataset.reviews.select(Columns.USER).unique()
    held: list[pl.DataFrame] = []
    pair = [Columns.USER, Columns.ITEM]
    for number, partition in enumerate(log.partitions()):
        parts = plan.assign(log.frame(partition, items))
        parts = parts.sort(Columns.USER, Columns.TIMESTAMP, Columns.ROW)
        codes = parts[PART].replace_strict(CODES, return_dtype=pl.UInt8).to_numpy()
        np.save(folder / f"{partition_name(number)}.npy", codes)
        trained = parts.filter(pl.col(PART) == TRAIN).join(dataset.reviews, on=pair, how="semi")
        statistics.add(partition, codes, trained)
        held_here = parts.filter(pl.col(PART).is_in(plan.held)).join(reviewers, on=Columns.USER, how="semi")
        held.append(held_here.select(Columns.USER, Columns.ITEM, Columns.TIMESTAMP, PART))
        progress("split", number + 1, log.manifest.num_partitions)
    reviews, words = allowed_reviews(dataset, pl.concat(held), plan.rule)
    return StreamedSplit(
        dataset=dataset,
        folder=folder,
        protocol=plan.protocol,
        description=" ".join([plan.description, words]).strip(),
        reviews=reviews,
        statistics=statistics,
    )
