"""Lists of a finished model are kept on disk and read in the same evaluation."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from recsys.arrays import Bools, Ints
from training.evaluation.system import KeptLists


class Model:
    """The lists are the numbers of the calls."""

    name = "model"

    def __init__(self) -> None:
        self.calls = 0

    def recommend(self, users: Sequence[str], k: int, *, allowed: Bools | None) -> Ints:
        self.calls += 1
        return np.full((len(users), k), self.calls, np.int64)


def lists(
    model: Model, folder: Path, key: str = "a", users: Sequence[str] = ("ann", "bob"), k: int = 2
) -> Ints:
    return KeptLists(model, folder, key).recommend(users, k, allowed=None)  # type: ignore[arg-type]


def test_the_model_is_asked_once(tmp_path: Path) -> None:
    model = Model()
    assert (lists(model, tmp_path) == 1).all()
    assert lists(model, tmp_path).tolist() == [[1, 1], [1, 1]]
    assert model.calls == 1


def test_other_users_keys_lengths_and_pools_are_asked_again(tmp_path: Path) -> None:
    model = Model()
    lists(model, tmp_path)
    lists(model, tmp_path, key="b")
    lists(model, tmp_path, users=("bob", "ann"))
    lists(model, tmp_path, k=3)
    KeptLists(model, tmp_path, "a").recommend(("ann", "bob"), 2, allowed=np.ones(5, np.bool_))  # type: ignore[arg-type]
    assert model.calls == 5


@pytest.mark.parametrize("kept", [0, 20, 140])
def test_a_damaged_file_is_made_again(tmp_path: Path, kept: int) -> None:
    model = Model()
    lists(model, tmp_path)
    path = next(tmp_path.iterdir())
    path.write_bytes(path.read_bytes()[:kept])
    assert (lists(model, tmp_path) == 2).all()
    assert (lists(model, tmp_path) == 2).all()
