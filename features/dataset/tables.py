"""A validated dataset, and the vectors of its media."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import polars as pl

from features.dataset.event_statistics import EventStatistics, EventSummary, InMemoryEventStatistics
from features.dataset.files.media_paths import MediaFolders
from features.dataset.user_events import HistoryMaker
from recsys.arrays import Floats, Ints
from recsys.columns import Columns
from recsys.errors import DataError
from recsys.history import History


@dataclass(frozen=True, kw_only=True)
class Rejected:
    """A rejected row, value or medium, and the reason. Nothing is dropped without such an entry."""

    table: str  # items, interactions, reviews, users
    path: str  # of the file that has the row, relative to the dataset
    row: int  # of the table, counted from 0
    column: str
    value: str
    reason: str


class Dataset(Protocol):
    """A validated dataset. External ids are strings. `Columns` has the names of the columns.

    items         item_id String, title String?, text String? (text columns joined by a blank line),
                  image, video List(String) (absolute paths, may be empty), created_at Int64?,
                  "cat:<field>" List(String), "num:<field>" Float64?, owner String? (a user id; only where
                  dataset.toml names the column)
    interactions  user_id, item_id String, timestamp Int64 (microseconds, or a position), event String,
                  value Float64?, positive Boolean, row Int64; sorted by (timestamp, row)
    reviews       user_id, item_id String, timestamp Int64?, text String?, audio String? (absolute path),
                  value Float64?, row Int64
    users         user_id String, "cat:<field>" List(String); every user of the interactions has a row

    The interactions are in memory (`InMemoryDataset`), or in an event log on disk
    (`features.event_log.dataset.StreamedDataset`). Without [interactions] their table is empty.
    """

    @property
    def name(self) -> str: ...
    @property
    def root(self) -> Path: ...
    @property
    def items(self) -> pl.DataFrame: ...
    @property
    def reviews(self) -> pl.DataFrame: ...
    @property
    def users(self) -> pl.DataFrame: ...
    @property
    def has_clock(self) -> bool:
        """False: timestamps are positions."""
        ...

    @property
    def rejected(self) -> tuple[Rejected, ...]: ...
    @property
    def warnings(self) -> tuple[str, ...]:
        """Values that were read but may be wrong; each warning names table, file and column."""
        ...

    @property
    def unmatched_ids(self) -> Mapping[str, int]:
        """Numbers of ids that do not occur in another table, by a description of the two tables."""
        ...

    @property
    def media(self) -> MediaFolders:
        """The folders that hold the files of media."""
        ...

    @property
    def split_files(self) -> tuple[Path, Path] | None:
        """Files of training and test events; None where dataset.toml does not name them."""
        ...

    @property
    def oracle_files(self) -> tuple[Path, Path] | None:
        """Files of the true user and item factors of a generated dataset."""
        ...

    @property
    def interactions(self) -> pl.DataFrame:
        """All events. A `StreamedDataset` reads its whole event log into memory."""
        ...

    @property
    def has_interactions(self) -> bool: ...

    @property
    def event_statistics(self) -> EventStatistics: ...

    def event_summary(self) -> EventSummary: ...

    def history_lengths(self) -> Ints:
        """Number of events of each user, in any order."""
        ...

    def event_times(self) -> pl.Series:
        """Timestamps of all events, in any order. Memory: eight bytes per event."""
        ...

    def events_of_pairs(self, pairs: pl.DataFrame) -> pl.DataFrame:
        """Events of the (user, item) pairs of `pairs`, in any order."""
        ...

    def fingerprint(self) -> str:
        """A hash of the name, the interactions, and the id, title and text of each item."""
        ...

    def histories(self, builder: HistoryMaker) -> Mapping[str, History]:
        """Histories of all events."""
        ...

    def before(self, time: int) -> "Dataset":
        """The dataset as it was at `time`, in microseconds: without later events, and without reviews that
        are later or have no date. The items and their content are the same. Raises `DataError` without a
        clock, and where no event is left; `ConfigError` for an event log on disk.
        """
        ...

    def write_rejected_interactions(self, path: Path) -> bool:
        """Write the rejected interactions that are not in `rejected` to `path`, a .csv or .parquet file.

        Returns False and writes no file where `rejected` has all of them.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class DatasetTables:
    """The tables of a dataset without its interactions; see `Dataset`."""

    name: str
    root: Path
    items: pl.DataFrame
    reviews: pl.DataFrame
    users: pl.DataFrame
    has_clock: bool
    rejected: tuple[Rejected, ...] = ()
    warnings: tuple[str, ...] = ()
    unmatched_ids: Mapping[str, int] = field(default_factory=dict)
    media_roots: tuple[Path, ...] = ()  # resolved
    split_files: tuple[Path, Path] | None = None
    oracle_files: tuple[Path, Path] | None = None

    @property
    def media(self) -> MediaFolders:
        return MediaFolders((self.root.resolve(), *self.media_roots))


