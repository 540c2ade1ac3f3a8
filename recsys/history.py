"""A user's events as the user tower reads them, the same in training, batch and online.

Legend in recsys/arrays.py.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from recsys.arrays import Bools, Floats, Ints

Arrays = Mapping[str, npt.NDArray[Any]]

# Numbers that come with an event, each float32 and NaN where it is missing. The attribute of `History`, the
# column of the interactions, the column of histories.parquet and the key of an HTTP entry have the same name.
EVENT_NUMBERS: Final = ("value",)
EVENT_IDS: Final = ("item", "event")  # int64 ids of the item map and of the map of event kinds
EVENT_FIELDS: Final = (*EVENT_IDS, "timestamp", *EVENT_NUMBERS)  # one array each, all of the history's length
REVIEW_FIELDS: Final = ("review_text", "review_audio")  # position of an event -> vector of its review
DTYPES: Final[Mapping[str, Any]] = dict.fromkeys(EVENT_FIELDS, np.int64) | dict.fromkeys(
    EVENT_NUMBERS, np.float32
)


@dataclass(frozen=True, kw_only=True)
class History:
    """One user's events in order, oldest first; all arrays of `EVENT_FIELDS` have the same length.

    `seen` has the items of all events of the user, each once. `seen` and `profile` belong to the user, not to
    the events here: a history that is cut to some of its events (`slice`, `last`, `take`) keeps both whole.
    `asked_at` is the request time of an evaluation in which each user asks at a time of their own. It is not
    stored with the history.
    """

    item: Ints  # ids of the item map; UNKNOWN for an item that is not in the catalogue
    timestamp: Ints  # microseconds since the epoch, or positions where the data have no clock
    event: Ints  # ids of the event-kind map
    value: Floats
    review_text: Mapping[int, Floats] = field(default_factory=dict)  # position -> [R]
    review_audio: Mapping[int, Floats] = field(default_factory=dict)
    seen: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    profile: Mapping[str, Ints] = field(default_factory=dict)  # user field -> ids, may be empty
    asked_at: int | None = None  # as `timestamp`; None: now, after all events of all users

    @classmethod
    def of(
        cls,
        events: Arrays,
        *,
        seen: Ints | None = None,
        profile: Mapping[str, Ints] | None = None,
        reviews: Mapping[str, Mapping[int, Floats]] | None = None,
        asked_at: int | None = None,
    ) -> "History":
        """A history of `events`, which has an array for each of `EVENT_FIELDS`.

        `reviews` has a mapping for any of `REVIEW_FIELDS`.
        """
        columns = {name: events[name] for name in EVENT_FIELDS}
        seen = np.empty(0, np.int64) if seen is None else seen
        own = {"seen": seen, "profile": profile or {}, "asked_at": asked_at}
        return cls(**columns, **(reviews or {}), **own)  # type: ignore[arg-type]

    @classmethod
    def empty(cls, profile: Mapping[str, Ints] | None = None) -> "History":
        """The history of a user without events, with the user's own fields `profile`."""
        return cls.of({name: np.empty(0, dtype) for name, dtype in DTYPES.items()}, profile=profile)

    def __len__(self) -> int:
        return len(self.item)

    def asked_after_it(self) -> "History":
        """The history of a user who asks at the time of the newest event."""
        return replace(self, asked_at=int(self.timestamp[-1]) if len(self) else None)

    @property
    def events(self) -> dict[str, npt.NDArray[Any]]:
        """The arrays of `EVENT_FIELDS` by name."""
        return {name: getattr(self, name) for name in EVENT_FIELDS}

    @property
    def reviews(self) -> dict[str, Mapping[int, Floats]]:
        """The reviews of `REVIEW_FIELDS` by name."""
        return {name: getattr(self, name) for name in REVIEW_FIELDS}

    def slice(self, start: int, stop: int) -> "History":
        """The events [start, stop), without a copy of their arrays."""
        reviews = {name: _between(vectors, start, stop) for name, vectors in self.reviews.items()}
        return self._with({name: array[start:stop] for name, array in self.events.items()}, reviews)

    def last(self, length: int) -> "History":
        """The newest `length` events."""
        if len(self) <= length:
            return self
        return self.slice(len(self) - length, len(self))

    def take(self, kept: Ints | Bools) -> "History":
        """The events at the positions `kept`, ascending, or where the mask `kept` [len(self)] is true."""
        rows = np.flatnonzero(kept) if kept.dtype == np.bool_ else kept
        place = {int(at): new for new, at in enumerate(rows)}
        reviews = {
            name: {place[at]: vector for at, vector in vectors.items() if at in place}
            for name, vectors in self.reviews.items()
        }
        return self._with({name: array[rows] for name, array in self.events.items()}, reviews)

    def without_items(self, out_N: Bools) -> "History":
        """The history without the items with a true `out_N` [N], which are taken out of `seen` as well."""
        rest = self.take(~out_N[self.item])
        return rest._with(rest.events, rest.reviews, seen=self.seen[~out_N[self.seen]])

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """All fields as named arrays, for storage and fingerprints; `from_arrays` is the inverse."""
        arrays = {**self.events, "seen": self.seen}
        for name, vectors in self.reviews.items():
            if vectors:
                arrays[f"{name}:position"] = np.array(list(vectors), np.int64)
                arrays[f"{name}:vector"] = np.stack(list(vectors.values()))
        return arrays | {f"profile:{name}": ids for name, ids in self.profile.items()}

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> "History":
        """The history from the `arrays` of `to_arrays`."""
        reviews = {}
        for name in REVIEW_FIELDS:
            if f"{name}:position" in arrays:
                vectors = arrays[f"{name}:vector"].astype(np.float32, copy=False)
                reviews[name] = dict(zip(arrays[f"{name}:position"].tolist(), vectors, strict=True))
        profile = {
            name.removeprefix("profile:"): ids for name, ids in arrays.items() if name.startswith("profile:")
        }
        return cls.of(arrays, seen=arrays["seen"], profile=profile, reviews=reviews)

    def _with(
        self, events: Arrays, reviews: Mapping[str, Mapping[int, Floats]], seen: Ints | None = None
    ) -> "History":
        """A history of the same user with other events."""
        return History.of(
            events,
            seen=self.seen if seen is None else seen,
            profile=self.profile,
            reviews=reviews,
            asked_at=self.asked_at,
        )


