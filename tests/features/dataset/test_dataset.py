import time
from datetime import date
from pathlib import Path

import polars as pl
import pytest
from dataset_parts import load, reasons, write
from real_data import real_data
from split_parts import dataset as short_dataset

from features.dataset.load import load_dataset
from features.dataset.rejected import summarise
from features.event_log import open_dataset
from recsys.config import DataConfig
from recsys.errors import ConfigError, DataError

REAL = real_data()


def test_columns_and_types_are_those_of_the_contract(tmp_path: Path) -> None:
    dataset = load(tmp_path, {})
    assert dict(dataset.items.schema) == {
        "item_id": pl.String, "title": pl.String, "text": pl.String, "image": pl.List(pl.String),
        "video": pl.List(pl.String), "created_at": pl.Int64,
    }  # fmt: skip
    assert dict(dataset.interactions.schema) == {
        "user_id": pl.String, "item_id": pl.String, "timestamp": pl.Int64, "event": pl.String,
        "value": pl.Float64, "positive": pl.Boolean, "row": pl.Int64,
    }  # fmt: skip
    assert dict(dataset.reviews.schema) == {
        "user_id": pl.String, "item_id": pl.String, "timestamp": pl.Int64, "text": pl.String,
        "audio": pl.String, "value": pl.Float64, "row": pl.Int64,
    }  # fmt: skip
    assert dataset.interactions["timestamp"].to_list() == [10_000_000, 20_000_000, 30_000_000]
    assert dataset.interactions["event"].unique().to_list() == ["interaction"]
    assert dataset.interactions["positive"].all()
    assert dataset.users["user_id"].to_list() == ["a", "b"]
    assert dataset.rejected == ()


def test_events_are_sorted_by_time_and_ties_keep_the_order_of_the_file(tmp_path: Path) -> None:
    dataset = load(tmp_path, {"events.csv": "user,item,time\na,3,7\na,2,5\na,1,7\nb,1,5\n"})
    assert dataset.interactions["row"].to_list() == [1, 3, 0, 2]
    assert dataset.interactions["item_id"].to_list() == ["2", "1", "3", "1"]


def test_a_byte_order_mark_crlf_and_quoted_newlines_are_read(tmp_path: Path) -> None:
    items = '\ufeffid,title\r\n1,"a ""quoted""\r\nline"\r\n2,Ünïcode\r\n3,\r\n'.encode()
    dataset = load(tmp_path, {"items.csv": items})
    assert dataset.items["title"].to_list() == ['a "quoted"\r\nline', "Ünïcode", None]


@pytest.mark.parametrize(
    "ids",
    [
        pl.Series([1, 2, 3]),
        pl.Series([1.0, 2.0, 3.0]),
        pl.Series(["1.0", "2.0", "3.0"]),
        pl.Series(["1", "2", "3"]),
    ],
)
def test_ids_of_any_type_are_the_same_strings(tmp_path: Path, ids: pl.Series) -> None:
    root = write(tmp_path, {}, items={"path": "items.parquet"})
    pl.DataFrame({"id": ids, "title": ["x", "y", "z"]}).write_parquet(root / "items.parquet")
    dataset = load_dataset(root)
    assert dataset.items["item_id"].to_list() == ["1", "2", "3"]
    assert dataset.interactions.height == 3


def test_leading_zeros_of_an_id_stay(tmp_path: Path) -> None:
    dataset = load(tmp_path, {"items.csv": "id,title\n007,Bond\n", "events.csv": "user,item,time\na,007,1\n"})
    assert dataset.interactions["item_id"].to_list() == ["007"]


