"""One pass over all events: checks the order of the parts and makes the counts that the other checks need.

Legend: L events, U users, N items, P parts.
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from features.leakage.events import SPLIT_REMEDY, AuditedEvents, Chunk
from features.leakage.rules import Rules
from features.splits import CODES, CONTEXT, PARTS, TEST, TRAIN, VALIDATION
from recsys.arrays import Bools, Ints
from recsys.errors import LeakError
from recsys.history import EVENT_NUMBERS
from recsys.ids import NUM_RESERVED

NEVER = np.iinfo(np.int64).max  # later than the time of any event


@dataclass(kw_only=True)
class NumberSums:
    """Mean and deviation of one number of the training events, by separate code from the audited scale."""

    count: int = 0
    shift: float = 0.0  # a number near the mean: squares of large numbers would lose digits
    sums: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(2))

    def add(self, numbers: npt.NDArray[np.float64]) -> None:
        numbers = numbers[~np.isnan(numbers)]
        if len(numbers):
            if not self.count:
                self.shift = float(numbers[0])
            centred = numbers - self.shift
            self.sums += (centred.sum(), (centred**2).sum())
            self.count += len(numbers)

    @property
    def scale(self) -> tuple[float, float]:
        """Mean and standard deviation; 0 and 1 without any number."""
        if not self.count:
            return 0.0, 1.0
        mean, square = self.sums / self.count
        return float(mean) + self.shift, float(np.sqrt(max(square - mean**2, 0.0)))


@dataclass(kw_only=True)
class EventCounts:
    """Counts from the events of the dataset, not from the inputs of training.

    counts       [P, N] events
    positive     [N] positive training events
    has_train    [U]
    known        [N] training and validation events, and context events after the user's first validation
    first, last  [P, U] times of a user's first and last event; NEVER and -NEVER where there is none
    kinds        [number of kinds] training events
    targets      (user, item) pairs of the validation and of the test events, by part
    held         pairs of reviewers whose reviews may not be read
    trained      pairs of reviewers with a training event
    """

    counts: Ints
    positive: Ints
    known: Ints
    has_train: Bools
    first: Ints
    last: Ints
    kinds: Ints
    targets: dict[str, Ints] = field(default_factory=dict)
    held: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    trained: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    numbers: dict[str, "NumberSums"] = field(
        default_factory=lambda: {name: NumberSums() for name in EVENT_NUMBERS}
    )

    def first_of(self, *parts: str) -> Ints:
        """Time of each user's first event in `parts`. Shape [U]."""
        return np.asarray(self.first[[CODES[part] for part in parts]].min(0))

    def last_of(self, *parts: str) -> Ints:
        return np.asarray(self.last[[CODES[part] for part in parts]].max(0))

    def of_part(self, part: str) -> Ints:
        """Events of each item in that part. Shape [N]."""
        return np.asarray(self.counts[CODES[part]])


def count_events(events: AuditedEvents, rules: Rules, reviewers: Bools) -> EventCounts:
    """The counts. Raises `LeakError` where the parts are not in the order of the protocol.

    `reviewers` [U] are the users whose held and trained pairs are collected.
    """
    num_users, num_items = len(events.users), events.item_ids.size
    found = EventCounts(
        counts=np.zeros((len(PARTS), num_items), np.int64),
        positive=np.zeros(num_items, np.int64),
        known=np.zeros(num_items, np.int64),
        has_train=np.zeros(num_users, np.bool_),
        first=np.full((len(PARTS), num_users), NEVER),
        last=np.full((len(PARTS), num_users), -NEVER),
        kinds=np.zeros(len(events.kinds), np.int64),
    )
    pairs: dict[str, list[Ints]] = {VALIDATION: [], TEST: [], "held": [], "trained": []}
    for chunk in events.chunks():
        if not len(chunk):
            continue
        _check_order(events, chunk, rules)
        _add(found, chunk)
        keys = events.keys(chunk.user, chunk.item)
        for part in (VALIDATION, TEST):
            pairs[part].append(keys[chunk.is_part(part)])
        pairs["held"].append(keys[chunk.is_part(*rules.held) & reviewers[chunk.user]])
        pairs["trained"].append(keys[chunk.is_part(TRAIN) & reviewers[chunk.user]])
    joined = {name: np.concatenate([np.empty(0, np.int64), *each]) for name, each in pairs.items()}
    found.held, found.trained = joined.pop("held"), joined.pop("trained")
    found.targets = joined
    if rules.for_all:
        _check_order_for_all(events, found, rules)
    if rules.hidden:
        _check_hidden(events, found, rules)
    if rules.derived:
        _check_context(events, found)
    return found


