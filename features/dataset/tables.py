"""What a dataset is once it has been read: `Dataset`, `Split`, and the vectors of its media."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl

from recsys.arrays import Floats, Ints


@dataclass(frozen=True, kw_only=True)
class Rejected:
    """A row or medium that was left out, and why. Nothing is dropped without one."""

    table: str  # items, interactions, reviews, users
    path: str  # the file it stood in, relative to the dataset
    row: int  # place in the table, counted from 0
    column: str
    value: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A validated dataset. External ids are strings; columns are those of `Columns`.

    items         item_id String, title String?, text String? (text columns joined by a blank line),
                  image, video List(String) (absolute paths, may be empty), created_at Int64?,
                  "cat:<field>" List(String), "num:<field>" Float64?
    interactions  user_id, item_id String, timestamp Int64 (microseconds, or a position), event String,
                  value Float64?, positive Boolean, row Int64; sorted by (timestamp, row)
    reviews       user_id, item_id String, timestamp Int64?, text String?, audio String? (absolute path),
                  value Float64?, row Int64
    users         user_id String, "cat:<field>" List(String); every user of the interactions has a row
    """

    name: str
    root: Path
    items: pl.DataFrame
    interactions: pl.DataFrame
    reviews: pl.DataFrame
    users: pl.DataFrame
    has_clock: bool  # False: timestamps are positions
    rejected: tuple[Rejected, ...] = ()
    warnings: tuple[str, ...] = ()  # each names table, file and column
    lonely_ids: Mapping[str, int] = field(default_factory=dict)  # ids that find no partner in another table
    split_files: tuple[Path, Path] | None = None  # train and test, where the dataset names them
    oracle_files: tuple[Path, Path] | None = None  # true user and item factors of a generated dataset


# How two files were cut: all of training before all of test, so for each user, or neither.
Cut = Literal["for_all", "by_user", "overlapping"]


@dataclass(frozen=True, kw_only=True)
class Split:
    """Events by what they may be used for. All tables have the columns of `Dataset.interactions`.

    train       all events, of every kind, that the models may be fitted on
    validation  positive events for early stopping, selection and as ranker targets; not in train
    test        positive events that no model and no choice has seen; not in train or validation
    context     negative (not positive) events of the validation and test spans: in the history and
                among the seen items once their time has come, never a target
    reviews     rows of Dataset.reviews that may be read while `test` is the future
    """

    protocol: str
    description: str  # the protocol in words, for the report
    train: pl.DataFrame
    validation: pl.DataFrame
    test: pl.DataFrame
    context: pl.DataFrame
    reviews: pl.DataFrame
    cold_items: frozenset[str] = field(default_factory=frozenset)  # items without a training event
    cut: Cut | None = None  # of a given split


@dataclass(frozen=True, kw_only=True)
class MediumVectors:
    """Vectors of one kind of medium: `vectors[i]` belongs to row `owner[i]` of the owning table."""

    owner: Ints  # [V], ascending; an item with three pictures stands three times
    vectors: Floats  # [V, D]

    def pooled(self, num_rows: int) -> tuple[Floats, np.ndarray]:
        """Mean vector of each owning row and whether it has any. Shapes [num_rows, D], [num_rows]."""
        sums = np.zeros((num_rows, self.vectors.shape[1]), np.float32)
        np.add.at(sums, self.owner, self.vectors)
        count = np.bincount(self.owner, minlength=num_rows)
        divisor: Floats = np.maximum(count, 1).astype(np.float32)
        return sums / divisor[:, None], count > 0


@dataclass(frozen=True, kw_only=True)
class StepTime:
    """What a step has taken: by the clock, and of all cores together."""

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
    that the dataset lacks is absent. `transcripts` maps a row of Dataset.reviews to what was said in
    it. `encoded` and `cached` count a modality's distinct media: those computed now and those that lay
    in the cache. `times` is what the steps took that had something to compute.
    """

    items: Mapping[str, MediumVectors]
    reviews: Mapping[str, MediumVectors]
    transcripts: Mapping[int, str] = field(default_factory=dict)
    encoded: Mapping[str, int] = field(default_factory=dict)
    cached: Mapping[str, int] = field(default_factory=dict)
    times: Mapping[str, StepTime] = field(default_factory=dict)
    rejected: tuple[Rejected, ...] = ()
