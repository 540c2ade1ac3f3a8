"""A `Dataset` whose interactions lie in a prepared log."""

import hashlib
import json
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl

from features.dataset.load import load_dataset
from features.dataset.rejected import EventSummary
from features.dataset.schema import DatasetSpec, InteractionsSpec
from features.dataset.tables import Dataset
from features.event_log.build import PART_ROWS, PARTITION_EVENTS, prepare_log
from features.event_log.log import PreparedLog
from features.event_log.source import estimate_events
from recsys.arrays import Ints
from recsys.columns import Columns
from recsys.config import DataConfig
from recsys.errors import DataError
from recsys.ids import NUM_RESERVED
from recsys.progress import Progress, silent


class StreamedDataset(Dataset):
    """The same tables; the interactions are in memory only where somebody asks for all of them at once.

    `rejected` has the entries of the other tables; those of the log are counted in `log.manifest` and
    stand in its `rejected.parquet`.
    """

    log: PreparedLog

    def __init__(self, tables: Dataset, log: PreparedLog) -> None:
        # The frozen base sets its fields in this way, too.
        for name, value in vars(tables).items():
            if name != "interactions":
                object.__setattr__(self, name, value)
        object.__setattr__(self, "warnings", (*tables.warnings, *log.manifest.warnings))
        object.__setattr__(self, "log", log)

    @cached_property
    def interactions(self) -> pl.DataFrame:
        """All events in memory."""
        return self.log.interactions(self.items[Columns.ITEM])


def event_summary(dataset: Dataset) -> EventSummary:
    """What is told of all events, without reading those of a prepared log."""
    if not isinstance(dataset, StreamedDataset):
        return EventSummary.of(dataset.interactions)
    manifest = dataset.log.manifest
    counts = pl.Series("len", dataset.log.item_counts[NUM_RESERVED:, 0])
    kinds = zip(manifest.kinds, manifest.kind_counts, strict=True)
    return EventSummary(
        num_events=manifest.num_events,
        num_positive=manifest.num_positive,
        num_tied=manifest.num_tied,
        first=manifest.first_timestamp,
        last=manifest.last_timestamp,
        kinds=dict(sorted(kinds, key=lambda kind: (-kind[1], kind[0]))),
        by_item=pl.DataFrame([dataset.items[Columns.ITEM], counts]).filter(pl.col("len") > 0),
        reasons=tuple(manifest.rejected),
    )


def history_lengths(dataset: Dataset) -> Ints:
    """Events of each user, in no order."""
    if isinstance(dataset, StreamedDataset):
        return dataset.log.lengths
    return dataset.interactions.group_by(Columns.USER).len()["len"].cast(pl.Int64).to_numpy()


def event_times(dataset: Dataset) -> pl.Series:
    """Timestamps of all events, in no order: eight bytes an event."""
    if not isinstance(dataset, StreamedDataset):
        return dataset.interactions[Columns.TIMESTAMP]
    times = [partition.columns[Columns.TIMESTAMP] for partition in dataset.log.partitions()]
    return pl.Series(Columns.TIMESTAMP, np.concatenate(times))


def events_of_pairs(dataset: Dataset, pairs: pl.DataFrame) -> pl.DataFrame:
    """Events of the (user, item) pairs of `pairs`; of a prepared log no others are in memory at once."""
    pair = [Columns.USER, Columns.ITEM]
    if not isinstance(dataset, StreamedDataset):
        return dataset.interactions.join(pairs, on=pair, how="semi")
    log, items = dataset.log, dataset.items[Columns.ITEM]
    return pl.concat(
        [log.frame(partition, items).join(pairs, on=pair, how="semi") for partition in log.partitions()]
    )


def fingerprint(dataset: Dataset) -> str:
    """Changes with any interaction, and with any item's id, title or text, on whatever machine they lie.

    Of a prepared log it changes with its files: their names, sizes, ends and times of change.
    """
    digest = hashlib.sha256(dataset.name.encode())
    frames = [dataset.items.select(Columns.ITEM, Columns.TITLE, Columns.TEXT)]
    if isinstance(dataset, StreamedDataset):
        digest.update(json.dumps(dataset.log.manifest.fingerprint, sort_keys=True).encode())
    else:
        frames.append(dataset.interactions)
    for frame in frames:
        digest.update(frame.hash_rows(seed=0).to_numpy().tobytes())
    return digest.hexdigest()


def open_dataset(root: Path, config: DataConfig, *, cache_dir: Path, progress: Progress = silent) -> Dataset:
    """The dataset in the folder `root`: in memory, or where its log is too large prepared in `cache_dir`.

    The number of events in text files is estimated from their sizes.
    """
    root = root.resolve()
    try:
        num_events = estimate_events(root, DatasetSpec.load(root).interactions)
    except DataError:
        num_events = 0  # reading it says what is wrong, and what else is
    if num_events <= config.stream_above:
        return load_dataset(root)
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
    """The dataset in the folder `root`, its interactions prepared in `out`.

    Raises `DataError` with what `load_dataset` would find.
    """
    prepared: list[PreparedLog] = []

    def read(spec: InteractionsSpec, items: pl.Series | None) -> pl.DataFrame:
        if items is None or not len(items):
            raise DataError("the interactions cannot be checked without items", ["[interactions] not read"])
        log = prepare_log(
            root.resolve(), spec, items, out,
            part_rows=part_rows, partition_events=partition_events, progress=progress,
        )  # fmt: skip
        prepared.append(log)
        return log.users_by_first_event()

    return StreamedDataset(load_dataset(root, read), prepared[0])
