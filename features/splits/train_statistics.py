"""What models read of all training events at once: counts, kinds, users, the scale of the values."""

from functools import cached_property
from typing import Protocol

import numpy as np
import polars as pl

from recsys.arrays import Bools, Ints
from recsys.columns import Columns
from recsys.ids import IdMap


class TrainFacts(Protocol):
    """Of events in a frame (`FrameFacts`) or on disk (features/splits/streamed.py)."""

    @property
    def kinds(self) -> list[str]:
        """Kinds of events, sorted."""
        ...

    @property
    def users(self) -> pl.DataFrame:
        """Users with an event, each once."""
        ...

    @property
    def value_scale(self) -> tuple[float, float]:
        """Mean and standard deviation of the values; 0 and 1 without any."""
        ...

    def item_counts(self, item_ids: IdMap) -> Ints:
        """Events and positive events of each item. Shape [N, 2]."""
        ...

    def has_event(self, pairs: pl.DataFrame) -> Bools:
        """Whether there is an event of the user and item of each row of `pairs`, which are of reviews."""
        ...


class FrameFacts:
    """Of a frame with the columns of `Dataset.interactions`."""

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
    def value_scale(self) -> tuple[float, float]:
        values = self._events[Columns.VALUE].drop_nulls().to_numpy()
        return (float(values.mean()), float(values.std())) if len(values) else (0.0, 1.0)

    def item_counts(self, item_ids: IdMap) -> Ints:
        rows = item_ids.encode(self._events[Columns.ITEM])
        positive = self._events[Columns.POSITIVE].to_numpy()
        counts = [np.bincount(each, minlength=item_ids.size) for each in (rows, rows[positive])]
        return np.stack(counts, axis=1)

    def has_event(self, pairs: pl.DataFrame) -> Bools:
        known = self._events.select(Columns.USER, Columns.ITEM, found=True).unique()
        joined = pairs.join(known, on=[Columns.USER, Columns.ITEM], how="left", maintain_order="left")
        found: Bools = joined["found"].fill_null(False).to_numpy()
        return found


def facts_of(train: pl.DataFrame | TrainFacts) -> TrainFacts:
    return FrameFacts(train) if isinstance(train, pl.DataFrame) else train