@dataclass(frozen=True, kw_only=True)
class InMemoryDataset(DatasetTables):
    """A `Dataset` whose interactions are in memory."""

    interactions: pl.DataFrame

    @property
    def has_interactions(self) -> bool:
        return self.interactions.height > 0

    @property
    def event_statistics(self) -> EventStatistics:
        return InMemoryEventStatistics(self.items, self.interactions, has_clock=self.has_clock)

    def event_summary(self) -> EventSummary:
        return EventSummary.of(self.interactions)

    def history_lengths(self) -> Ints:
        return self.interactions.group_by(Columns.USER).len()["len"].cast(pl.Int64).to_numpy()

    def event_times(self) -> pl.Series:
        return self.interactions[Columns.TIMESTAMP]

    def events_of_pairs(self, pairs: pl.DataFrame) -> pl.DataFrame:
        return self.interactions.join(pairs, on=[Columns.USER, Columns.ITEM], how="semi")

    def fingerprint(self) -> str:
        return fingerprint_of(self, self.interactions.hash_rows(seed=0).to_numpy().tobytes())

    def histories(self, builder: HistoryMaker) -> Mapping[str, History]:
        return builder.build(self.interactions)

    def before(self, time: int) -> "InMemoryDataset":
        if not self.has_clock:
            raise DataError(f"{self.name}: its events have an order and no times, so that none is a cut-off")
        is_before = pl.col(Columns.TIMESTAMP) < time
        events = self.interactions.filter(is_before)
        if not events.height:
            first = self.event_summary().first
            raise DataError(f"{self.name}: no event before {time}; the first is at {first} (microseconds)")
        return replace(self, interactions=events, reviews=self.reviews.filter(is_before))

    def write_rejected_interactions(self, path: Path) -> bool:
        return False


def fingerprint_of(tables: DatasetTables, events: bytes) -> str:
    """SHA-256 over the name, the items, and `events`, which identifies the events."""
    digest = hashlib.sha256(tables.name.encode())
    owner = [name for name in tables.items.columns if name == Columns.OWNER]
    items = tables.items.select(Columns.ITEM, Columns.TITLE, Columns.TEXT, *owner)
    digest.update(items.hash_rows(seed=0).to_numpy().tobytes())
    digest.update(events)
    return digest.hexdigest()


@dataclass(frozen=True, kw_only=True)
class MediumVectors:
    """V vectors of one modality. `vectors[i]` belongs to row `owner[i]` of the owning table."""

    owner: Ints  # [V], ascending; the row of an item with three pictures occurs three times
    vectors: Floats  # [V, D]

    def pooled(self, num_rows: int) -> tuple[Floats, np.ndarray]:
        """The mean vector of each row of the owning table, and whether the row has a vector.

        Shapes [num_rows, D] and [num_rows].
        """
        sums = np.zeros((num_rows, self.vectors.shape[1]), np.float32)
        np.add.at(sums, self.owner, self.vectors)
        count = np.bincount(self.owner, minlength=num_rows)
        divisor: Floats = np.maximum(count, 1).astype(np.float32)
        return sums / divisor[:, None], count > 0


@dataclass(frozen=True, kw_only=True)
class StepTime:
    """The duration of a step: wall-clock time, and CPU time of all cores together."""

    num_media: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0

    def plus(self, *, num_media: int = 0, seconds: float = 0.0, cpu_seconds: float = 0.0) -> "StepTime":
        return StepTime(
            num_media=self.num_media + num_media,
            seconds=self.seconds + seconds,
            cpu_seconds=self.cpu_seconds + cpu_seconds,
        )


@dataclass(frozen=True, kw_only=True)
class MediaVectors:
    """All vectors of a dataset.

    `items` has title, text, image, video, video_speech, video_audio (owner: row of Dataset.items);
    `reviews` has review_text, review_speech, review_audio (owner: row of Dataset.reviews). A modality
    that the dataset lacks is absent. `transcripts` maps a row of Dataset.reviews to the words of its
    recording, `video_transcripts` a row of Dataset.items to the words of its videos. `encoded` and `cached`
    count the distinct media of each modality: newly encoded media, and media whose vectors were in the cache.
    `times` has the duration of each step that computed something. `imputed` has vectors of items that lack
    the modality (`training.imputation`), none by default.
    """

    items: Mapping[str, MediumVectors]
    reviews: Mapping[str, MediumVectors]
    transcripts: Mapping[int, str] = field(default_factory=dict)
    video_transcripts: Mapping[int, str] = field(default_factory=dict)
    encoded: Mapping[str, int] = field(default_factory=dict)
    cached: Mapping[str, int] = field(default_factory=dict)
    times: Mapping[str, StepTime] = field(default_factory=dict)
    rejected: tuple[Rejected, ...] = ()
    imputed: Mapping[str, MediumVectors] = field(default_factory=dict)
