"""A user's events as the user tower reads them, the same in training, batch and online.

Legend in recsys/arrays.py.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from recsys.arrays import Floats, Ints


@dataclass(frozen=True, kw_only=True)
class History:
    """One user's events in order, oldest first; all arrays have the same length.

    Holds what the tower reads. `seen` is every item of any event, never truncated.
    """

    item: Ints  # ids of the item map; UNKNOWN for an item that is not in the catalogue
    timestamp: Ints  # microseconds since the epoch, or positions where the data have no clock
    event: Ints  # ids of the event-kind map
    value: Floats  # NaN where there is none
    review_text: Mapping[int, Floats] = field(default_factory=dict)  # position -> [R]
    review_audio: Mapping[int, Floats] = field(default_factory=dict)
    seen: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    profile: Mapping[str, Ints] = field(default_factory=dict)  # user field -> ids, may be empty

    def __len__(self) -> int:
        return len(self.item)

    def last(self, length: int) -> "History":
        """The newest `length` events; `seen` and `profile` stay whole."""
        start = max(len(self) - length, 0)
        return History(
            item=self.item[start:],
            timestamp=self.timestamp[start:],
            event=self.event[start:],
            value=self.value[start:],
            review_text={at - start: vec for at, vec in self.review_text.items() if at >= start},
            review_audio={at - start: vec for at, vec in self.review_audio.items() if at >= start},
            seen=self.seen,
            profile=self.profile,
        )


@dataclass(frozen=True, kw_only=True)
class SequenceSchema:
    """Widths that fix the user tower's inputs; part of the manifest."""

    max_length: int
    has_clock: bool
    num_event_kinds: int  # reserved ids included
    value_mean: float
    value_std: float
    review_text_dim: int  # 0: the tower has no such input
    review_audio_dim: int
    profile_sizes: Mapping[str, int]  # user field -> size of its vocabulary, reserved ids included
    profile_width: int = 4  # values kept of one user field


@dataclass(frozen=True, kw_only=True)
class SequenceBatch:
    """Right-padded histories: inputs of the user tower, but for the items' vectors."""

    item: Ints  # [B, L] item ids; the tower itself reads their vectors, `event_vector`
    inputs: Mapping[str, npt.NDArray[np.generic]]  # every other input by its graph name
    length: Ints  # [B]


def collate(histories: Sequence[History], schema: SequenceSchema) -> SequenceBatch:
    """Pad `histories`, each cut to the newest `schema.max_length` events, into one batch.

    L is the longest of them, at least 1, so that a batch of empty histories still has a shape.
    """
    cut = [history.last(schema.max_length) for history in histories]
    num_rows, width = len(cut), max([1, *(len(history) for history in cut)])
    item = np.zeros((num_rows, width), np.int64)
    timestamp = np.zeros((num_rows, width), np.int64)
    event = np.zeros((num_rows, width), np.int64)
    value = np.zeros((num_rows, width), np.float32)
    has_value = np.zeros((num_rows, width), np.bool_)
    inputs: dict[str, npt.NDArray[np.generic]] = {}
    for row, history in enumerate(cut):
        end = len(history)
        item[row, :end] = history.item
        event[row, :end] = history.event
        timestamp[row, :end] = _seconds(history.timestamp, schema.has_clock)
        known = ~np.isnan(history.value)
        has_value[row, :end] = known
        scaled = (history.value - schema.value_mean) / schema.value_std
        value[row, :end] = np.where(known, scaled, 0.0)
    inputs |= {"event_kind": event, "event_time": timestamp, "event_value": value, "has_value": has_value}
    for name, dim in (("review_text", schema.review_text_dim), ("review_audio", schema.review_audio_dim)):
        if dim:
            inputs |= _review_inputs(name, [getattr(history, name) for history in cut], dim, width)
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
