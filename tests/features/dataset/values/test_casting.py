"""Ids, categories and kinds of events keep every digit; NaN is a missing value."""

from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from dataset_parts import load, write
from prepared_parts import streamed

from features.dataset.load import load_dataset
from features.dataset.values.casting import as_categories, as_id, as_joined_text, as_name, as_text
from features.splits.make import make_split
from recsys.config import SplitConfig
from recsys.errors import DataError

NEAR = [2**53, 2**53 + 1]
TEXTS = [str(value) for value in NEAR]
NAN = float("nan")


@pytest.mark.parametrize(
    "ids",
    [
        pl.Series(NEAR),
        pl.Series(NEAR, dtype=pl.UInt64),
        pl.Series(NEAR, dtype=pl.Int128),
        pl.Series(NEAR).cast(pl.Decimal(38, 0)),
        pl.Series(NEAR).cast(pl.Decimal(38, 4)),
        pl.Series(TEXTS),
        pl.Series(TEXTS, dtype=pl.Categorical),
        pl.Series([text.encode() for text in TEXTS]),
        pl.Series([f"{text}.0" for text in TEXTS]),
    ],
    ids=lambda series: str(series.dtype),
)
def test_ids_keep_every_digit(ids: pl.Series) -> None:
    assert as_id(ids).to_list() == TEXTS
    assert as_categories(ids).to_list() == [[text] for text in TEXTS]
    if ids.dtype != pl.String:
        assert as_name(ids).to_list() == TEXTS


def test_ids_with_a_fraction_keep_it() -> None:
    decimals = pl.Series([Decimal("1.50"), Decimal("1.00"), Decimal("100.00")]).cast(pl.Decimal(10, 2))
    assert as_id(decimals).to_list() == ["1.5", "1", "100"]
    assert as_id(pl.Series([1.5, 1.0, NAN, float("inf")])).to_list() == ["1.5", "1", None, None]


@pytest.mark.parametrize(("dtype", "first"), [(pl.Float64, 2.0**53), (pl.Float32, 2.0**24)])
def test_floats_that_may_have_merged_ids_are_refused(dtype: pl.DataType, first: float) -> None:
    assert as_id(pl.Series([first - 1], dtype=dtype)).to_list() == [str(int(first) - 1)]
    for cast in (as_id, as_name, as_categories):
        with pytest.raises(DataError, match="cannot represent every integer; write them as integers"):
            cast(pl.Series([first], dtype=dtype))


@pytest.mark.parametrize("ids", [pl.Series([True]), pl.Series(["2020-01-01"]).str.to_date()])
def test_what_is_no_id_is_refused(ids: pl.Series) -> None:
    with pytest.raises(DataError, match="not an id; write ids as text or as integers"):
        as_id(ids)


def test_nan_is_no_text_no_kind_and_no_category() -> None:
    assert as_text(pl.Series([1984.0, NAN])).to_list() == ["1984", None]
    assert as_name(pl.Series([2.0, NAN])).to_list() == ["2", None]
    assert as_categories(pl.Series([[2.0, NAN], [NAN]])).to_list() == [["2"], []]


def test_lists_in_a_text_column_are_joined() -> None:
    assert as_joined_text(pl.Series([["a", None, "b"], [], None])).to_list() == ["a\nb", None, None]
    with pytest.raises(DataError, match="write one text a row"):
        as_text(pl.Series([["a"]]))


def decimal_dataset(root: Path) -> Path:
    """Every identity is a Decimal(38, 0) beyond 2^53, in every table."""
    decimals = pl.Series(NEAR).cast(pl.Decimal(38, 0))
    events = pl.DataFrame({"user": decimals, "item": decimals, "time": [1, 2], "kind": decimals})
    tables = {
        "items": pl.DataFrame({"id": decimals, "title": ["a", "b"], "brand": decimals}),
        "events": events,
        "reviews": events.with_columns(text=pl.lit("fine")),
        "users": pl.DataFrame({"id": decimals, "job": decimals}),
    }
    write(
        root,
        {},
        items={"path": "items.parquet", "categories": "brand"},
        interactions={"path": "events.parquet", "event": "kind"},
        reviews={"path": "reviews.parquet", "user": "user", "item": "item", "text": "text"},
        users={"path": "users.parquet", "id": "id", "categories": "job"},
    )
    for name, table in tables.items():
        table.write_parquet(root / f"{name}.parquet")
    return root


