"""Datasets without interactions: what is read, what `check` says, and how commands that learn refuse them."""

from pathlib import Path

import polars as pl
import pytest
from dataset_parts import load, problems, write
from walk_parts import recsys

from features.dataset import require_interactions
from features.dataset.interactions import INTERACTIONS_SCHEMA
from features.event_log import check_dataset, load_streamed, open_dataset
from recsys.config import DataConfig
from recsys.errors import DataError

REVIEWS: dict[str, object] = {"path": "r.csv", "user": "user", "item": "item", "text": "text"}
REVIEW_ROWS = "user,item,text,at\na,1,good,5\na,99,of no item,6\n"


def test_items_alone_are_a_dataset_with_an_empty_table_of_interactions(tmp_path: Path) -> None:
    data = load(tmp_path, {}, interactions=None)
    with_events = load(tmp_path / "other", {})
    assert not data.has_interactions
    assert with_events.has_interactions
    assert data.interactions.schema == with_events.interactions.schema == pl.Schema(INTERACTIONS_SCHEMA)
    assert data.items.equals(with_events.items)
    assert data.users.height == data.reviews.height == 0
    assert not data.has_clock
    assert data.warnings == ()
    assert data.event_summary().num_events == 0
    assert data.history_lengths().tolist() == []
    assert data.fingerprint() != with_events.fingerprint()


def test_they_are_opened_as_any_dataset(tmp_path: Path) -> None:
    root = write(tmp_path / "shop", {}, interactions=None)
    data = open_dataset(root, DataConfig(stream_above=1), cache_dir=tmp_path / "cache")
    assert data.items.height == 3
    assert not (tmp_path / "cache").exists()


def test_reviews_need_no_interactions(tmp_path: Path) -> None:
    timed = REVIEWS | {"timestamp": "at", "time": "unix_s"}
    data = load(tmp_path, {"r.csv": REVIEW_ROWS}, interactions=None, reviews=timed)
    assert data.reviews.select("item_id", "text", "timestamp").rows() == [("1", "good", 5_000_000)]
    assert [entry.value for entry in data.rejected] == ["99"]
    assert data.has_clock
    assert data.unmatched_ids == {}
    assert data.warnings == ()


def test_items_have_a_unit_of_their_own(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {"items.csv": "id,title,added\n1,One,2020-09-23\n2,Two,\n"}
    dated = load(tmp_path, files, interactions=None, items={"created_at": "added", "time": "iso"})
    assert dated.items["created_at"].to_list() == [1_600_819_200_000_000, None]
    assert dated.has_clock
    files["items.csv"] = "id,title,added\n1,One,7\n2,Two,8\n3,Three,9\n"
    both = load(tmp_path, files, items={"created_at": "added", "time": "unix_ms"})
    assert both.items["created_at"].to_list() == [7000, 8000, 9000]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"items": {"created_at": "added"}}, "items.time is missing: the unit of the column 'added'"),
        ({"items": {"time": "iso"}}, "items.time = 'iso' is the unit of no column"),
        ({"reviews": REVIEWS | {"timestamp": "at"}}, "reviews.time is missing: the unit of the column 'at'"),
        ({"split": {"train": "a.csv", "test": "b.csv"}}, "[split] is about events"),
        ({"oracle": {"users": "a.csv", "items": "b.csv"}}, "[oracle] is about events"),
        ({"items": None}, "[items] and [interactions] are missing"),
    ],
)
def test_sections_that_need_interactions_say_so(
    tmp_path: Path, changes: dict[str, dict[str, object] | None], expected: str
) -> None:
    (found,) = problems(tmp_path, {}, interactions=None, **changes)
    assert expected in found


def test_dates_and_positions_are_not_mixed(tmp_path: Path) -> None:
    reviews = REVIEWS | {"timestamp": "at", "time": "order"}
    items = {"created_at": "added", "time": "iso"}
    (found,) = problems(tmp_path, {}, interactions=None, items=items, reviews=reviews)
    assert "reviews.time is 'order' but items.time is 'iso'" in found
    assert "leave out reviews.timestamp" in found


def test_check_says_what_it_can_be_used_for(tmp_path: Path) -> None:
    root = write(tmp_path / "a shop", {}, interactions=None)
    said = check_dataset(load(tmp_path / "a shop", {}, interactions=None)).messages
    assert f"recsys index '{root}' --out bundle" in said[0]
    answer = recsys("check", root)
    assert answer.code == 0, answer.err
    assert "recsys index" in answer.out
    assert "interactions by kind" not in answer.out
    assert "100.0% of the items" in answer.out
    assert "of the interactions" not in answer.out


@pytest.mark.parametrize("command", ["train", "run", "baselines", "ablate", "backtest", "prepare"])
def test_commands_that_learn_name_the_remedy_and_write_nothing(tmp_path: Path, command: str) -> None:
    root = write(tmp_path / "shop", {}, interactions=None)
    answer = recsys(command, root, "--out", tmp_path / "out")
    assert answer.code == 1
    assert "has no [interactions]" in answer.err
    assert f"recsys index {root} --out bundle" in answer.err
    assert not (tmp_path / "out").exists()


def test_an_event_log_of_no_interactions_is_refused(tmp_path: Path) -> None:
    root = write(tmp_path / "shop", {}, interactions=None)
    with pytest.raises(DataError, match=r"has no \[interactions\]"):
        load_streamed(root, tmp_path / "log")
    with pytest.raises(DataError, match=r"has no \[interactions\]"):
        require_interactions(root)
    require_interactions(write(tmp_path / "other", {}))
