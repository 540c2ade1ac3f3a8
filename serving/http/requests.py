"""From external ids to a history and to the allowed part of a catalogue; every mistake names its field."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

from recsys.arrays import Bools, Ints
from recsys.bundle.load import Bundle
from recsys.columns import Columns
from recsys.errors import RequestError, did_you_mean
from recsys.history import EVENT_NUMBERS, History
from recsys.ids import NUM_RESERVED, UNKNOWN

STEP_MICROSECONDS = 60_000_000  # between two events of a history that came without times
SEARCHED_FOR_HINT = 10_000  # ids that a mistyped one is compared with: a mistake must stay cheap to answer


@dataclass(frozen=True, kw_only=True)
class Event:
    """One entry of a posted history."""

    item: str
    timestamp: int | None = None  # microseconds since the epoch
    event: str | None = None
    value: float | None = None


class RequestReader:
    """Reads requests against one bundle's catalogue."""

    def __init__(self, bundle: Bundle) -> None:
        self._item_ids, self._event_ids = bundle.item_ids, bundle.event_ids
        self._catalogue = bundle.catalogue
        self._has_clock = bundle.manifest.sequence_schema.has_clock

    def history(self, events: Sequence[Event]) -> History:
        """The history that `events`, oldest first, describe; all of them count as seen.

        Raises `RequestError` for an empty list, an unknown item or kind of event, and for times given to
        some entries only.
        """
        if not events:
            raise RequestError("history", "is empty; give at least one item", [])
        items = self.items([each.item for each in events], "history", suffix=".item")
        timestamp = self._timestamps(events)
        order = np.argsort(timestamp, kind="stable")
        numbers = {
            name: np.array([_or_nan(getattr(each, name)) for each in events], np.float32)
            for name in EVENT_NUMBERS
        }
        ids = {"item": items, "event": self._kinds(events), "timestamp": timestamp}
        given: dict[str, np.ndarray] = {**ids, **numbers}
        return History.of({name: array[order] for name, array in given.items()}, seen=np.unique(items))

    def items(self, names: Sequence[str], field: str, *, suffix: str = "") -> Ints:
        """Ids of `names`; raises `RequestError` for the first that is not in the catalogue."""
        ids = self._item_ids.encode(names)
        for at in np.flatnonzero(ids == UNKNOWN)[:1]:
            raise RequestError(
                f"{field}.{at}{suffix}", f"unknown item; {self._nearest(names[at])}", names[at]
            )
        return ids

    def item(self, name: str, field: str) -> int:
        """The id of `name`; raises `RequestError`."""
        if name not in self._item_ids:
            raise RequestError(field, f"unknown item; {self._nearest(name)}", name)
        return self._item_ids.get(name)

    def candidates(self, names: Sequence[str]) -> Ints:
        """Ids of distinct `names`; raises `RequestError` for an empty list, an unknown or a doubled item."""
        if not names:
            raise RequestError("candidates", "is empty; give at least one item", [])
        first: dict[str, int] = {}
        for at, name in enumerate(names):
            if first.setdefault(name, at) != at:
                raise RequestError(f"candidates.{at}", f"stands twice, first at {first[name]}", name)
        return self.items(names, "candidates")

    def allowed(self, candidates: Sequence[str] | None, filters: Mapping[str, Sequence[str]]) -> Bools | None:
        """Which items may be recommended, None where all may. Shape [N].

        An item needs one of the wanted values in every field of `filters`. Raises `RequestError` for an
        unknown item, field or value.
        """
        if candidates is None and not filters:
            return None
        keep = np.ones(self._item_ids.size, np.bool_)
        keep[:NUM_RESERVED] = False
        if candidates is not None:
            if not candidates:
                raise RequestError("candidates", "is empty; give at least one item", [])
            keep &= _mask(self.items(candidates, "candidates"), len(keep))
        for field, values in filters.items():
            keep &= self._with_category(field, values)
        return keep

    def _with_category(self, field: str, values: Sequence[str]) -> Bools:
        if field not in self._categories:
            hint = did_you_mean(field, self._categories) if self._categories else "the catalogue has none"
            raise RequestError(f"filters.{field}", f"unknown category field; {hint}", list(values))
        if not values:
            raise RequestError(f"filters.{field}", "is empty; give at least one value", [])
        by_value = self._categories[field]
        for at, value in enumerate(values):
            if value not in by_value:
                hint = did_you_mean(value, by_value)
                raise RequestError(f"filters.{field}.{at}", f"no item has this value; {hint}", value)
        return _mask(np.concatenate([by_value[value] for value in values]), self._item_ids.size)

    @cached_property
    def _categories(self) -> dict[str, dict[str, Ints]]:
        """Field -> value -> ids of the items that have it."""
        fields: dict[str, dict[str, Ints]] = {}
        numbered = self._catalogue.with_row_index("id", offset=NUM_RESERVED)
        for column in (name for name in self._catalogue.columns if name.startswith(Columns.CATEGORY_PREFIX)):
            values = numbered.select("id", pl.col(column).alias("value")).explode("value").drop_nulls()
            grouped = values.group_by("value").agg("id")
            fields[column.removeprefix(Columns.CATEGORY_PREFIX)] = {
                value: np.asarray(ids, np.int64) for value, ids in grouped.iter_rows()
            }
        return fields

    def _timestamps(self, events: Sequence[Event]) -> Ints:
        given = [each.timestamp for each in events]
        known = [stamp for stamp in given if stamp is not None]
        if known and len(known) < len(given):
            at = given.index(None)
            raise RequestError(
                f"history.{at}.timestamp", "is missing; give every entry a time, or none", None
            )
        if not self._has_clock:  # the data have positions, no clock: times only put the entries in order
            return (
                np.argsort(np.argsort(known, kind="stable"))
                if known
                else np.arange(len(given), dtype=np.int64)
            )
        if known:
            return np.array(known, np.int64)
        now = time.time_ns() // 1000
        return now - STEP_MICROSECONDS * np.arange(len(given) - 1, -1, -1, dtype=np.int64)

    def _kinds(self, events: Sequence[Event]) -> Ints:
        # Kinds are optional in a dataset, and one that has none still has one kind in its map.
        usual = self._event_ids.external[0] if len(self._event_ids) else ""
        for at, each in enumerate(events):
            if each.event is not None and each.event not in self._event_ids:
                hint = did_you_mean(each.event, self._event_ids.external)
                raise RequestError(f"history.{at}.event", f"unknown kind of event; {hint}", each.event)
        return self._event_ids.encode(usual if each.event is None else each.event for each in events)

    def _nearest(self, name: str) -> str:
        return did_you_mean(name, self._item_ids.external[:SEARCHED_FOR_HINT])


def _or_nan(number: float | None) -> float:
    return float("nan") if number is None else number


def _mask(ids: Ints, size: int) -> Bools:
    mask = np.zeros(size, np.bool_)
    mask[ids] = True
    return mask
