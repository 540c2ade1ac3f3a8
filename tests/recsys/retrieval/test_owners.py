"""Visibility by owner: the mask, histories, and the grouping of users."""

import numpy as np
import pytest
from model_parts import tiny_history

from recsys.arrays import Bools
from recsys.history import History
from recsys.retrieval import Owners

OWNERS = Owners(["ann", "bob", None, "ann"])  # of the items 2 to 5


def items(mask: Bools | None) -> list[int]:
    assert mask is not None
    return np.flatnonzero(mask).tolist()


@pytest.mark.parametrize(
    ("user", "expected"),
    [("ann", [2, 4, 5]), ("bob", [3, 4]), ("ANN", [4]), ("", [4]), ("eve", [4]), (None, [4])],
)
def test_an_item_is_visible_to_its_owner_and_without_one_to_everybody(
    user: str | None, expected: list[int]
) -> None:
    assert items(OWNERS.visible(user)) == expected


def test_without_owners_nothing_is_restricted() -> None:
    nobody = Owners([None, None])
    history = tiny_history([2, 3])
    assert (bool(nobody), bool(OWNERS)) == (False, True)
    assert nobody.visible("ann") is None
    assert nobody.visible_history("ann", history) is history
    ((rows, allowed),) = nobody.by_visibility(["ann", None], None)
    assert (rows.tolist(), allowed) == ([0, 1], None)


def test_a_history_keeps_what_its_user_may_see_and_unknown_items() -> None:
    history: History = tiny_history([2, 3, 1, 4])
    seen = OWNERS.visible_history("bob", history)
    assert (seen.item.tolist(), seen.seen.tolist()) == (
        [3, 1, 4],
        [item for item in history.seen if item != 2],
    )
    assert OWNERS.visible_history(None, history).item.tolist() == [1, 4]


def test_users_with_the_same_items_are_one_group() -> None:
    allowed = np.array([False, False, True, True, True, False])
    users = ["bob", None, "ann", "eve", "bob"]
    found = [(rows.tolist(), items(mask)) for rows, mask in OWNERS.by_visibility(users, allowed)]
    assert found == [([1, 3], [4]), ([2], [2, 4]), ([0, 4], [3, 4])]
