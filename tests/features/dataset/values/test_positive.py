"""The `positive` expression: what is unknown is not true, and a value that it cannot read rejects its row."""

from pathlib import Path

import polars as pl
import pytest
from dataset_parts import write
from prepared_parts import streamed

from features.dataset.load import load_dataset
from features.dataset.rejected import count_reasons
from features.dataset.tables import Dataset

HEADER = "user,item,time,stars,kind\n"
NEEDS = "not a finite number, which positive = 'stars >= 4' needs"


def both(root: Path, files: dict[str, str | bytes], positive: str, **more: object) -> Dataset:
    """The dataset, read in memory; reading it in parts gives the same events and the same reasons."""
    write(root, files, interactions={"positive": positive, **more})
    whole, parts = load_dataset(root), streamed(root, part_rows=1)
    columns = ["row", "positive", "value"]
    assert parts.interactions.select(columns).equals(whole.interactions.select(columns))
    assert parts.warnings == whole.warnings
    assert {entry["reason"]: entry["count"] for entry in parts.log.manifest.rejected} == {
        entry["reason"]: entry["count"] for entry in count_reasons(whole.rejected)
    }
    return whole


def truth(dataset: Dataset) -> dict[int, bool]:
    return dict(dataset.interactions.select("row", "positive").iter_rows())


def log(*stars: str) -> dict[str, str | bytes]:
    return {"events.csv": HEADER + "".join(f"a,1,{at},{value},buy\n" for at, value in enumerate(stars))}


def test_a_bad_value_that_only_positive_reads_rejects_its_row(tmp_path: Path) -> None:
    dataset = both(tmp_path, log("5", "N/A", "1", "4.5"), "stars >= 4")
    assert truth(dataset) == {0: True, 2: False, 3: True}
    (entry,) = dataset.rejected
    assert (entry.path, entry.row, entry.column, entry.value) == ("events.csv", 1, "stars", "N/A")
    assert entry.reason == NEEDS


@pytest.mark.parametrize("nan", ["nan", "NaN", "-nan", ""])
def test_nan_is_unknown_and_its_row_stays(tmp_path: Path, nan: str) -> None:
    for more in ({}, {"value": "stars"}):
        dataset = both(tmp_path, log("5", nan, "1"), "stars >= 4", **more)
        assert truth(dataset) == {0: True, 1: False, 2: False}
        assert dataset.rejected == ()
        assert [warning.partition("): ")[0] for warning in dataset.warnings] == (
            [f"[interactions] events.csv: column 'stars': 1 row ({nan!r} in row 1"] if nan else []
        )
    assert dataset.interactions["value"].to_list() == [5.0, None, 1.0]


def test_an_infinite_number_rejects_its_row(tmp_path: Path) -> None:
    dataset = both(tmp_path, log("5", "inf", "1"), "stars >= 4")
    assert truth(dataset) == {0: True, 2: False}
    assert [(entry.row, entry.reason) for entry in dataset.rejected] == [(1, NEEDS)]


@pytest.mark.parametrize("value", [None, "stars"])
def test_nan_and_infinity_of_a_parquet_file(tmp_path: Path, value: str | None) -> None:
    frame = pl.DataFrame(
        {
            "user": ["a"] * 4,
            "item": [1] * 4,
            "time": [1, 2, 3, 4],
            "stars": [5.0, float("nan"), float("inf"), None],
        }
    )
    write(tmp_path, {})
    frame.write_parquet(tmp_path / "log.parquet")
    more = {"value": value} if value else {}
    dataset = both(tmp_path, {}, "stars >= 4", path="log.parquet", **more)
    assert truth(dataset) == {0: True, 1: False, 3: False}
    assert [entry.reason for entry in dataset.rejected] == ["not a finite number"]
    (warning,) = dataset.warnings
    assert warning.endswith(
        "column 'stars': 1 row ('nan' in row 1): NaN, which is no value, so that `positive` is not true of it"
    )


def test_unknown_is_not_true_under_a_negation(tmp_path: Path) -> None:
    dataset = both(tmp_path, log("5", "nan", "1"), "NOT (stars < 4)")
    assert truth(dataset) == {0: True, 1: False, 2: False}


def test_what_an_expression_computes_on_the_way_is_unknown_where_it_is_not_finite(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {
        "events.csv": "user,item,time,sum,n\na,1,1,0,0\na,2,2,3,0\nb,3,3,9,3\nb,1,4,-1,1\n"
    }
    assert truth(both(tmp_path / "a", files, '"sum" / n > 2')) == {0: False, 1: False, 2: True, 3: False}
    assert truth(both(tmp_path / "b", files, 'SQRT("sum") > 2')) == {0: False, 1: False, 2: True, 3: False}
    known = both(tmp_path / "c", files, '"sum" / n > 2 OR item = 1')
    assert truth(known) == {0: True, 1: False, 2: True, 3: True}, "true or unknown is true"


def test_kinds_that_are_digits_compare_with_text(tmp_path: Path) -> None:
    assert truth(both(tmp_path, log("2", "1", "02"), "stars = '2'")) == {0: True, 1: False, 2: False}


def test_a_cast_that_fails_of_text_is_one_of_numbers(tmp_path: Path) -> None:
    dataset = both(tmp_path, log("5", "4", "1", "x"), "CAST(stars AS INT) >= 4")
    assert truth(dataset) == {0: True, 1: True, 2: False}
    assert [entry.value for entry in dataset.rejected] == ["x"]


def test_truth_values_with_a_stranger_among_them(tmp_path: Path) -> None:
    dataset = both(tmp_path, log("true", "FALSE", "N/A", ""), "stars")
    assert truth(dataset) == {0: True, 1: False, 3: False}
    assert [entry.reason for entry in dataset.rejected] == [
        "not true or false, which positive = 'stars' needs"
    ]


def test_rejected_rows_have_no_say_in_what_a_column_holds(tmp_path: Path) -> None:
    repeated_header = {"events.csv": HEADER + "a,1,1,5,buy\nuser,item,time,stars,kind\nb,2,2,1,view\n"}
    dataset = both(tmp_path, dict(repeated_header), "stars >= 4 AND kind = 'buy'")
    assert truth(dataset) == {0: True, 2: False}
    assert [entry.column for entry in dataset.rejected] == ["time"]
