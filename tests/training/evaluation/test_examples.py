"""The choice of example users, and their file."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from report_parts import IDS, answers, lists

from training.evaluation.examples import NUM_DRAWN, Example, Listed, drawn_rows, load_examples, save_examples
from training.evaluation.predictions import Predictions


def crowd(hits: list[bool]) -> Predictions:
    """Users with the ground truth a; users with a hit have it in their list."""
    num = len(hits)
    return replace(
        answers(),
        users=tuple(map(str, range(num))),
        num_seen=np.ones(num, np.int64),
        warm=lists(["a"] * num),
        cold=lists([""] * num),
        models={"recsys": np.array([[IDS.strict("a" if hit else "b")] for hit in hits])},
    )


@pytest.mark.parametrize("rare", [True, False])
def test_success_and_failure_are_both_shown_where_there_are_both(rare: bool) -> None:
    hits = [not rare] * 50
    hits[17] = rare
    for seed in range(5):
        rows = drawn_rows(crowd(hits), "recsys", seed)
        assert 17 in rows
        assert NUM_DRAWN <= len(rows) <= NUM_DRAWN + 1
        assert len(set(rows)) == len(rows)


def test_the_lot_is_the_same_each_time_and_hangs_on_the_seed() -> None:
    many = crowd([True, False] * 50)
    assert drawn_rows(many, "recsys", 0) == drawn_rows(many, "recsys", 0) != drawn_rows(many, "recsys", 1)


def test_few_users_are_all_shown() -> None:
    assert sorted(drawn_rows(crowd([False, True]), "recsys", 0)) == [0, 1]


def test_examples_come_back_as_they_were(tmp_path: Path) -> None:
    place = Listed(item="é", hit=True, past_item=None, modality="image")
    examples = [Example(user="u", num_past=3, past=("b", "a"), held_out=("é",), listed=(place,))]
    save_examples(examples, tmp_path / "examples.json")
    assert load_examples(tmp_path / "examples.json") == examples
    assert examples[0].num_hits == 1
    assert [path.name for path in tmp_path.iterdir()] == ["examples.json"]
