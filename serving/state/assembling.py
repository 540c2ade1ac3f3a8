"""Live rows and the history of training of one user to one history, in the ids of the bundle at hand."""

from collections.abc import Mapping
from typing import Final

import numpy as np

from features.dataset import NO_EVENT_KIND
from recsys.arrays import Floats, Ints
from recsys.bundle import Bundle
from recsys.history import EVENT_FIELDS, EVENT_NUMBERS, History
from recsys.ids import NUM_RESERVED
from serving.state.protocol import LiveEvent, LiveUser

SECOND: Final = 1_000_000  # microseconds


class Assembler:
    """Assembles histories for one bundle.

    Events are ordered by time, at equal times those of training first. A live event that is in the history of
    training too, with the same item, kind and second, counts once: it was ingested into the dataset, some
    of which keep no fraction of a second. Live events on items that the catalogue does not have are left
    out; where no item of the user is known they stay, as events on `UNKNOWN`. A kind of event that the bundle
    does not know is `UNKNOWN`; a bundle whose dataset keeps no kinds apart reads all as its one kind.
    """

    def __init__(self, bundle: Bundle) -> None:
        self._item_ids, self._kinds = bundle.item_ids, bundle.event_ids
        self._profiles = bundle.profile_ids
        self._usual_kind = self._kinds.external[0] if len(self._kinds) else ""
        self._has_kinds = self._kinds.external != (NO_EVENT_KIND,)

    def history(self, trained: History | None, live: LiveUser) -> History | None:
        """The history of a user; None where neither source knows the user.

        `trained` is the history of training, which an erasure takes away.
        """
        trained = None if live.is_erased else trained
        if not live.events and live.profile is None:
            return trained
        if trained is None:
            trained = History.empty({name: np.empty(0, np.int64) for name in self._profiles})
        profile = self._profile(trained, live)
        seen = self._item_ids.encode(live.seen)
        seen = np.union1d(trained.seen, seen[seen >= NUM_RESERVED])
        events = self._events(live.events, is_any_known=bool(len(seen)))
        events = {name: array[_are_new(events, trained)] for name, array in events.items()}
        if not len(events["item"]):
            return History.of(trained.events, reviews=trained.reviews, seen=seen, profile=profile)
        joined = {name: np.concatenate([trained.events[name], events[name]]) for name in EVENT_FIELDS}
        order = np.argsort(joined["timestamp"], kind="stable")
        return History.of(
            {name: array[order] for name, array in joined.items()},
            reviews=_moved(trained, order),
            seen=seen,
            profile=profile,
        )

    def _events(self, events: tuple[LiveEvent, ...], *, is_any_known: bool) -> dict[str, np.ndarray]:
        """An array for each of `EVENT_FIELDS`."""
        items = self._item_ids.encode(each.item for each in events)
        kinds = self._kinds.encode(
            each.kind if self._has_kinds and each.kind is not None else self._usual_kind for each in events
        )
        numbers = {
            name: np.array([_or_nan(getattr(each, name)) for each in events], np.float32)
            for name in EVENT_NUMBERS
        }
        timestamp = np.array([each.timestamp for each in events], np.int64)
        arrays: dict[str, np.ndarray] = {"item": items, "event": kinds, "timestamp": timestamp, **numbers}
        kept = items >= NUM_RESERVED if is_any_known else np.ones(len(items), np.bool_)
        return {name: array[kept] for name, array in arrays.items()}

    def _profile(self, trained: History, live: LiveUser) -> Mapping[str, Ints]:
        """The fields of the live rows in place of those of training."""
        return trained.profile if live.profile is None else self.encode_profile(live.profile)

    def encode_profile(self, profile: Mapping[str, tuple[str, ...]]) -> dict[str, Ints]:
        """The ids of a user's fields; fields that the bundle does not know are left out."""
        return {name: ids.encode(profile.get(name, ())) for name, ids in self._profiles.items()}


def _are_new(events: Mapping[str, np.ndarray], trained: History) -> np.ndarray:
    """Which of `events` the history of training does not have."""
    new = np.ones(len(events["item"]), np.bool_)
    if not len(trained) or not len(new):
        return new
    second = events["timestamp"] // SECOND
    recent = np.flatnonzero(trained.timestamp // SECOND >= second.min())
    if not len(recent):
        return new
    known = set(
        zip(
            trained.item[recent].tolist(),
            trained.event[recent].tolist(),
            (trained.timestamp[recent] // SECOND).tolist(),
            strict=True,
        )
    )
    triples = zip(events["item"].tolist(), events["event"].tolist(), second.tolist(), strict=True)
    return np.array([triple not in known for triple in triples], np.bool_)


def _moved(trained: History, order: Ints) -> dict[str, dict[int, Floats]]:
    """The reviews of `trained` at the places of their events after sorting by `order`."""
    if not any(trained.reviews.values()):
        return {}
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    return {
        name: {int(place[at]): vector for at, vector in vectors.items()}
        for name, vectors in trained.reviews.items()
    }


def _or_nan(number: float | None) -> float:
    return float("nan") if number is None else number
