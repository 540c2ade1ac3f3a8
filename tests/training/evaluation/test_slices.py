"""Slices, counted by hand on four users."""

from dataclasses import replace

import numpy as np
import pytest
from report_parts import IDS, ground_truth

from recsys.arrays import Floats
from training.evaluation.ground_truth import Part
from training.evaluation.slices import by_item, by_user, slices_of


def popularity(**counts: int) -> Floats:
    found = np.zeros(IDS.size, np.float32)
    for name, count in counts.items():
        found[IDS.strict(name)] = count
    return found


def sought(part: Part) -> list[str]:
    """User -> names of the ground-truth items in the part."""
    lists = part.ground_truth.to_lists()
    return [
        f"{row + 1}:" + "".join(IDS.external[at - 2] for at in ids)
        for row, ids in zip(part.rows, lists, strict=True)
    ]


def test_thirds_of_the_pairs_and_the_cold_items() -> None:
    # Pairs on warm items: a 90, b 40, c 30, d 5, e 1. The first two of five (rounded up) are the tail.
    parts = by_item(ground_truth(), popularity(a=90, b=40, c=30, d=5, e=1))
    assert list(parts) == ["hot", "warm", "tail", "cold"]
    assert {name: sought(part) for name, part in parts.items()} == {
        "hot": ["1:a"], "warm": ["1:b", "2:c"], "tail": ["3:d", "4:e"], "cold": ["3:x"],
    }  # fmt: skip
    assert parts["hot"].description == "items with more than 40 positive training events"
    assert parts["warm"].description == "items with 6 to 40 of them"
    assert parts["tail"].description == "other warm items, with at most 5 of them"
    assert {part.num_ranked for part in parts.values()} == {7}


def test_an_item_sought_by_many_counts_as_often() -> None:
    # a is sought three times of six, so it fills the upper third alone and reaches into the middle one.
    many = ground_truth({"1": "a", "2": "a", "3": "ab", "4": "cd"})
    parts = by_item(many, popularity(a=9, b=5, c=4, d=1))
    assert {name: len(part.ground_truth.ids) for name, part in parts.items()} == {
        "hot": 0, "warm": 4, "tail": 2, "cold": 0,
    }  # fmt: skip


def test_items_of_one_popularity_stay_together() -> None:
    parts = by_item(ground_truth(), popularity(a=3, b=3, c=3, d=3, e=3))
    assert [len(part.ground_truth.ids) for part in parts.values()] == [0, 0, 5, 1]


def test_users_by_what_is_known_of_them() -> None:
    parts = by_user(ground_truth())
    assert {name: part.rows.tolist() for name, part in parts.items()} == {
        "no history": [], "new": [0], "light": [1, 2], "heavy": [3],
    }  # fmt: skip  # 2; 7 and 9; 30 items known
    assert parts["light"].description == "users with 5 to 9"
    assert parts["heavy"].description == "users with more than 9"
    assert sought(parts["light"]) == ["2:c", "3:d"], "cold items are another view's"


def test_users_without_a_history_are_a_slice_of_their_own() -> None:
    made = replace(ground_truth(), num_seen=np.array([0, 1, 9, 0]))
    parts = by_user(made)
    assert {name: part.rows.tolist() for name, part in parts.items()} == {
        "no history": [0, 3], "new": [1], "light": [2], "heavy": [],
    }  # fmt: skip
    assert parts["no history"].description == "users without a known item"
    assert parts["new"].description == "users with 1 to 4 known items"


def test_users_of_a_test_of_cold_items_alone() -> None:
    parts = by_user(ground_truth({"1": "x", "2": "y", "3": "x", "4": "xy"}))
    assert sum(len(part.ground_truth.ids) for part in parts.values()) == 5


@pytest.mark.parametrize("pairs", [{}, {"1": "x"}])
def test_without_pairs_on_items_with_a_past(pairs: dict[str, str]) -> None:
    parts = slices_of(ground_truth(pairs), popularity())
    assert [len(part.rows) for part in parts["items"].values()] == [0, 0, 0, len(pairs)]
    assert sum(len(part.rows) for part in parts["users"].values()) == len(pairs)
