"""Compares the histories that models read with the events that may be read when their targets are predicted.

Legend: L events, S seen items.
"""

from collections.abc import Mapping

import numpy as np
import polars as pl

from features.leakage.events import AuditedEvents, Chunk, among
from features.splits import CONTEXT, PARTS, TEST, TRAIN, UNUSED, VALIDATION
from recsys.arrays import Bools, Ints
from recsys.errors import LeakError
from recsys.history import History
from recsys.ids import UNKNOWN

HISTORY_REMEDY = "take histories from the split: its methods training, before_validation and before_test"
_EVENT = ["user", "item", "timestamp"]


def training(chunk: Chunk) -> Bools:
    """Events that training may read. Shape [L]."""
    return chunk.is_part(TRAIN)


def before_validation(chunk: Chunk) -> Bools:
    """Events that may be read when validation events are predicted. Shape [L]."""
    return chunk.is_part(TRAIN) | _context_before(chunk, VALIDATION)


def before_test(chunk: Chunk) -> Bools:
    """Events that may be read when test events are predicted. Shape [L]."""
    return chunk.is_part(TRAIN, VALIDATION) | _context_before(chunk, TEST)


def check_histories(
    events: AuditedEvents, chunk: Chunk, known: Bools, histories: Mapping[str, History], *, table: str
) -> None:
    """Raises `LeakError` where a history or its seen items hold an event outside the `known` events [L]."""
    names = list(histories)
    codes = events.codes_of(pl.Series(names, dtype=pl.String))
    each = [histories[name] for name in names]
    _check_events(events, chunk, known, names, codes, each, table)
    seen = _joined([history.seen for history in each])
    keys = events.keys(np.repeat(codes, [len(history.seen) for history in each]), seen)
    wrong = ~among(keys, events.keys(chunk.user[known], chunk.item[known]))
    wrong &= seen > UNKNOWN
    if wrong.any():
        place = int(wrong.argmax())
        raise LeakError(
            "a seen item has no event of the user before the cut-off",
            table=table,
            user=names[int(np.searchsorted(np.cumsum([len(one.seen) for one in each]), place, "right"))],
            item=events.item_name(int(seen[place])),
            remedy=HISTORY_REMEDY,
        )


def check_targets(
    events: AuditedEvents, targets: Mapping[str, Ints], pairs: Ints, *, part: str, table: str
) -> None:
    """Raises `LeakError` where a target is not an event of `part`; `pairs` are the keys of its events."""
    names = list(targets)
    codes = events.codes_of(pl.Series(names, dtype=pl.String))
    items = [targets[name] for name in names]
    user = np.repeat(codes, [len(each) for each in items])
    item = _joined(items)
    wrong = (user < 0) | ~among(events.keys(user, item), pairs)
    if wrong.any():
        place = int(wrong.argmax())
        raise LeakError(
            f"a target is not a {part} event; models may have been fitted on it",
            table=table,
            user=names[int(np.searchsorted(np.cumsum([len(each) for each in items]), place, "right"))],
            item=events.item_name(int(item[place])),
            remedy=f"take targets from split.{part} alone",
        )


def _context_before(chunk: Chunk, target: str) -> Bools:
    before: Bools = np.arange(len(chunk)) < chunk.first_place(target)
    return chunk.is_part(CONTEXT) & before


def _check_events(
    events: AuditedEvents,
    chunk: Chunk,
    known: Bools,
    names: list[str],
    codes: Ints,
    each: list[History],
    table: str,
) -> None:
    """Raises `LeakError` where a history of `each` holds an event outside the `known` events [L]."""

    def read(name: str) -> Ints:
        if name == "user":
            return np.repeat(codes, [len(history) for history in each])
        return _joined([getattr(history, name) for history in each])

    def allowed(name: str) -> Ints:
        return np.asarray(getattr(chunk, name)[known])

    # One column at a time: all columns of all events at once are the peak of a small model's memory.
    if not all(np.array_equal(read(name), allowed(name)) for name in _EVENT):
        both = [{name: of(name) for name in _EVENT} for of in (read, allowed)]
        _reject_unknown(events, chunk, known, both[0], both[1], names, table)


def _reject_unknown(
    events: AuditedEvents,
    chunk: Chunk,
    known: Bools,
    read: Mapping[str, Ints],
    allowed: Mapping[str, Ints],
    names: list[str],
    table: str,
) -> None:
    """Raises `LeakError` for the first event that the histories have more often than `allowed`."""
    counted = pl.DataFrame(read).group_by(_EVENT, maintain_order=True).len()
    may = pl.DataFrame(allowed).group_by(_EVENT).len("may")
    joined = counted.join(may, on=_EVENT, how="left", maintain_order="left")
    for user, item, time, _, _ in joined.filter(pl.col("len") > pl.col("may").fill_null(0)).iter_rows():
        same = (chunk.user == user) & (chunk.item == item) & (chunk.timestamp == time) & ~known
        kind = _words_of(PARTS[int(chunk.part[same.argmax()])]) if same.any() else "no known event"
        raise LeakError(
            f"a history has {kind} at {time}, which is not among the events that it may have",
            table=table,
            user=events.user_name(user) if user >= 0 else _without_events(events, names),
            item=events.item_name(item),
            remedy=HISTORY_REMEDY,
        )


def _words_of(part: str) -> str:
    return "an unused event of the user" if part == UNUSED else f"the user's {part} event"


def _without_events(events: AuditedEvents, names: list[str]) -> str:
    return next(name for name in names if name not in set(events.users))


def _joined(arrays: list[Ints]) -> Ints:
    return np.concatenate([np.empty(0, np.int64), *arrays])
