"""Datasets without a table of items, and without times: what is read then, and what is said to be lost."""

import gzip
import io
from pathlib import Path

import polars as pl
import pytest
from dataset_parts import EVENTS, load, problems, reasons, write
from prepared_parts import SECTION, as_csv, as_json_lines, as_parquet, nasty_rows, streamed
from walk_parts import recsys

from features.dataset.load import load_dataset
from features.dataset.schema import DatasetSpec
from features.dataset.tables import Dataset
from features.splits.make import make_split
from recsys.config import SplitConfig
from recsys.errors import DataError

UNTIMED: dict[str, object] = {"timestamp": None, "time": None}
# Out of order, with repeats, a blank id, one of too many characters, and one whose only row has no time.
ODD_EVENTS = f"user,item,time\nb,10,30\na,9,10\n,7,10\na,,20\na,{'x' * 1025},20\na,8,\nb,10,5\nc,é,7\n"


def both(root: Path, **sizes: int) -> tuple[Dataset, Dataset]:
    """The dataset in memory and from an event log, which are equal."""
    whole, parts = load_dataset(root), streamed(root, **sizes)
    assert parts.items.equals(whole.items)
    assert parts.items.schema == whole.items.schema
    assert parts.users.equals(whole.users)
    assert parts.interactions.equals(whole.interactions)
    assert parts.has_clock == whole.has_clock
    assert parts.warnings == whole.warnings
    return whole, parts


@pytest.mark.parametrize("part_rows", [1, 3, 100])
def test_without_items_the_catalogue_is_the_valid_item_ids_of_the_interactions(
    tmp_path: Path, part_rows: int
) -> None:
    whole, _ = both(write(tmp_path, {"events.csv": ODD_EVENTS}, items=None), part_rows=part_rows)
    assert whole.items["item_id"].to_list() == ["10", "7", "8", "9", "é"]
    assert whole.items["title"].null_count() == 5
    assert whole.interactions["item_id"].to_list() == ["10", "é", "9", "10"]
    assert [line for line in whole.warnings if "no cold start" in line and "no search" in line]


@pytest.mark.parametrize("part_rows", [1, 100])
def test_item_ids_are_cast_as_one_column(tmp_path: Path, part_rows: int) -> None:
    """Ids such as 7.0 are whole numbers only if all of them are."""
    text = "user,item,time\na,7.0,1\nb,8.0,2\n"
    whole, _ = both(write(tmp_path / "all", {"events.csv": text}, items=None), part_rows=part_rows)
    assert whole.items["item_id"].to_list() == ["7", "8"]
    mixed = write(tmp_path / "mixed", {"events.csv": text + "c,x,3\n"}, items=None)
    whole, _ = both(mixed, part_rows=part_rows)
    assert whole.items["item_id"].to_list() == ["7.0", "8.0", "x"]


def test_a_log_without_items_is_opened_again_and_made_again_once_there_are_items(tmp_path: Path) -> None:
    root = write(tmp_path / "shop", {}, items=None)
    first = streamed(root)
    manifest = first.log.path / "manifest.json"
    made = manifest.stat().st_mtime_ns
    assert streamed(root).items.equals(first.items)
    assert manifest.stat().st_mtime_ns == made
    write(root, {"items.csv": "id,title\n1,One\n2,Two\n3,Three\n4,Four\n"})
    again = streamed(root)
    assert again.items["item_id"].to_list() == ["1", "2", "3", "4"]
    assert again.interactions.equals(load_dataset(root).interactions)


@pytest.mark.parametrize("part_rows", [1, 100])
def test_without_times_the_order_is_that_of_the_rows_of_all_files(tmp_path: Path, part_rows: int) -> None:
    files: dict[str, str | bytes] = {"log/1.csv": "user,item\nb,1\na,2\n"}
    files["log/2.csv"] = "user,item\na,3\nb,2\n"
    root = write(tmp_path, files, interactions={"path": "log/*", **UNTIMED})
    whole, _ = both(root, part_rows=part_rows)
    assert whole.interactions.select("user_id", "item_id", "timestamp").rows() == [
        ("b", "1", 0), ("a", "2", 1), ("a", "3", 2), ("b", "2", 3),
    ]  # fmt: skip
    assert not whole.has_clock
    assert [line for line in whole.warnings if "order of their rows" in line and "leave_one_out" in line]
    split = make_split(whole, SplitConfig())
    assert split.protocol == "leave_one_out"