def _between(vectors: Mapping[int, Floats], start: int, stop: int) -> dict[int, Floats]:
    """Vectors at the positions [start, stop), counted from `start`; other positions are not read."""
    if not vectors:
        return {}
    return {at - start: vectors[at] for at in range(start, stop) if at in vectors}


@dataclass(frozen=True, kw_only=True)
class SequenceSchema:
    """Widths and scales of the user tower's inputs; part of the manifest."""

    max_length: int
    has_clock: bool
    num_event_kinds: int  # reserved ids included
    number_scales: Mapping[str, tuple[float, float]]  # of `EVENT_NUMBERS`: mean and standard deviation
    review_text_dim: int  # 0: the tower has no such input
    review_audio_dim: int
    profile_sizes: Mapping[str, int]  # user field -> size of its vocabulary, reserved ids included
    profile_width: int = 4  # values kept of one user field


@dataclass(frozen=True, kw_only=True)
class SequenceBatch:
    """Right-padded histories: all inputs of the user tower except the items' vectors."""

    item: Ints  # [B, L] item ids; the tower itself reads their vectors, `event_vector`
    inputs: Mapping[str, npt.NDArray[np.generic]]  # every other input by its graph name
    length: Ints  # [B]


def collate(histories: Sequence[History], schema: SequenceSchema) -> SequenceBatch:
    """Pad `histories`, each cut to the newest `schema.max_length` events, into one batch.

    L is the length of the longest, at least 1: a batch of empty histories has one column of padding.
    """
    cut = [history.last(schema.max_length) for history in histories]
    num_rows, width = len(cut), max([1, *(len(history) for history in cut)])
    item = np.zeros((num_rows, width), np.int64)
    timestamp = np.zeros((num_rows, width), np.int64)
    event = np.zeros((num_rows, width), np.int64)
    inputs: dict[str, npt.NDArray[np.generic]] = {}
    for row, history in enumerate(cut):
        end = len(history)
        item[row, :end] = history.item
        event[row, :end] = history.event
        timestamp[row, :end] = _seconds(history.timestamp, schema.has_clock)
    inputs |= {"event_kind": event, "event_time": timestamp}
    for name, scale in schema.number_scales.items():
        inputs |= _number_inputs(name, [history.events[name] for history in cut], scale, width)
    for name in REVIEW_FIELDS:
        if dim := getattr(schema, f"{name}_dim"):
            inputs |= _review_inputs(name, [history.reviews[name] for history in cut], dim, width)
    for name in schema.profile_sizes:
        profile = np.zeros((num_rows, schema.profile_width), np.int64)
        for row, history in enumerate(cut):
            values = history.profile.get(name, np.empty(0, np.int64))[: schema.profile_width]
            profile[row, : len(values)] = values
        inputs[f"profile_{name}"] = profile
    length = np.array([len(history) for history in cut], np.int64)
    return SequenceBatch(item=item, inputs=inputs, length=length)


def _seconds(timestamp: Ints, has_clock: bool) -> Ints:
    """Whole seconds since the first event of the window; zeros where the data have no clock."""
    if not has_clock or not len(timestamp):
        return np.zeros_like(timestamp)
    elapsed_us: Ints = timestamp - timestamp[0]
    return elapsed_us // 1_000_000


def _number_inputs(
    name: str, numbers: Sequence[Floats], scale: tuple[float, float], width: int
) -> dict[str, npt.NDArray[np.generic]]:
    """Standardised numbers, 0 where one is missing, and the mask of the known ones. Shapes [B, L]."""
    scaled = np.zeros((len(numbers), width), np.float32)
    has = np.zeros((len(numbers), width), np.bool_)
    mean, std = scale
    for row, number in enumerate(numbers):
        known = ~np.isnan(number)
        has[row, : len(number)] = known
        scaled[row, : len(number)] = np.where(known, (number - mean) / std, 0.0)
    return {f"event_{name}": scaled, f"has_{name}": has}


def _review_inputs(
    name: str, reviews: Sequence[Mapping[int, Floats]], dim: int, width: int
) -> dict[str, npt.NDArray[np.generic]]:
    vectors = np.zeros((len(reviews), width, dim), np.float32)
    has = np.zeros((len(reviews), width), np.bool_)
    for row, by_position in enumerate(reviews):
        for position, vector in by_position.items():
            vectors[row, position] = vector
            has[row, position] = True
    return {name: vectors, f"has_{name}": has}
