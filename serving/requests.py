"""From external ids to a history and to the allowed items of a catalogue; every error names its field.

An unknown item in a history, among candidates or among excluded items is left out, and the caller is given
its id. With `strict` it is an error. An item that the user may not see is unknown.
"""

import time
from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import dataclass
from itertools import compress, islice

import numpy as np

from recsys.arrays import Bools, Ints
from recsys.bundle import Bundle
from recsys.errors import RequestError, clipped, did_you_mean
from recsys.history import EVENT_NUMBERS, History
from recsys.ids import NUM_RESERVED, UNKNOWN
from serving.filters import CatalogueFilter, Filters

STEP_MICROSECONDS = 60_000_000  # between two events of a history that came without times
SEARCHED_FOR_HINT = 10_000  # known ids that a mistyped id is compared with; bounds the time of an error


@dataclass(frozen=True, kw_only=True)
class Event:
    """One entry of a posted history."""

    item: str
    timestamp: int | None = None  # microseconds since the epoch
    event: str | None = None
    value: float | None = None


class RequestReader:
    """Reads requests against the items of one bundle's catalogue that `visible` [N] has, all by default."""

    def __init__(self, bundle: Bundle) -> None:
        self.visible: Bools | None = None
        self._item_ids, self._event_ids = bundle.item_ids, bundle.event_ids
        self._filter = CatalogueFilter(bundle.catalogue)
        schema = bundle.manifest.sequence_schema
        self._has_clock = schema is not None and schema.has_clock

    @property
    def filter(self) -> CatalogueFilter:
        """The filter over the whole catalogue."""
        return self._filter

    def among(self, visible: Bools | None) -> "RequestReader":
        """A reader for which all items but `visible` are unknown."""
        if visible is None:
            return self
        reader = copy(self)
        reader.visible = visible
        return reader

    def history(self, events: Sequence[Event], *, strict: bool = False) -> tuple[History, list[str]]:
        """The history that `events`, oldest first, describe, and the unknown item ids among them.

        Events on unknown items are left out. Where no item is known they stay, as events on `UNKNOWN`: then
        the history says nothing of the user. Every known item counts as seen. Raises `RequestError` for an
        unknown kind of event, times given to some entries only, and, where `strict`, for unknown items.
        """
        ignored = self.unknown([each.item for each in events], "history", strict=strict)
        self._timestamps(events)  # so that an error in an entry that is left out is reported as well
        self._kinds(events)
        known = [each for each in events if self._is_known(each.item)]
        kept = known or events
        items = self._encode([each.item for each in kept])
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
        unknown = [name for name in dict.fromkeys(names) if not self._is_known(name)]
        if unknown and strict:
            listed = ", ".join(repr(clipped(name)) for name in unknown)
            raise RequestError(field, f"unknown items: {listed}; without strict they are ignored", unknown)
        return unknown

    def item(self, name: str, field: str) -> int:
        """The id of `name`; raises `RequestError`."""
        if not self._is_known(name):
            raise RequestError(field, f"unknown item; {self._nearest(name)}", name)
        return self._item_ids.get(name)

    def candidates(self, names: Sequence[str], *, strict: bool = False) -> tuple[Ints, list[str]]:
        """Ids of the known items among `names`, and the unknown items.

        Raises `RequestError` for a repeated item, where no item is known, and, where `strict`, for any
        unknown item.
        """
        first: dict[str, int] = {}
        for at, name in enumerate(names):
            if first.setdefault(name, at) != at:
                raise RequestError(
                    f"candidates.{at}", f"repeats candidates.{first[name]}; give each item once", name
                )
        return self._candidates(names, strict=strict)

    def allowed(
        self,
        candidates: Sequence[str] | None,
        filters: Filters,
        exclude: Sequence[str] = (),
        *,
        strict: bool = False,
    ) -> tuple[Bools | None, list[str]]:
        """Which items may be recommended [N], None where all may, and the unknown items of the request.

        An item must be one of `candidates`, pass `filters`, and not be in `exclude`. Raises `RequestError`
        for filters that `CatalogueFilter.mask` refuses, where no item of `candidates` is known, and, where
        `strict`, for any unknown item.
        """
        if candidates is None and not filters and not exclude:
            return self.visible, []
        keep = self._filter.mask(filters, self.visible)
        unknown = self.unknown(exclude, "exclude", strict=strict)
        keep[self._encode(exclude)] = False
        if candidates is not None:
            ids, unknown_candidates = self._candidates(candidates, strict=strict)
            is_candidate = np.zeros(len(keep), np.bool_)
            is_candidate[ids] = True
            keep &= is_candidate
            unknown += unknown_candidates
        return keep, unknown

    def facets(self, items: Sequence[str] | None, filters: Filters) -> dict[str, list[tuple[str, int]]]:
        """`CatalogueFilter.counts` among items of these ids, unknown ids left out; None is the catalogue."""
        among = np.full(self._item_ids.size, items is None, np.bool_)
        if items is not None:
            among[self._encode(items)] = True
        elif self.visible is not None:
            among &= self.visible
        among[:NUM_RESERVED] = False
        return self._filter.counts(among, filters, self.visible)

    def has_category(self, value: str) -> bool:
        """Whether a visible item has this value in any field."""
        everything = np.ones(self._item_ids.size, np.bool_)
        return self._filter.has_value(value, everything if self.visible is None else self.visible)

    def num_items(self) -> int:
        """The number of items that are visible."""
        return len(self._item_ids) if self.visible is None else int(self.visible.sum())

    def _candidates(self, names: Sequence[str], *, strict: bool) -> tuple[Ints, list[str]]:
        if not names:
            raise RequestError("candidates", "is empty; give at least one item", [])
        unknown = self.unknown(names, "candidates", strict=strict)
        ids = self._encode(names)
        ids = ids[ids >= NUM_RESERVED]
        if not len(ids):
            raise RequestError(
                "candidates",
                "none of these is in the catalogue; give at least one known item; for "
                f"{clipped(names[0])!r}, {self._nearest(names[0])}",
                list(names),
            )
        return ids, unknown

    def _timestamps(self, events: Sequence[Event]) -> Ints:
        given = [each.timestamp for each in events]
        known = [stamp for stamp in given if stamp is not None]
        if known and len(known) < len(given):
            at = given.index(None)
            raise RequestError(
                f"history.{at}.timestamp", "is missing; give a timestamp to every entry, or to none", None
            )
        if not self._has_clock:  # the data have positions and no clock: times only order the entries
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
        # A dataset without kinds of events has one kind in its map.
        usual = self._event_ids.external[0] if len(self._event_ids) else ""
        for at, each in enumerate(events):
            if each.event is not None and each.event not in self._event_ids:
                hint = did_you_mean(each.event, self._event_ids.external)
                raise RequestError(f"history.{at}.event", f"unknown kind of event; {hint}", each.event)
        return self._event_ids.encode(usual if each.event is None else each.event for each in events)

    def _nearest(self, name: str) -> str:
        names: Iterable[str] = self._item_ids.external
        if self.visible is not None:
            names = compress(names, self.visible[NUM_RESERVED:])
        return did_you_mean(name, list(islice(names, SEARCHED_FOR_HINT)))

    def _is_known(self, name: str) -> bool:
        return name in self._item_ids and (
            self.visible is None or bool(self.visible[self._item_ids.get(name)])
        )

    def _encode(self, names: Sequence[str]) -> Ints:
        """Ids of `names`, `UNKNOWN` for an item that is not visible. Shape [len(names)]."""
        ids = self._item_ids.encode(names)
        return ids if self.visible is None else np.where(self.visible[ids], ids, UNKNOWN)


def _or_nan(number: float | None) -> float:
    return float("nan") if number is None else number