def test_item_ids_of_files_of_all_formats(tmp_path: Path) -> None:
    rows = nasty_rows(5, 60)
    files: dict[str, str | bytes] = {
        "log/1.csv": as_csv(rows[:20]),
        "log/2.csv.gz": gzip.compress(as_csv(rows[20:30]).encode()),
        "log/3.parquet": as_parquet(rows[30:45]),
        "log/4.jsonl": as_json_lines(rows[45:]),
    }
    whole, _ = both(write(tmp_path, files, items=None, interactions=SECTION | {"path": "log/*"}), part_rows=7)
    assert whole.items["item_id"].to_list() == sorted({row[1] for row in rows if row[1]})


def test_items_that_only_reviews_describe(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {"r.csv": "user,item,text\na,1,good\na,99,of no item\n"}
    reviews: dict[str, object] = {"path": "r.csv", "user": "user", "item": "item", "text": "text"}
    whole, parts = both(write(tmp_path, files, items=None, reviews=reviews))
    assert whole.reviews["item_id"].to_list() == parts.reviews["item_id"].to_list() == ["1"]
    assert [line for line in whole.warnings if "only reviewed items have a cold start" in line]


def test_a_rejected_row_keeps_its_place(tmp_path: Path) -> None:
    text = "user,item\na,1\na,\na,3\n"
    whole, _ = both(write(tmp_path, {"events.csv": text}, items=None, interactions=UNTIMED))
    assert whole.interactions["timestamp"].to_list() == [0, 2]
    assert reasons(whole) == [("interactions", 1, "item", "", "empty id")]


def test_a_dataset_that_has_all_is_not_warned_of(tmp_path: Path) -> None:
    assert load(tmp_path, {}).warnings == ()


def test_times_of_reviews_and_items_need_those_of_the_interactions(tmp_path: Path) -> None:
    reviews = {"path": "r.csv", "user": "user", "item": "item", "text": "text", "timestamp": "at"}
    found = problems(tmp_path, {}, items={"created_at": "added"}, reviews=reviews, interactions=UNTIMED)
    assert len(found) == 2
    assert any("reviews.timestamp = 'at'" in line and "interactions.timestamp" in line for line in found)
    assert any("items.created_at = 'added'" in line and "interactions.timestamp" in line for line in found)


@pytest.mark.parametrize(
    ("interactions", "expected"),
    [
        ({"time": None}, "interactions.time is missing: the unit of the column 'time', one of unix_s"),
        ({"timestamp": None}, "interactions.time = 'unix_s' is the unit of no column"),
    ],
)
def test_a_unit_and_a_column_of_times_come_together(
    tmp_path: Path, interactions: dict[str, object], expected: str
) -> None:
    (found,) = problems(tmp_path, {}, interactions=interactions)
    assert expected in found


def test_order_without_a_column_may_be_written_out(tmp_path: Path) -> None:
    root = write(tmp_path, {}, interactions={"timestamp": None, "time": "order"})
    assert DatasetSpec.load(root).interactions.time == "order"


def test_problems_of_the_interactions_are_reported_once_and_equal_those_of_a_log(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {"events.csv": "user,items\na,1\n"}
    root = write(tmp_path, files, items=None)
    found = problems(tmp_path, files, items=None)
    assert ["no column" in line for line in found] == [True, True], found
    with pytest.raises(DataError) as caught:
        streamed(root)
    assert caught.value.problems == found


def test_unreadable_ids_are_reported_once(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    pl.DataFrame({"user": ["a"], "item": [True], "time": [1]}).write_parquet(buffer)
    files: dict[str, str | bytes] = {"events.parquet": buffer.getvalue()}
    root = write(tmp_path, files, items=None, interactions={"path": "events.parquet"})
    found = problems(tmp_path, files, items=None, interactions={"path": "events.parquet"})
    assert len(found) == 1
    assert "is Boolean, not an id" in found[0]
    with pytest.raises(DataError) as caught:
        streamed(root)
    assert caught.value.problems == found


def test_check_says_what_is_lost(tmp_path: Path) -> None:
    root = write(tmp_path, {"events.csv": EVENTS}, items=None, interactions=UNTIMED)
    answer = recsys("check", root)
    assert answer.code == 0, answer.err
    said = " ".join(answer.out.split())
    assert "no [items]" in said
    assert "no timestamp in [interactions]" in said
