"""An event log: all events in memory-mapped arrays. A partition is sorted by user, time and row.

    manifest.json       format version, fingerprint of the sources, counts, kinds of events
    users.parquet       user_id (sorted; the id map), partition, start, stop, first_timestamp, first_row
    items.parquet       item_id: the id map of the items
    item_counts.npy     [N, 2] events and positive events by item id
    part-0007/          one partition of the users
        item_id.npy (uint32) timestamp.npy (int64) event.npy (uint8 or wider) value.npy (float32, NaN for a
        missing value) positive.npy (bool) row.npy (int64)
    rejected.parquet    rejected rows with their reasons

Users, items and kinds of events are integers of frozen id maps: 0 is padding, 1 unknown.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from recsys.arrays import Ints
from recsys.columns import Columns
from recsys.errors import DataError
from recsys.history import EVENT_NUMBERS
from recsys.ids import NUM_RESERVED, IdMap

FORMAT_VERSION = 5
MANIFEST, USERS, ITEMS, ITEM_COUNTS, REJECTED = (
    "manifest.json",
    "users.parquet",
    "items.parquet",
    "item_counts.npy",
    "rejected.parquet",
)
ARRAYS = (
    Columns.ITEM, Columns.TIMESTAMP, Columns.EVENT, *EVENT_NUMBERS, Columns.POSITIVE, Columns.ROW,
)  # fmt: skip
START, STOP, PARTITION = "start", "stop", "partition"
_HEADER_BYTES = 128  # of an .npy file with a one-dimensional array
FIRST_TIMESTAMP, FIRST_ROW = "first_timestamp", "first_row"


@dataclass(frozen=True, kw_only=True)
class LogManifest:
    """The content of `manifest.json`: counts and settings of a log."""

    format_version: int
    fingerprint: dict[str, Any]
    num_partitions: int
    num_rows: int  # raw rows
    num_events: int  # kept
    num_users: int
    num_items: int  # of the dataset
    num_positive: int
    num_tied: int  # events that share user and time with another
    first_timestamp: int
    last_timestamp: int
    kinds: list[str]  # sorted; the id map
    kind_counts: list[int]
    rejected: list[dict[str, Any]]  # in the form of `features.dataset.count_reasons`
    warnings: list[str]  # in the form of `Dataset.warnings`


@dataclass(frozen=True, kw_only=True)
class Partition:
    """The events of some users, sorted by user, time and row. L events, U users."""

    columns: dict[str, npt.NDArray[Any]]  # name of `ARRAYS` -> [L], memory-mapped
    users: Ints  # [U] rows of `EventLog.users`, ascending
    start: Ints  # [U] position of a user's first event
    stop: Ints  # [U] position after a user's last event

    def __len__(self) -> int:
        return int(self.stop[-1]) if len(self.stop) else 0

    def user_of_event(self) -> Ints:
        """Row of `EventLog.users` for each event. Shape [L]."""
        return np.repeat(self.users, self.stop - self.start)


class EventLog:
    """Reads the directory that `features.event_log.build.build_log` writes."""

    def __init__(self, path: Path) -> None:
        """Raises `DataError` where `path` has no log of this format version."""
        self.path = path
        manifest = path / MANIFEST
        try:
            values = json.loads(manifest.read_text("utf-8"))
        except FileNotFoundError:
            raise DataError(
                f"no event log in {path}; make one with: recsys prepare DATASET --out {path}"
            ) from None
        except json.JSONDecodeError as error:
            raise DataError(f"{manifest} is not JSON ({error}); prepare the log again") from None
        if values.get("format_version") != FORMAT_VERSION:
            raise DataError(
                f"{manifest}: format_version = {values.get('format_version')!r}, this program reads "
                f"{FORMAT_VERSION}; prepare the log again"
            )
        self.manifest = LogManifest(**values)

    @cached_property
    def index(self) -> pl.DataFrame:
        """`users.parquet`."""
        return pl.read_parquet(self.path / USERS, glob=False)

    @property
    def users(self) -> pl.Series:
        """External ids, sorted. The id of a user is their row + 2."""
        return self.index[Columns.USER]

    @cached_property
    def item_ids(self) -> pl.Series:
        """External ids of the dataset's items. The id of an item is its row + 2."""
        return pl.read_parquet(self.path / ITEMS, glob=False)[Columns.ITEM]

    @cached_property
    def rows(self) -> dict[str, int]:
        """Row of each user in `users`."""
        return {user: row for row, user in enumerate(self.users.to_list())}

    @cached_property
    def kinds(self) -> IdMap:
        return IdMap(self.manifest.kinds)

    @cached_property
    def item_counts(self) -> Ints:
        """Numbers of events and of positive events of each item id. Shape [N, 2]."""
        counts: Ints = np.load(self.path / ITEM_COUNTS)
        return counts

    @cached_property
    def _bounds(self) -> tuple[Ints, Ints, Ints]:
        names = (PARTITION, START, STOP)
        partition, start, stop = (self.index[name].cast(pl.Int64).to_numpy() for name in names)
        return partition, start, stop

    @property
    def lengths(self) -> Ints:
        """Number of events of each row of `users`."""
        _, start, stop = self._bounds
        return stop - start

    def locate(self, user: int) -> tuple[int, int, int]:
        """Partition, start and stop of the events of a user, given by row of `users`."""
        partition, start, stop = self._bounds
        return int(partition[user]), int(start[user]), int(stop[user])

    def partition(self, number: int, names: Sequence[str] = ARRAYS) -> Partition:
        """One partition, with the arrays `names`."""
        partition, start, stop = self._bounds
        rows = np.flatnonzero(partition == number)
        folder = self.path / partition_name(number)
        return Partition(
            columns={name: map_array(folder / f"{name}.npy") for name in names},
            users=rows,
            start=start[rows],
            stop=stop[rows],
        )

    def partitions(self) -> Iterator[Partition]:
        """All partitions, opened one after the other, so that unused partitions can be freed."""
        return (self.partition(number) for number in range(self.manifest.num_partitions))

    def frame(self, partition: Partition, items: pl.Series) -> pl.DataFrame:
        """The partition as a frame with the columns of `Dataset.interactions`, in the order of the partition.

        `items` are the external ids of `Dataset.items`, from which the log was prepared.
        """
        columns = partition.columns
        kinds = pl.Series(self.manifest.kinds, dtype=pl.String)
        return pl.DataFrame(
            {
                Columns.USER: self.users.gather(partition.user_of_event()),
                Columns.ITEM: items.gather(columns[Columns.ITEM] - NUM_RESERVED),
                Columns.TIMESTAMP: pl.Series(columns[Columns.TIMESTAMP]),
                Columns.EVENT: kinds.gather(columns[Columns.EVENT] - NUM_RESERVED),
                **{name: pl.Series(columns[name]).fill_nan(None).cast(pl.Float64) for name in EVENT_NUMBERS},
                Columns.POSITIVE: pl.Series(columns[Columns.POSITIVE]),
                Columns.ROW: pl.Series(columns[Columns.ROW]),
            }
        )

    def interactions(self, items: pl.Series) -> pl.DataFrame:
        """All events in memory, equal to `Dataset.interactions` of `load_dataset`."""
        frames = [self.frame(partition, items) for partition in self.partitions()]
        return pl.concat(frames).sort(Columns.TIMESTAMP, Columns.ROW)

    def write_rejected(self, path: Path) -> None:
        """Stream the rejected interactions to `path`, a .csv or .parquet file."""
        rows = pl.scan_parquet(self.path / REJECTED, glob=False)
        match path.suffix:
            case ".csv":
                rows.sink_csv(path)
            case ".parquet":
                rows.sink_parquet(path)
            case suffix:
                raise DataError(f"cannot write {path}: {suffix!r} is neither .csv nor .parquet")

    def users_by_first_event(self) -> pl.DataFrame:
        """A frame of all users, sorted by their first event."""
        return self.index.sort(FIRST_TIMESTAMP, FIRST_ROW).select(Columns.USER)


def map_array(path: Path) -> npt.NDArray[Any]:
    """The memory-mapped array of the file. An empty array is read, since it cannot be mapped."""
    header_only = path.stat().st_size <= _HEADER_BYTES
    # An ndarray view, since slices of `np.memmap` cost several times as much.
    return np.asarray(np.load(path, mmap_mode=None if header_only else "r"))


def partition_name(number: int) -> str:
    """Name of the folder of a partition."""
    return f"part-{number:04}"


def write_manifest(manifest: LogManifest, folder: Path) -> None:
    (folder / MANIFEST).write_text(json.dumps(asdict(manifest), indent=2, ensure_ascii=False) + "\n", "utf-8")
