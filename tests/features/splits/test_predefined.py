import re
from pathlib import Path

import polars as pl
import pytest
from split_parts import dataset, given, pairs, rows

from features.splits.make import make_split
from recsys.config import SplitConfig
from recsys.errors import ConfigError, DataError


def test_given_files_are_matched_by_the_names_of_dataset_toml(tmp_path: Path) -> None:
    (tmp_path / "dataset.toml").write_text(
        'name = "x"\n[items]\npath = "i.csv"\nid = "m"\n[interactions]\npath = "e.csv"\n'
        'user = "u"\nitem = "m"\ntimestamp = "t"\ntime = "unix_s"\n'
    )
    second = 1_000_000
    data = dataset([("1", f"{at}", at * second) for at in range(6)], root=tmp_path)
    train = pl.DataFrame({"u": [1, 1, 1, 1, 1], "m": [0, 1, 2, 3, 99], "t": [0, 1, 2, 3, 9]})
    split = given(tmp_path, data, train, pl.DataFrame({"u": [1], "m": [5], "t": [5]}))
    assert split.protocol == "predefined"
    assert pairs(split.test) == [("1", "5")]
    assert pairs(split.validation) == [("1", "3")], "the newest training event of a user with three or more"
    assert rows(split.train) == [0, 1, 2]
    assert "4 of 5 training rows are events" in split.description
    assert "1 events of the dataset are in neither file" in split.description


def test_given_without_times_matches_every_event_of_the_pair(tmp_path: Path) -> None:
    data = dataset([("a", "x", 1), ("a", "x", 2), ("a", "y", 3), ("b", "x", 1)])
    train = pl.DataFrame({"user_id": ["a", "b"], "item_id": ["x", "x"]})
    split = given(tmp_path, data, train, pl.DataFrame({"user_id": ["a"], "item_id": ["y"]}))
    assert rows(split.train) == [0, 1, 3]
    assert rows(split.test) == [2]


def test_given_test_rows_that_are_not_positive_are_context_where_training_knows_the_item(
    tmp_path: Path,
) -> None:
    data = dataset(
        [
            ("b", "known", 0, False),
            ("a", "x", 1),
            ("a", "new", 2, False),
            ("a", "known", 3, False),
            ("a", "y", 4),
        ],
        [("a", "new", 2)],
    )
    train = pl.DataFrame({"user_id": ["b", "a"], "item_id": ["known", "x"]})
    test = pl.DataFrame({"user_id": ["a", "a", "a"], "item_id": ["new", "known", "y"]})
    split = given(tmp_path, data, train, test)
    assert pairs(split.test) == [("a", "y")]
    assert pairs(split.context) == [("a", "known")]
    assert pairs(split.events_before(split.test)) == [("b", "known"), ("a", "x"), ("a", "known")]
    assert not split.reviews.height, "nor is a review of a pair whose event nobody reads"


def test_what_nobody_reads_does_not_say_how_the_files_were_cut(tmp_path: Path) -> None:
    """An early row on a new item that is not positive: the audit, which has the parts alone, says so too."""
    data = dataset([("a", "new", 0, False), ("a", "x", 1), ("a", "y", 2)])
    train = pl.DataFrame({"user_id": ["a"], "item_id": ["x"]})
    split = given(tmp_path, data, train, pl.DataFrame({"user_id": ["a", "a"], "item_id": ["new", "y"]}))
    assert split.cut == "for_all"


def test_ids_of_the_files_without_an_event_are_counted_on_both_sides_and_near_misses_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = dataset([("7", "x", 1), ("8", "y", 2), ("9", "x", 3), ("9", "y", 4), ("10", "z", 5)])
    train = pl.DataFrame({"user_id": ["007", "8", "9", "q"], "item_id": ["x", "y", "x", "x"]})
    split = given(tmp_path, data, train, pl.DataFrame({"user_id": ["9"], "item_id": ["y"]}))
    assert "2 of 4 training rows are events" in split.description
    expected = (
        "2 of 4 users of train.parquet have no event in the dataset; 1 differ from "
        "users of the dataset in leading zeros only ('007' here, '7' there): write both alike"
    )
    assert expected in split.description
    assert expected in caplog.text
    assert "2 users of the dataset are in neither file" in split.description
    assert "1 items of the dataset are in neither file" in split.description


