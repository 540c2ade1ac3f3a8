"""From external ids to a history and to the allowed part of a catalogue; every mistake names its field."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from recsys.arrays import Bools, Ints
from recsys.bundle import Bundle
from recsys.errors import RequestError, clipped, did_you_mean
from recsys.history import EVENT_NUMBERS, History
from recsys.ids import NUM_RESERVED, UNKNOWN
from serving.filters import CatalogueFilter

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
        self._filter = CatalogueFilter(bundle.catalogue)
        self._has_clock = bundle.manifest.sequence_schema.has_clock

    def history(self, events: Sequence[Event], *, strict: bool = False) -> tuple[History, list[str]]:
        """The history that `events`, oldest first, describe, and the unknown item ids among them.

        Events on unknown items are left out. Where no item is known they stay, as events on `UNKNOWN`: then
        the history says nothing of the user. Every known item counts as seen. Raises `RequestError` for an
        empty list, an unknown kind of event, times given to some entries only, and, where `strict`, for
        unknown items.
        """
        if not events:
            raise RequestError("history", "is empty; give at least one item", [])
        ignored = self.unknown([each.item for each in events], "history", strict=strict)
        self._timestamps(events)  # mistakes in entries that are left out are told as well
        self._kinds(events)
        known = [each for each in events if each.item in self._item_ids]
        kept = known or events
        items = self._item_ids.encode(each.item for each in kept)
        timestamp = self._timestamps(kept)
        order = np.argsort(timestamp, kind="stable")
        numbers = {
            name: np.array([_or_nan(getattr(each, name)) for each in kept], np.float32)
            for name in EVENT_NUMBERS
        }
        ids = {"item": items, "event": self._kinds(kept), "timestamp": timestamp}
        given: dict[str, np.ndarray] = {**ids, **numbers}
        seen = np.unique(items[items >= NUM_RESERVED])
        return History.of({name: array[order] for name, array in given.items()}, seen=seen), ignored

    def unknown(self, names: Sequence[str], field: str, *, strict: bool) -> list[str]:
        """Distinct `names` that are not in the catalogue; `RequestError` with all of them where `strict`."""
        unknown = [name for name in dict.fromkeys(names) if name not in self._item_ids]
        if unknown and strict:
            listed = ", ".join(repr(clipped(name)) for name in unknown)
            raise RequestError(field, f"unknown items: {listed}; without strict they are ignored", unknown)
        return unknown

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

    def allowed(
        self,
        candidates: Sequence[str] | None,
        filters: Mapping[str, Sequence[str]],
        exclude: Sequence[str] = (),
    ) -> Bools | None:
        """Which items may be recommended, None where all may. Shape [N].

        An item must be one of `candidates`, have one of the wanted values in every field of `filters`, and
        not be in `exclude`, whose unknown items have no effect. Raises `RequestError` for an unknown
        candidate, field or value.
        """
        if candidates is None and not filters and not exclude:
            return None
        keep = self._filter.mask(filters)
        if candidates is not None:
            if not candidates:
                raise RequestError("candidates", "is empty; give at least one item", [])
            is_candidate = np.zeros(len(keep), np.bool_)
            is_candidate[self.items(candidates, "candidates")] = True
            keep &= is_candidate
        keep[self._item_ids.encode(exclude)] = False
        return keep

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
