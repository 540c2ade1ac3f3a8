"""Tables that cannot be used: every problem at once, with its place and a remedy."""

from pathlib import Path

import polars as pl
import pytest
from dataset_parts import problems, write

from features.dataset.load import load_dataset
from recsys.errors import DataError


def test_problems_of_all_tables_are_reported_together(tmp_path: Path) -> None:
    found = problems(
        tmp_path,
        {"items.csv": "id,tilte\n1,One\n", "events.csv": "usr,item,when\na,1,1\n"},
        users={"path": "people.csv", "id": "id"},
        split={"train": "train.csv", "test": "events.csv"},
    )
    assert len(found) == 5
    text = "\n".join(found)
    assert "[items] items.csv: no column 'title'; did you mean 'tilte'?" in text
    assert "[interactions] events.csv: no column 'user'; did you mean 'usr'?" in text
    assert "no column 'time'" in text
    assert "[users] path = 'people.csv': no such file" in text
    assert "[split] train.csv: no such file" in text


def test_a_missing_file_names_the_nearest(tmp_path: Path) -> None:
    (found,) = problems(tmp_path, {}, items={"path": "itmes.csv"})
    assert "did you mean 'items.csv'?" in found


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ("user,item,time\n", "no rows"),
        ("", "the file is empty"),
        ("user,item,time\na,1,noon\nb,2,night\n", "is a time (time = 'unix_s'); the first is 'noon'"),
        ("user,item,time\na,1,964982703000\n", "did you mean time = 'unix_ms'?"),
        ("user,item,time\na,7,1\n", "no row is left; rejected for item: an item that the items table"),
        ("user;item;time\na;1;1\n", "seem to have another separator"),
        ("user,item,time\na,1,1\na,2,1,9\n", "row 1 (line 3) has 4 fields, the header 3: 'a,2,1,9'"),
        (b"user,item,time\na,1,1\ncaf\xe9,2,1\n", "line 3 is not UTF-8 (byte 0xe9, as latin-1: 'caf\u00e9"),
    ],
)  # fmt: skip
def test_a_table_that_cannot_be_used(tmp_path: Path, events: str | bytes, expected: str) -> None:
    (found,) = problems(tmp_path, {"events.csv": events})
    assert expected in found
    assert found.startswith("[interactions] ")


@pytest.mark.parametrize(
    ("positive", "expected"),
    [
        ("stars > 3", "no column 'stars'"),
        ('"user" > 3', "cannot be computed"),
        ("item", "not true or false"),
        ("item > 5", "events.csv: positive = 'item > 5' is true of no row"),
    ],
)
def test_a_positive_that_cannot_be_used(tmp_path: Path, positive: str, expected: str) -> None:
    (found,) = problems(tmp_path, {}, interactions={"positive": positive})
    assert expected in found


def test_a_column_of_the_wrong_type(tmp_path: Path) -> None:
    root = write(tmp_path, {}, items={"path": "items.parquet"})
    pl.DataFrame({"id": [["1"], ["2"]], "title": ["a", "b"]}).write_parquet(root / "items.parquet")
    with pytest.raises(DataError, match=r"items\.parquet: column 'id' is List\(String\), not an id"):
        load_dataset(root)