@pytest.mark.parametrize(
    ("column", "ids", "near"),
    [
        ("user_id", ["07", "08", "9"], "leading zeros only ('07' here, '7' there)"),
        ("item_id", ["X", "Y", "x"], "case only ('X' here, 'x' there)"),
    ],
)
def test_a_file_of_near_misses_is_an_error(tmp_path: Path, column: str, ids: list[str], near: str) -> None:
    data = dataset([("7", "x", 1), ("8", "y", 2), ("9", "x", 3), ("9", "y", 4)])
    train = pl.DataFrame({"user_id": ["7", "8", "9"], "item_id": ["x", "y", "x"]})
    test = pl.DataFrame({"user_id": ["9"], "item_id": ["y"]})
    with pytest.raises(DataError, match=f"2 of 3 .*{re.escape(near)}"):
        given(tmp_path, data, train.with_columns(pl.Series(column, ids)), test)


def test_without_times_of_the_interactions_the_times_of_the_files_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "dataset.toml").write_text(
        'name = "x"\n[interactions]\npath = "e.csv"\nuser = "u"\nitem = "m"\n'
    )
    data = dataset([("a", "x", 0), ("a", "y", 1), ("a", "x", 2)], root=tmp_path)
    train = pl.DataFrame({"u": ["a"], "m": ["x"], "timestamp": [1_600_000_000]})
    split = given(tmp_path, data, train, pl.DataFrame({"u": ["a"], "m": ["y"], "timestamp": [1]}))
    assert rows(split.train) == [0, 2]
    with pytest.raises(DataError, match=r"2 events are in .*name interactions\.timestamp in dataset\.toml"):
        given(tmp_path, data, train, train)


@pytest.mark.parametrize(
    ("test", "expected"),
    [
        ({"user_id": ["a"], "item_id": ["x"]}, "1 events are in train.parquet and in test.csv"),
        ({"user_id": ["q"], "item_id": ["x"]}, "none of its 1 rows is an event of 'test'"),
        ({"user": ["a"], "item_id": ["x"]}, "no column 'user_id'; did you mean 'user'?"),
    ],
)
def test_given_files_that_do_not_fit(tmp_path: Path, test: dict[str, list[str]], expected: str) -> None:
    data = dataset([("a", "x", 1), ("a", "y", 2)])
    with pytest.raises(DataError, match=expected.replace("?", r"\?")):
        given(tmp_path, data, pl.DataFrame({"user_id": ["a"], "item_id": ["x"]}), pl.DataFrame(test))


def test_the_configuration_names_files_relative_to_the_dataset(tmp_path: Path) -> None:
    data = dataset([("a", "x", 1), ("a", "y", 2)], root=tmp_path)
    pl.DataFrame({"user_id": ["a"], "item_id": ["x"]}).write_csv(tmp_path / "tr.csv")
    pl.DataFrame({"user_id": ["a"], "item_id": ["y"]}).write_csv(tmp_path / "te.csv")
    assert make_split(data, SplitConfig(train="tr.csv", test="te.csv")).protocol == "predefined"
    with pytest.raises(ConfigError, match="only one is named"):
        make_split(data, SplitConfig(train="tr.csv"))
    with pytest.raises(ConfigError, match="reads no files"):
        make_split(data, SplitConfig(protocol="leave_one_out", train="tr.csv", test="te.csv"))
    with pytest.raises(ConfigError, match="needs two files"):
        make_split(data, SplitConfig(protocol="predefined"))