@pytest.mark.parametrize("read", [load_dataset, streamed])
def test_decimal_ids_stay_apart_in_every_table(tmp_path: Path, read: object) -> None:
    dataset = read(decimal_dataset(tmp_path))  # type: ignore[operator]
    assert dataset.items["item_id"].to_list() == TEXTS
    assert dataset.items["cat:brand"].to_list() == [[text] for text in TEXTS]
    assert dataset.interactions.sort("row")["user_id"].to_list() == TEXTS
    assert dataset.interactions.sort("row")["item_id"].to_list() == TEXTS
    assert dataset.interactions.sort("row")["event"].to_list() == TEXTS
    assert dataset.reviews["user_id"].to_list() == TEXTS
    assert dataset.users["user_id"].to_list() == TEXTS
    assert dataset.users["cat:job"].to_list() == [[text] for text in TEXTS]


def test_a_split_file_with_decimal_ids_names_its_own_events(tmp_path: Path) -> None:
    root = decimal_dataset(tmp_path)
    events = pl.read_parquet(root / "events.parquet", glob=False)
    events[:1].write_parquet(root / "train.parquet")
    events[1:].write_parquet(root / "test.parquet")
    split = make_split(load_dataset(root), SplitConfig(train="train.parquet", test="test.parquet"))
    assert split.test["user_id"].to_list() == TEXTS[1:]


@pytest.mark.parametrize("read", [load_dataset, streamed])
def test_files_with_other_kinds_of_numbers_are_joined_as_text(tmp_path: Path, read: object) -> None:
    root = write(tmp_path, {}, interactions={"path": "log/*.parquet"})
    (root / "log").mkdir()
    kinds = (pl.Int64, pl.Float64, pl.Decimal(38, 0))
    for at, kind in enumerate(kinds):
        user = pl.Series([NEAR[1] if kind != pl.Float64 else 7]).cast(kind)
        frame = pl.DataFrame({"user": user, "item": ["1"], "time": [at + 1]})
        frame.write_parquet(root / "log" / f"{at}.parquet")
    dataset = read(root)  # type: ignore[operator]
    assert dataset.interactions.sort("row")["user_id"].to_list() == [TEXTS[1], "7", TEXTS[1]]


@pytest.mark.parametrize("read", [load_dataset, streamed])
def test_ids_that_a_spreadsheet_shortened_are_a_warning(tmp_path: Path, read: object) -> None:
    log = "user,item,time\na,1,1\n1.23457E+18,2,2\n1.23457E+18,3,3\n"
    dataset = read(write(tmp_path, {"events.csv": log}))  # type: ignore[operator]
    (warning,) = dataset.warnings
    assert warning.startswith("[interactions] events.csv: column 'user': 2 rows ('1.23457E+18' in row 1)")


def test_a_column_that_is_nan_throughout_is_as_if_it_were_not_there(tmp_path: Path) -> None:
    root = write(tmp_path, {}, items={"path": "items.parquet", "image": "image", "categories": "brand"})
    frame = pl.DataFrame({"id": [1, 2, 3], "title": [NAN] * 3, "image": [NAN] * 3, "brand": [NAN] * 3})
    frame.write_parquet(root / "items.parquet")
    dataset = load_dataset(root)
    assert dataset.items["title"].null_count() == 3
    assert dataset.items["image"].list.len().sum() == 0
    assert dataset.items["cat:brand"].list.len().sum() == 0
    assert dataset.rejected == ()


def test_nan_in_json_lines_written_by_hand_is_still_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="NaN is not a JSON number"):
        load(tmp_path, {"items.jsonl": '{"id": NaN, "title": "x"}\n'}, items={"path": "items.jsonl"})


def test_nan_among_numbers_of_items_and_ratings_of_reviews_is_no_value_and_no_fault(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        {"items.csv": "id,title,price\n1,One,nan\n2,Two,inf\n3,Three,2\n"},
        items={"numeric": "price"},
        reviews={"path": "reviews.parquet", "user": "user", "item": "item", "text": "text", "value": "stars"},
    )
    reviews = pl.DataFrame({"user": ["a", "b"], "item": [1, 2], "text": ["fine"] * 2, "stars": [NAN, 4.0]})
    reviews.write_parquet(root / "reviews.parquet")
    dataset = load_dataset(root)
    assert dataset.items["num:price"].to_list() == [None, None, 2.0]
    assert dataset.reviews["value"].to_list() == [None, 4.0]
    assert [(entry.row, entry.value) for entry in dataset.rejected] == [(1, "inf")]


def test_ids_that_are_nan_reject_their_rows(tmp_path: Path) -> None:
    root = write(tmp_path, {}, interactions={"path": "log.parquet"})
    log = pl.DataFrame({"user": [7.0, NAN, 8.0], "item": [1.0, 2.0, NAN], "time": [1, 2, 3]})
    log.write_parquet(root / "log.parquet")
    dataset = load_dataset(root)
    assert dataset.interactions["user_id"].to_list() == ["7"]
    assert [(entry.row, entry.column, entry.reason) for entry in dataset.rejected] == [
        (1, "user", "empty id"),
        (2, "item", "empty id"),
    ]
