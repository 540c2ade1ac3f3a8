"""predictions.parquet: readable by other programs, and equal after reading."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from report_parts import IDS, answers

from recsys.errors import DataError
from recsys.ids import IdMap
from recsys.metrics.ranking import IdLists, at_k, means
from training.evaluation.predictions import Predictions


def test_comes_back_as_it_was(tmp_path: Path) -> None:
    kept = answers()
    kept.save(tmp_path / "predictions.parquet", IDS)
    read = Predictions.load(tmp_path / "predictions.parquet", IDS)
    assert read.users == kept.users
    assert read.num_seen.tolist() == kept.num_seen.tolist()
    for name in ("warm", "cold"):
        before, after = getattr(kept, name), getattr(read, name)
        assert after.offsets.tolist() == before.offsets.tolist()
        assert after.ids.tolist() == before.ids.tolist()
    assert list(read.models) == ["recsys", "popularity"]
    for name, ranked_UK in kept.models.items():
        assert np.array_equal(read.models[name], ranked_UK)
    assert [path.name for path in tmp_path.iterdir()] == ["predictions.parquet"]


def test_another_program_reads_names_and_gets_the_same_figures(tmp_path: Path) -> None:
    answers().save(tmp_path / "predictions.parquet", IDS)
    table = pl.read_parquet(tmp_path / "predictions.parquet")
    assert table.columns == [
        "user_id",
        "num_seen",
        "ground_truth_warm",
        "ground_truth_cold",
        "recsys",
        "popularity",
    ]
    assert table["recsys"].to_list() == [["a", "b", "c"], ["d", "c"], ["x", "a", "b"], None]
    assert table["ground_truth_cold"].to_list() == [None, None, ["x"], None]
    recalls = [
        len(set(sought) & set(found or [])) / len(sought)
        for sought, found in table.select("ground_truth_warm", "recsys").iter_rows()
    ]
    kept = answers()
    assert means(at_k(kept.models["recsys"], kept.warm, [3]))["recall@3"] == pytest.approx(np.mean(recalls))


def test_items_that_are_gone_are_refused(tmp_path: Path) -> None:
    answers().save(tmp_path / "predictions.parquet", IDS)
    with pytest.raises(DataError, match=r"predictions.parquet: column 'ground_truth_cold' has items"):
        Predictions.load(tmp_path / "predictions.parquet", IdMap(["a", "b", "c", "d", "e"]))


def test_ground_ground_truth_is_warm_and_cold_items_together() -> None:
    answers = Predictions(
        users=("a", "b"),
        num_seen=np.zeros(2, np.int64),
        warm=IdLists.from_lists([np.array([4, 2]), np.array([3])]),
        cold=IdLists.from_lists([np.empty(0, np.int64), np.array([7])]),
        models={},
    )
    assert {user: sorted(items.tolist()) for user, items in answers.ground_truth().items()} == {
        "a": [2, 4],
        "b": [3, 7],
    }
