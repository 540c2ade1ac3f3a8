from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from features.importers.amazon.core import EventKeys
from features.importers.blocks import LINE
from recsys.errors import DataError

Event = tuple[int, str, str, int]  # line, user, item, time


def keys_of(folder: Path, events: list[Event], rows_per_bucket: int) -> tuple[EventKeys, list[int]]:
    """The keys and the lines that were not kept."""
    log = pl.DataFrame(events, schema=[LINE, "user", "item", "time"], orient="row")
    keys = EventKeys(folder, user="user", item="item", time="time")
    again = list(keys.partition(log.lazy(), log.height, rows_per_bucket=rows_per_bucket))
    return keys, sorted(line for frame in again for line in frame[LINE])


def kept_lines(keys: EventKeys, num_lines: int) -> list[int]:
    lines = pl.DataFrame({LINE: range(num_lines)}, schema={LINE: pl.Int64})
    return lines.filter(keys.is_kept(num_lines))[LINE].to_list()


@pytest.mark.parametrize("rows_per_bucket", [1, 2, 100])
def test_the_earliest_event_of_a_pair_is_kept_ties_by_line(tmp_path: Path, rows_per_bucket: int) -> None:
    events = [
        (0, "a", "x", 50), (1, "a", "x", 20), (2, "b", "x", 20), (4, "a", "x", 20), (5, "a", "y", 10),
    ]  # fmt: skip
    keys, again = keys_of(tmp_path / "keys", events, rows_per_bucket)
    assert again == [0, 4]
    assert kept_lines(keys, 6) == [1, 2, 5]
    assert (keys.num_rows(), keys.num_users()) == (3, 2)
    assert sorted(keys.items().rows()) == [("x", 2), ("y", 1)]
    assert len(keys.files) == -(-5 // rows_per_bucket)


def test_a_core_that_falls_apart_step_by_step(tmp_path: Path) -> None:
    square = [(0, "a", "x", 1), (1, "a", "y", 1), (2, "b", "x", 1), (3, "b", "y", 1)]
    # z leaves for want of users, then c for want of items, then w.
    chain = [(4, "c", "w", 1), (5, "c", "z", 1), (6, "d", "w", 1)]
    keys, _ = keys_of(tmp_path / "keys", square + chain, 3)
    keys.reduce_to_core(2)
    assert kept_lines(keys, 7) == [0, 1, 2, 3]
    with pytest.raises(DataError, match="no user and no item is left in the 3-core"):
        keys.reduce_to_core(3)


@pytest.mark.parametrize("rows_per_bucket", [40, 1000])
def test_the_core_is_that_of_removing_one_by_one(tmp_path: Path, rows_per_bucket: int) -> None:
    rng = np.random.default_rng(0)
    events = [
        (line, f"u{rng.integers(60)}", f"i{int(rng.exponential(12))}", int(rng.integers(1000)))
        for line in range(400)
    ]
    first: dict[tuple[str, str], Event] = {}
    for event in sorted(events, key=lambda event: (event[3], event[0])):
        first.setdefault((event[1], event[2]), event)
    left = list(first.values())
    while True:
        users, items = Counter(event[1] for event in left), Counter(event[2] for event in left)
        bad = next((event for event in left if users[event[1]] < 4 or items[event[2]] < 4), None)
        if bad is None:
            break
        left.remove(bad)
    assert 0 < len(left) < len(first)
    keys, _ = keys_of(tmp_path / "keys", events, rows_per_bucket)
    keys.reduce_to_core(4)
    assert kept_lines(keys, 400) == sorted(event[0] for event in left)