def test_a_glob_reads_its_files_by_name_and_says_which_one_a_bad_row_is_in(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {
        "log/part-1.csv": "user,item,time\na,1,1\na,9,2\n",
        "log/part-0.csv": "user,item,time\nb,1,1\n",
    }
    dataset = load(tmp_path, files, interactions={"path": "log/part-*.csv"})
    assert dataset.interactions["user_id"].to_list() == ["b", "a"]
    (entry,) = dataset.rejected
    assert (entry.path, entry.row, entry.value) == ("log/part-1.csv", 2, "9")


@pytest.mark.parametrize("name", ["items.jsonl", "items.ndjson", "items.json"])
def test_json_lines_with_lists(tmp_path: Path, name: str) -> None:
    lines = '\ufeff{"id": 1, "title": "One", "tags": ["a", "b"]}\r\n{"id": 2, "title": null}\r\n{"id": 3}\r\n'
    dataset = load(tmp_path, {name: lines}, items={"path": name, "categories": ["tags"]})
    assert dataset.items["item_id"].to_list() == ["1", "2", "3"]
    assert dataset.items["cat:tags"].to_list() == [["a", "b"], [], []]


def test_a_json_array_is_read_too(tmp_path: Path) -> None:
    dataset = load(tmp_path, {"items.json": '[{"id": "1", "title": "One"}]'}, items={"path": "items.json"})
    assert dataset.items["title"].to_list() == ["One"]


@pytest.mark.parametrize(
    ("unit", "values", "expected"),
    [
        ("unix_s", ["964982703", "1.5"], [964_982_703_000_000, 1_500_000]),
        ("unix_ms", ["964982703123", "1577836800000"], [964_982_703_123_000, 1_577_836_800_000_000]),
        ("iso", ["2020-01-01", "2020-01-01T02:00:00+02:00"], [1_577_836_800_000_000] * 2),
        (
            "iso",
            ["2020-01-01 00:00", "2020-01-01T00:00:00.5Z"],
            [1_577_836_800_000_000, 1_577_836_800_500_000],
        ),
        ("order", ["3", "4"], [3, 4]),
    ],
)
def test_times(tmp_path: Path, unit: str, values: list[str], expected: list[int]) -> None:
    rows = "".join(f"a,{item},{value}\n" for item, value in enumerate(values, 1))
    dataset = load(tmp_path, {"events.csv": "user,item,time\n" + rows}, interactions={"time": unit})
    by_row = dataset.interactions.sort("row")
    assert by_row["timestamp"].to_list() == expected
    assert dataset.has_clock == (unit != "order")


def test_bad_rows_are_rejected_with_place_value_and_reason(tmp_path: Path) -> None:
    events = (
        "user,item,time,rating\n"
        "a,1,10,5\n"  # 0
        ",1,10,5\n"
        "a,,10,5\n"
        "a,2,yesterday,5\n"
        "a,2,-4,5\n"
        "a,2,nan,5\n"  # 5
        "a,2,,5\n"
        "a,99,10,5\n"
        "a,2,10,many\n"
        "a,2,10,inf\n"
        "a,3,11,\n"  # 10: a rating may be missing
    )
    dataset = load(tmp_path, {"events.csv": events}, interactions={"value": "rating"})
    assert dataset.interactions["row"].to_list() == [0, 10]
    assert dataset.interactions["value"].to_list() == [5.0, None]
    found = {row: (column, value, reason) for _, row, column, value, reason in reasons(dataset)}
    assert set(found) == {1, 2, 3, 4, 5, 6, 7, 8, 9}
    assert found[1] == ("user", "", "empty id")
    assert found[2] == ("item", "", "empty id")
    assert found[3] == ("time", "yesterday", "not a time (time = 'unix_s')")
    assert found[4][:2] == ("time", "-4")
    assert found[7] == ("item", "99", "an item that the items table does not have")
    assert found[8] == ("rating", "many", "not a finite number")
    assert found[9] == ("rating", "inf", "not a finite number")


def test_of_two_items_with_one_id_the_first_is_kept(tmp_path: Path) -> None:
    dataset = load(tmp_path, {"items.csv": "id,title\n1,One\n2,Two\n1,Again\n3,Three\n"})
    assert dataset.items["title"].to_list() == ["One", "Two", "Three"]
    assert reasons(dataset) == [("items", 2, "id", "1", "id appears twice; the first row was kept")]


def test_positive_is_sql_over_typed_columns_and_unknown_is_not_positive(tmp_path: Path) -> None:
    events = "user,item,time,rating,kind\na,1,1,5,buy\na,2,2,3,buy\na,3,3,,buy\na,1,4,4,view\n"
    dataset = load(
        tmp_path,
        {"events.csv": events},
        interactions={"value": "rating", "event": "kind", "positive": "rating >= 3.5 AND kind = 'buy'"},
    )
    assert dataset.interactions["positive"].to_list() == [True, False, False, False]
    assert dataset.interactions["event"].to_list() == ["buy", "buy", "buy", "view"]


def test_positive_true_makes_every_row_positive(tmp_path: Path) -> None:
    assert load(tmp_path, {}, interactions={"positive": "true"}).interactions["positive"].all()


def test_texts_are_joined_by_a_blank_line_and_absent_where_all_are(tmp_path: Path) -> None:
    items = "id,title,a,b\n1,x,one,two\n2,x,,two\n3,x,,\n"
    dataset = load(tmp_path, {"items.csv": items}, items={"text": ["a", "b"]})
    assert dataset.items["text"].to_list() == ["one\n\ntwo", "two", None]


def test_categories_numbers_and_dates(tmp_path: Path) -> None:
    items = "id,title,brand,year,since\n1,x,A|B,1999,2020-01-01\n2,x,,old,never\n3,x,C,,\n"
    dataset = load(
        tmp_path,
        {"items.csv": items, "events.csv": "user,item,time\na,1,2020-02-01\n"},
        items={"categories": "brand", "numeric": "year", "created_at": "since"},
        interactions={"time": "iso"},
    )
    assert dataset.items["cat:brand"].to_list() == [["A|B"], [], ["C"]]
    assert dataset.items["num:year"].to_list() == [1999.0, None, None]
    assert dataset.items["created_at"].to_list() == [1_577_836_800_000_000, None, None]
    assert [entry[1:4] for entry in reasons(dataset)] == [(1, "since", "never"), (1, "year", "old")]


def test_media_must_be_files_inside_the_folder(tmp_path: Path) -> None:
    root, outside = tmp_path / "set", tmp_path / "outside"
    outside.mkdir()
    (outside / "x.jpg").write_bytes(b"x")
    paths = ["p/1.jpg", "p/gone.jpg", str(outside / "x.jpg"), "../outside/x.jpg", "https://e.org/x.jpg",
             "p/out.jpg", "far/x.jpg", "p", "p/in.jpg", ""]  # fmt: skip
    items = "id,title,image\n" + "".join(f"{row},x,{path}\n" for row, path in enumerate(paths))
    write(root, {"p/1.jpg": b"1", "items.csv": items}, items={"image": "image"})
    (root / "p" / "out.jpg").symlink_to(outside / "x.jpg")
    (root / "p" / "in.jpg").symlink_to(root / "p" / "1.jpg")
    (root / "far").symlink_to(outside)
    dataset = load_dataset(root)
    pictures = dataset.items["image"].to_list()
    assert dataset.items.height == len(paths), "an item lives on without its picture"
    assert [row for row, found in enumerate(pictures) if found] == [0, 8]
    assert pictures[0] == [str(root.resolve() / "p" / "1.jpg")]
    found = {row: reason for _, row, _, _, reason in reasons(dataset)}
    assert set(found) == {1, 2, 3, 4, 5, 6, 7}
    assert found[1] == "no such file; paths are relative to the dataset's folder"
    assert found[2].startswith("an absolute path; write it relative to the dataset's folder")
    assert found[3] == "a path with '..'; put the file into the dataset's folder"
    assert found[4] == "a URL; download the file and write its path"
    assert (
        found[5]
        == found[6]
        == "a link to a file outside of the dataset's folder; put the file itself into the folder"
    )
    assert found[7] == "a folder or device, not a file"


def test_several_pictures_in_a_list_and_in_columns(tmp_path: Path) -> None:
    root = write(
        tmp_path, {"a.jpg": b"a", "b.jpg": b"b"}, items={"path": "i.parquet", "image": ["many", "one"]}
    )
    frame = pl.DataFrame(
        {
            "id": [1, 2],
            "title": ["x", "y"],
            "many": [["a.jpg", None, "gone.jpg"], None],
            "one": ["b.jpg", "a.jpg"],
        }
    )
    frame.write_parquet(root / "i.parquet")
    dataset = load_dataset(root)
    names = [[Path(path).name for path in paths] for paths in dataset.items["image"].to_list()]
    assert names == [["a.jpg", "b.jpg"], ["a.jpg"]]
    assert [
        (entry.row, entry.column, entry.value) for entry in dataset.rejected if entry.table == "items"
    ] == [(0, "many", "gone.jpg")]


def test_videos_are_checked_like_pictures_and_kept_apart_from_them(tmp_path: Path) -> None:
    items = "id,title,clip,image\n1,One,v/a.mp4,b.png\n2,Two,../a.mp4,\n3,Three,,b.png\n"
    files: dict[str, str | bytes] = {"items.csv": items, "v/a.mp4": b"a", "b.png": b"b"}
    dataset = load(tmp_path, files, items={"video": "clip", "image": "image"})
    video, image = str(tmp_path.resolve() / "v" / "a.mp4"), str(tmp_path.resolve() / "b.png")
    assert dataset.items["video"].to_list() == [[video], [], []]
    assert dataset.items["image"].to_list() == [[image], [], [image]]
    assert [entry[:4] for entry in reasons(dataset)] == [("items", 1, "clip", "../a.mp4")]
    assert summarise(dataset)["coverage"]["video"] == {"items": 1 / 3, "interactions": 1 / 3}


def test_reviews(tmp_path: Path) -> None:
    reviews = (
        "user,item,time,text,audio,stars\n"
        "a,1,11,Lovely.,,5\n"
        "t,2,12,,v.opus,\n"  # a reviewer without events
        "a,9,11,Unknown item.,,5\n"
        "a,2,11,,,5\n"
        "a,2,sometime,Undated.,,5\n"
        "a,2,11,Words.,gone.opus,x\n"
        "a,3,,No date.,,\n"
    )
    dataset = load(
        tmp_path,
        {"reviews.csv": reviews, "v.opus": b"v"},
        reviews={
            "path": "reviews.csv", "user": "user", "item": "item", "timestamp": "time", "text": "text",
            "audio": "audio", "value": "stars",
        },
    )  # fmt: skip
    assert dataset.reviews["row"].to_list() == [0, 1, 5, 6]
    assert dataset.reviews["timestamp"].to_list() == [11_000_000, 12_000_000, 11_000_000, None]
    assert dataset.reviews["audio"].to_list() == [None, str(tmp_path.resolve() / "v.opus"), None, None]
    assert {(row, reason) for _, row, _, _, reason in reasons(dataset)} == {
        (2, "an item that the items table does not have"),
        (3, "an empty review"),
        (4, "not a time (time = 'unix_s')"),
        (5, "no such file; paths are relative to the dataset's folder"),
        (5, "not a finite number"),
    }


def test_every_user_of_the_interactions_has_a_row(tmp_path: Path) -> None:
    users = "id,city\nb,Bonn\nz,Ulm\nb,Rom\n"
    dataset = load(
        tmp_path, {"users.csv": users}, users={"path": "users.csv", "id": "id", "categories": ["city"]}
    )
    assert dataset.users.rows() == [("b", ["Bonn"]), ("z", ["Ulm"]), ("a", [])]
    assert [entry[0] for entry in reasons(dataset)] == ["users"]


def test_dates_as_parquet_has_them(tmp_path: Path) -> None:
    root = write(tmp_path, {}, interactions={"path": "e.parquet", "time": "iso"})
    pl.DataFrame({"user": ["a"], "item": [1], "time": [date(2020, 1, 1)]}).write_parquet(root / "e.parquet")
    assert load_dataset(root).interactions["timestamp"].to_list() == [1_577_836_800_000_000]


@pytest.mark.skipif(not (REAL / "movielens-1m").is_dir(), reason="RECSYS_DATA has no movielens-1m")
def test_movielens_1m_loads_unchanged_within_seconds() -> None:
    start = time.perf_counter()
    dataset = load_dataset(REAL / "movielens-1m")
    assert time.perf_counter() - start < 20
    assert (dataset.items.height, dataset.interactions.height, dataset.users.height) == (3883, 999_611, 6040)
    assert not dataset.has_clock
    assert dataset.rejected == ()
    rated = dataset.items.join(dataset.interactions, on="item_id", how="semi")
    assert (rated["image"].list.len() > 0).sum() == 3412


def test_a_dataset_as_it_was() -> None:
    day = 86_400_000_000
    events = [("a", "x", 0), ("a", "y", day), ("b", "x", 2 * day)]
    reviews = [("a", "x", 0), ("a", "y", day), ("b", "x", None)]
    whole = short_dataset(events, reviews)
    past = whole.before(day)
    assert past.interactions.equals(whole.interactions[:1])
    assert past.reviews.equals(whole.reviews[:1]), "a review without a date may be a later one"
    assert past.items.equals(whole.items)
    assert past.fingerprint() != whole.fingerprint()
    assert whole.before(3 * day).fingerprint() == whole.fingerprint()
    with pytest.raises(DataError, match="no event before 0; the first is at 0"):
        whole.before(0)
    with pytest.raises(DataError, match="an order and no times"):
        short_dataset(events, has_clock=False).before(day)


def test_data_until(tmp_path: Path) -> None:
    root = load(tmp_path, {}).root  # an event 10, 20 and 30 seconds after 1970
    config = DataConfig(until="1970-01-01T00:00:20")
    assert open_dataset(root, config, cache_dir=tmp_path).interactions["timestamp"].to_list() == [10_000_000]
    with pytest.raises(ConfigError, match=r"data\.until needs the events in memory"):
        open_dataset(root, config.model_copy(update={"stream_above": 0}), cache_dir=tmp_path)