def _add(found: EventCounts, chunk: Chunk) -> None:
    size = found.counts.shape[1]
    place = chunk.part.astype(np.int64) * size + chunk.item
    found.counts += np.bincount(place, minlength=found.counts.size).reshape(found.counts.shape)
    train = chunk.is_part(TRAIN)
    found.positive += np.bincount(chunk.item[train & chunk.positive], minlength=size)
    later = np.arange(len(chunk)) > chunk.first_place(VALIDATION)
    known = chunk.is_part(TRAIN, VALIDATION) | (chunk.is_part(CONTEXT) & later)
    found.known += np.bincount(chunk.item[known], minlength=size)
    found.kinds += np.bincount(chunk.kind[train], minlength=len(found.kinds))
    found.has_train[chunk.user[train]] = True
    users, starts = chunk.user[chunk.starts], chunk.starts
    for part, code in CODES.items():
        in_part = chunk.is_part(part)
        found.first[code, users] = np.minimum.reduceat(np.where(in_part, chunk.timestamp, NEVER), starts)
        found.last[code, users] = np.maximum.reduceat(np.where(in_part, chunk.timestamp, -NEVER), starts)
    for at, name in enumerate(EVENT_NUMBERS):
        found.numbers[name].add(chunk.numbers[train, at])


def _check_order(events: AuditedEvents, chunk: Chunk, rules: Rules) -> None:
    for at, part in enumerate(rules.order[:-1]):
        later = rules.order[at + 1 :]
        wrong = chunk.is_part(part) & (np.arange(len(chunk)) > chunk.first_place(*later))
        if wrong.any():
            raise events.leak(
                f"a {part} event comes after the user's first {' or '.join(later)} event, "
                f"against the protocol {events.split.protocol!r}",
                chunk,
                int(wrong.argmax()),
                table=f"split.{part}",
                remedy=SPLIT_REMEDY,
            )


def _check_order_for_all(events: AuditedEvents, found: EventCounts, rules: Rules) -> None:
    for at, part in enumerate(rules.order[:-1]):
        later = rules.order[at + 1 :]
        last, first = found.last_of(part), found.first_of(*later)
        if last.max() >= first.min():
            raise LeakError(
                f"a {part} event at {last.max()} is not earlier than the first "
                f"{' or '.join(later)} event of all users, at {first.min()}",
                table=f"split.{part}",
                user=events.user_name(int(last.argmax())),
                remedy=SPLIT_REMEDY,
            )


def _check_hidden(events: AuditedEvents, found: EventCounts, rules: Rules) -> None:
    is_hidden = np.any([found.of_part(part) > 0 for part in rules.hidden], axis=0)
    is_hidden[:NUM_RESERVED] = False
    for part in (TRAIN, VALIDATION, CONTEXT):
        wrong = is_hidden & (found.of_part(part) > 0)
        if wrong.any():
            raise LeakError(
                f"an item that is hidden to be cold in the test has {part} events",
                table=f"split.{part}",
                item=events.item_name(int(wrong.argmax())),
                remedy=SPLIT_REMEDY,
            )


def _check_context(events: AuditedEvents, found: EventCounts) -> None:
    """Predefined splits: raise `LeakError` for context events on an item that is not in the training file.

    Context events of the training file come after their user's first validation event. Without any validation
    event it is unknown which file a context event is from, and nothing is checked.
    """
    wrong = (found.of_part(CONTEXT) > 0) & (found.known == 0)
    wrong[:NUM_RESERVED] = False
    if wrong.any() and found.of_part(VALIDATION).any():
        raise LeakError(
            "an item that is not in the training file, and so is cold in the test, has context events",
            table="split.context",
            item=events.item_name(int(wrong.argmax())),
            remedy=SPLIT_REMEDY,
        )


def summary(found: EventCounts) -> str:
    """The number of events of each part, as text."""
    totals = found.counts.sum(1)
    words = [f"{totals[CODES[part]]:,} {part}" for part in (TRAIN, VALIDATION, TEST, CONTEXT)]
    return ", ".join(words)
