"""A `Dataset` whose interactions lie in a prepared log."""

from functools import cached_property
from pathlib import Path

import polars as pl

from features.dataset import load_dataset
from features.prepared.log import PreparedLog
from features.prepared.prepare import PART_ROWS, PARTITION_EVENTS, prepare_log
from features.schema import InteractionsSpec
from features.tables import Dataset
from recsys.columns import Columns
from recsys.errors import DataError
from recsys.progress import Progress, silent


class StreamedDataset(Dataset):
    """The same tables; the interactions are in memory only where somebody asks for all of them at once.

    `set_aside` has the entries of the other tables; those of the log are counted in `log.manifest` and
    stand in its `set_aside.parquet`.
    """

    log: PreparedLog

    def __init__(self, tables: Dataset, log: PreparedLog) -> None:
        # The frozen base sets its fields in this way, too.
        for name, value in vars(tables).items():
            if name != "interactions":
                object.__setattr__(self, name, value)
        object.__setattr__(self, "log", log)

    @cached_property
    def interactions(self) -> pl.DataFrame:
        """All events in memory."""
        return self.log.interactions(self.items[Columns.ITEM])


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
