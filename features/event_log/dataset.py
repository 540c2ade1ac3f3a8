"""A `Dataset` whose interactions are in an event log on disk."""

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl

from features.dataset import (
    Dataset,
    DatasetSpec,
    DatasetTables,
    EventsTable,
    EventStatistics,
    EventSummary,
    HistoryMaker,
    InteractionsSpec,
    fingerprint_of,
    load_dataset,
    require_interactions,
)
from features.event_log.build import PART_ROWS, PARTITION_EVENTS, build_log
from features.event_log.log import EventLog
from features.event_log.selection import LogSelection
from features.event_log.source import estimate_events
from recsys.arrays import Ints
from recsys.columns import Columns
from recsys.config import DataConfig, microseconds_of
from recsys.errors import ConfigError, DataError
from recsys.history import History
from recsys.ids import NUM_RESERVED
from recsys.progress import Progress, silent

logger = logging.getLogger(__name__)
_IN_MEMORY = (
    "data.until needs the events in memory, and these are in an event log; set data.stream_above above their "
    "number"
)
_BINS = 1 << 16  # of a histogram of times, which takes 512 KiB


@dataclass(frozen=True, kw_only=True)
class StreamedDataset(DatasetTables):
    """A `Dataset` whose interactions are in an event log on disk.

    `rejected` has the entries of the other tables. The rejected rows of the log are in the file
    `rejected.parquet` of the log; `log.manifest` has their counts.
    """

    log: EventLog

    @classmethod
    def of(cls, tables: DatasetTables, log: EventLog) -> "StreamedDataset":
        """A dataset with the tables of `tables` and the events of `log`, and the warnings of both."""
        shared = {each.name: getattr(tables, each.name) for each in fields(DatasetTables)}
        return cls(**shared | {"warnings": (*tables.warnings, *log.manifest.warnings)}, log=log)

    @property
    def has_interactions(self) -> bool:
        return True

    @cached_property
    def interactions(self) -> pl.DataFrame:
        logger.warning("all %d events of the log are read into memory", self.log.manifest.num_events)
        return self.log.interactions(self.items[Columns.ITEM])

    @property
    def event_statistics(self) -> EventStatistics:
        return StreamedEventStatistics(self.items, self.log, has_clock=self.has_clock)

    def event_summary(self) -> EventSummary:
        manifest = self.log.manifest
        counts = pl.Series("len", self.log.item_counts[NUM_RESERVED:, 0])
        kinds = zip(manifest.kinds, manifest.kind_counts, strict=True)
        return EventSummary(
            num_events=manifest.num_events,
            num_positive=manifest.num_positive,
            num_tied=manifest.num_tied,
            first=manifest.first_timestamp,
            last=manifest.last_timestamp,
            kinds=dict(sorted(kinds, key=lambda kind: (-kind[1], kind[0]))),
            by_item=pl.DataFrame([self.items[Columns.ITEM], counts]).filter(pl.col("len") > 0),
            reasons=tuple(manifest.rejected),
        )

    def history_lengths(self) -> Ints:
        return self.log.lengths

    def event_times(self) -> pl.Series:
        times = [partition.columns[Columns.TIMESTAMP] for partition in self.log.partitions()]
        return pl.Series(Columns.TIMESTAMP, np.concatenate(times))

    def events_of_pairs(self, pairs: pl.DataFrame) -> pl.DataFrame:
        pair, items = [Columns.USER, Columns.ITEM], self.items[Columns.ITEM]
        frames = (self.log.frame(partition, items) for partition in self.log.partitions())
        return pl.concat([frame.join(pairs, on=pair, how="semi") for frame in frames])

    def fingerprint(self) -> str:
        """As `Dataset.fingerprint`, with names, sizes, ends and times of change of the log's files."""
        return fingerprint_of(self, json.dumps(self.log.manifest.fingerprint, sort_keys=True).encode())

    def histories(self, builder: HistoryMaker) -> Mapping[str, History]:
        return builder.build_lazily(LogSelection(self.log, self.items[Columns.ITEM]))

    def before(self, time: int) -> Dataset:
        raise ConfigError(_IN_MEMORY)

    def write_rejected_interactions(self, path: Path) -> bool:
        self.log.write_rejected(path)
        return True


class StreamedEventStatistics:
    """`EventStatistics` of an event log."""

    def __init__(self, items: pl.DataFrame, log: EventLog, *, has_clock: bool) -> None:
        self.has_clock, self.items = has_clock, items
        self._log = log

    @property
    def positive_items(self) -> pl.Series:
        return self.items[Columns.ITEM].filter(pl.Series(self._log.item_counts[NUM_RESERVED:, 1] > 0))

    @property
    def num_positive(self) -> int:
        return self._log.manifest.num_positive

    def positive_time(self, rank: int) -> int:
        manifest = self._log.manifest
        return nth_smallest(self._positive_times, rank, manifest.first_timestamp, manifest.last_timestamp)

    def num_returning_users(self, start: int, end: int | None) -> int:
        found = 0
        for partition in self._log.partitions():
            positive = partition.columns[Columns.POSITIVE]
            time = partition.columns[Columns.TIMESTAMP][positive]
            user = partition.user_of_event()[positive]
            inside = (time >= start) & (time < end) if end is not None else time >= start
            found += len(np.intersect1d(user[time < start], user[inside]))
        return found

    def _positive_times(self) -> Iterator[Ints]:
        for partition in self._log.partitions():
            yield partition.columns[Columns.TIMESTAMP][partition.columns[Columns.POSITIVE]]


def nth_smallest(chunks: Callable[[], Iterator[Ints]], rank: int, low: int, high: int) -> int:
    """The value with this rank, counted from 0, among the values of all chunks, which are in [low, high].

    The first pass counts the values in bins. The second pass partitions the values of the bin with the rank.
    """
    width = (high - low) // _BINS + 1
    counts = np.zeros(_BINS, np.int64)
    for values in chunks():
        counts += np.bincount((values - low) // width, minlength=_BINS)
    ends = np.cumsum(counts)
    chosen = int(np.searchsorted(ends, rank, side="right"))
    inside = np.concatenate([values[(values - low) // width == chosen] for values in chunks()])
    rank_inside = rank - int(ends[chosen] - counts[chosen])
    return int(np.partition(inside, rank_inside)[rank_inside])


def open_dataset(root: Path, config: DataConfig, *, cache_dir: Path, progress: Progress = silent) -> Dataset:
    """The dataset in the folder `root`, in memory or as an event log on disk.

    With more than `config.stream_above` events, the log is prepared in `cache_dir`. The number of events in
    text files is estimated from their sizes. With `config.until` it is the dataset as it was at that time;
    raises `ConfigError` for an event log.
    """
    root = root.resolve()
    try:
        interactions = DatasetSpec.load(root).interactions
        num_events = estimate_events(root, interactions) if interactions is not None else 0
    except DataError:
        num_events = 0  # `load_dataset` reports this problem together with the others
    if num_events <= config.stream_above:
        dataset = load_dataset(root)
        return dataset if config.until is None else dataset.before(microseconds_of(config.until))
    if config.until is not None:
        raise ConfigError(_IN_MEMORY)
    where = hashlib.sha256(str(root).encode()).hexdigest()[:12]
    return load_streamed(root, cache_dir / "prepared" / f"{root.name}-{where}", progress=progress)


def load_streamed(
    root: Path,
    out: Path,
    *,
    part_rows: int = PART_ROWS,
    partition_events: int = PARTITION_EVENTS,
    progress: Progress = silent,
) -> StreamedDataset:
    """The dataset in the folder `root`, with its interactions as an event log in `out`.

    Raises `DataError` as `load_dataset` does, and where the dataset has no interactions.
    """
    require_interactions(root)
    prepared: list[EventLog] = []

    def read(spec: InteractionsSpec, items: pl.Series | None) -> EventsTable:
        if items is not None and not len(items):
            raise DataError("the interactions cannot be checked without items", ["[interactions] not read"])
        log = build_log(
            root.resolve(), spec, items, out,
            part_rows=part_rows, partition_events=partition_events, progress=progress,
        )  # fmt: skip
        prepared.append(log)
        return EventsTable(events=log.users_by_first_event(), item_ids=log.item_ids)

    return StreamedDataset.of(load_dataset(root, read), prepared[0])
