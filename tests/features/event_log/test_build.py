import importlib
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from dataset_parts import write
from prepared_parts import ITEMS, SECTION, as_csv, as_json_lines, as_parquet, nasty, nasty_rows, streamed

from features.dataset.load import load_dataset
from features.dataset.rejected import count_reasons, rejected_frame
from features.dataset.tables import Dataset
from features.event_log import partition as partitioning
from features.event_log.log import EventLog
from recsys.errors import DataError


def same(root: Path, **sizes: int) -> Dataset:
    """Assert that `load_dataset` and the event log give equal datasets and equal rejected rows."""
    whole, parts = load_dataset(root), streamed(root, **sizes)
    rounded = pl.col("value").cast(pl.Float32)  # as the log keeps it
    assert parts.interactions.with_columns(rounded).equals(whole.interactions.with_columns(rounded))
    assert parts.items.equals(whole.items)
    assert parts.users.equals(whole.users)
    assert parts.has_clock == whole.has_clock
    left = rejected_frame(whole.rejected).sort("table", "row", "column")
    of_log = pl.read_parquet(parts.log.path / "rejected.parquet")
    assert pl.concat([of_log, rejected_frame(parts.rejected)]).sort("table", "row", "column").equals(left)
    counts = {(entry["column"], entry["reason"]): entry["count"] for entry in parts.log.manifest.rejected}
    expected = {
        (entry["column"], entry["reason"]): entry["count"]
        for entry in count_reasons(whole.rejected)
        if entry["table"] == "interactions"
    }
    assert counts == expected
    return parts


@pytest.mark.parametrize(("seed", "part_rows"), [(0, 7), (1, 11), (2, 40), (3, 1000)])
def test_parts_give_what_the_whole_gives(tmp_path: Path, seed: int, part_rows: int) -> None:
    parts = same(nasty(tmp_path, seed), part_rows=part_rows)
    assert parts.log.manifest.rejected, "the log is nasty"
    assert parts.log.manifest.num_partitions == 4


def test_files_of_all_formats_are_one_log(tmp_path: Path) -> None:
    rows = nasty_rows(5, 60)
    files: dict[str, str | bytes] = {
        "items.csv": ITEMS,
        "log/1.csv": as_csv(rows[:10]),
        "log/2.parquet": as_parquet(rows[10:30]),
        "log/3.jsonl": as_json_lines(rows[30:45]),
        "log/4.jsonl": "\ufeff" + as_json_lines(rows[45:50]),
        "log/5.tsv": as_csv(rows[50:]).replace(",", "\t"),
    }
    same(write(tmp_path, files, interactions=SECTION | {"path": "log/*"}))


def test_numbers_that_are_no_ids_are_read_alike_beside_a_text_file(tmp_path: Path) -> None:
    rows = [["a", "1", "1", "x", "inf"], ["a", "2", "2", "x", "16777216"], ["b", "3", "3", "x", "4.25"]]
    files: dict[str, str | bytes] = {"log/1.csv": as_csv(rows), "log/2.parquet": as_parquet(rows)}
    parts = same(write(tmp_path, files, interactions={"path": "log/*", "value": "rating"}))
    assert parts.interactions["value"].to_list() == [16777216, 16777216, 4.25, 4.25]
    assert parts.log.manifest.rejected[0]["count"] == 2, "infinite in both files"


def test_quotes_line_ends_and_marks_of_a_csv(tmp_path: Path) -> None:
    text = '\ufeffuser,item,time,kind\r\n"a ""b""\r\nc",1,1,x\r\n" a",2,2,"y, z"\r\n,3,3,x\r\nü,1,4,x'
    parts = same(write(tmp_path, {"events.csv": text}, interactions={"event": "kind"}), part_rows=1)
    assert parts.log.users.to_list() == ["a", 'a "b"\r\nc', "ü"]
    assert parts.log.manifest.kinds == ["x", "y, z"]


@pytest.mark.parametrize(
    ("unit", "times"),
    [
        ("unix_ms", ["1600000000000", "1600000000001", "x", "-4"]),
        ("unix_ms", ["1600000000", "1600000000000", "1600000001000", "1600000002000"]),
        ("unix_s", ["1600000000", "1600000000000", "5000000000", "5"]),
        ("iso", ["2020-01-01", "2020-01-01T10:00:00+02:00", "2020-13-01", "2020-01-01 05:00:00.5"]),
        ("order", ["3", "2", "2.5", "0"]),
    ],
)
def test_units_of_time(tmp_path: Path, unit: str, times: list[str]) -> None:
    text = "user,item,time\n" + "".join(f"a,1,{time}\n" for time in times)
    parts = same(write(tmp_path, {"events.csv": text}, interactions={"time": unit}), part_rows=1)
    assert parts.log.manifest.num_events < len(times)


def test_ids_with_a_point_are_whole_numbers_only_if_all_of_them_are(tmp_path: Path) -> None:
    text = "user,item,time\n" + "".join(f"{user},1,{at}\n" for at, user in enumerate(["", "7.0", "8.0"]))
    parts = same(write(tmp_path / "all", {"events.csv": text}), part_rows=1)
    assert parts.log.users.to_list() == ["7", "8"]
    parts = same(write(tmp_path / "mixed", {"events.csv": text + "x,1,9\n"}), part_rows=1)
    assert parts.log.users.to_list() == ["7.0", "8.0", "x"], "read again, once the last row was met"


@pytest.mark.parametrize("last", ["3", "2.5", "true", "word"])
def test_the_type_of_a_column_is_that_of_all_of_its_rows(tmp_path: Path, last: str) -> None:
    first = ["true", "TRUE", " "] if last == "true" else ["1", "2", " "]
    text = "user,item,time,mark\n" + "".join(f"a,1,{at},{v}\n" for at, v in enumerate([*first, last]))
    expression = "mark" if last == "true" else "mark <> '1'" if last == "word" else "mark > 1"
    same(write(tmp_path, {"events.csv": text}, interactions={"positive": expression}), part_rows=1)


def problems_of_both(root: Path, part_rows: int = 2) -> list[str]:
    found = []
    for read in (load_dataset, lambda root: streamed(root, part_rows=part_rows)):
        with pytest.raises(DataError) as caught:
            read(root)
        found.append(list(caught.value.problems))
    assert found[0] == found[1]
    assert not list(root.glob(".prepared.unfinished*")), "nothing half written"
    assert not (root / "prepared").exists()
    return found[0]


@pytest.mark.parametrize(
    ("text", "section", "expected"),
    [
        ("user,item,time\na,1,x\nb,1,y\nc,1,z\n", {}, "no value is a time"),
        ("user,item,time\na,1,1600000000000\nb,1,1600000000000\nc,1,5\n", {}, "mean time = 'unix_ms'"),
        ("user,item,time\na,1,7258118399\nb,1,7258118403\n", {}, "did you mean time = 'unix_ms'"),
        ("user,item,time\na,1,1600000000\nb,1,1600000000\n", {"time": "unix_ms"}, "mean time = 'unix_s'"),
        ("user,item,time\na,7,1\nb,8,1\nc,9,1\n", {}, "no row is left"),
        ("user,item,time\n", {}, "no rows"),
        ("user,item,when\na,1,1\n", {}, "no column 'time'"),
        ("user,item,time\na,1,1\nb,1,1\nc,1,1\n", {"positive": "time > 5"}, "is true of no row"),
        ("user,item,time\na,1,1\nb,1,1\nc,1,1\n", {"positive": "time + 5"}, "not true or false"),
        ("user,item,time\na,1,1\nb,1,1\nc,1,1,4\n", {}, "row 2 (line 4) has 4 fields"),
        ("", {}, "the file is empty"),
        (b"user,item,time\na,1,1\nb\xe9,1,1\nc,1,1\n", {}, "line 3 is not UTF-8"),
        ("user;item;time\na;1;1\n", {}, "another separator"),
    ],
)  # fmt: skip
def test_problems_of_the_table_are_the_same(
    tmp_path: Path, text: str | bytes, section: dict[str, object], expected: str
) -> None:
    assert expected in problems_of_both(write(tmp_path, {"events.csv": text}, interactions=section))[0]


def test_a_median_between_two_units_is_no_hint(tmp_path: Path) -> None:
    text = "user,item,time\na,1,7258118399\nb,1,7258118400\n"
    (found,) = problems_of_both(write(tmp_path, {"events.csv": text}), part_rows=1)
    assert "no row is left; rejected for time: a time after the year 2100" in found


def test_an_expression_over_many_rows_is_refused(tmp_path: Path) -> None:
    root = nasty(tmp_path, 0, positive="rating >= AVG(rating)")
    with pytest.raises(DataError, match="depends on more than one row"):
        streamed(root)
    assert load_dataset(root).interactions["positive"].any()


def test_an_unchanged_log_is_prepared_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = nasty(tmp_path, 1)
    first = streamed(root)
    monkeypatch.setattr(partitioning, "_write_part", None)  # calling it would fail
    assert streamed(root).log.manifest == first.log.manifest


def test_a_changed_log_is_prepared_again(tmp_path: Path) -> None:
    root = nasty(tmp_path, 1)
    before = streamed(root).log.manifest.num_events
    with (root / "events.csv").open("a") as file:
        file.write("u1,1,1600000000,view,3\n")
    assert streamed(root).log.manifest.num_events == before + 1


def test_a_directory_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    root = nasty(tmp_path, 1)
    (root / "prepared").mkdir()
    (root / "prepared" / "thesis.txt").write_text("mine")
    with pytest.raises(DataError, match="choose another --out"):
        streamed(root)
    assert (root / "prepared" / "thesis.txt").read_text() == "mine"


@pytest.mark.parametrize("stops_after", [1, 4])
def test_an_interrupted_preparation_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stops_after: int
) -> None:
    rows = nasty_rows(2)
    files: dict[str, str | bytes] = {
        "items.csv": ITEMS,
        "1.csv": as_csv(rows[:20]),
        "2.csv": as_csv(rows[20:]),
    }
    root = write(tmp_path, files, interactions=SECTION | {"path": "[12].csv"})
    work, calls = partitioning._write_part, []

    def counted(raw, *rest):  # type: ignore[no-untyped-def]
        calls.append(raw.offset)
        if len(calls) == stops_after + 1:
            raise KeyboardInterrupt
        work(raw, *rest)

    monkeypatch.setattr(partitioning, "_write_part", counted)
    with pytest.raises(KeyboardInterrupt):
        streamed(root)
    assert not (root / "prepared").exists()
    same(root)
    assert calls[stops_after + 1] == calls[stops_after], "the part that was cut off comes first"
    assert len(calls) == len({*calls}) + 1, "no other is read twice"


def test_a_preparation_killed_while_it_is_put_in_place_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rejected rows, too, are those of a preparation that was not killed."""
    files: dict[str, str | bytes] = {"items.csv": ITEMS, "events.csv": as_csv(nasty_rows(2))}
    for moment in ("before the renaming", "after the renaming"):
        (tmp_path / moment).mkdir()
        root = write(tmp_path / moment, files, interactions=SECTION)
        module = importlib.import_module("features.event_log.build")
        real = module.shutil.rmtree

        def killed(
            path: Path, *rest: object, real: Any = real, moment: str = moment, **named: object
        ) -> None:
            if path.name == (".prepared.old" if moment == "before the renaming" else "parts"):
                raise KeyboardInterrupt
            real(path, *rest, **named)

        with monkeypatch.context() as patch:
            patch.setattr(module.shutil, "rmtree", killed)
            with pytest.raises(KeyboardInterrupt):
                streamed(root)
        same(root)
        assert not (root / "prepared" / "parts").exists()
        assert not (root / "prepared" / "state.json").exists()
        assert not (root / ".prepared.unfinished").exists()


def test_arrays_stand_by_user_and_time(tmp_path: Path) -> None:
    text = "user,item,time\nb,1,30\na,2,20\nb,3,10\na,1,20\n"
    write(tmp_path, {"events.csv": text})
    log = streamed(tmp_path, partition_events=1000).log
    (only,) = log.partitions()
    assert log.users.to_list() == ["a", "b"]
    assert only.columns["row"].tolist() == [1, 3, 2, 0]
    assert only.columns["item_id"].tolist() == [3, 2, 4, 2], "2 is the first real id"
    assert {name: array.dtype.name for name, array in only.columns.items()} == {
        "item_id": "uint32", "timestamp": "int64", "event": "uint8", "value": "float32",
        "positive": "bool", "row": "int64",
    }  # fmt: skip
    assert [log.locate(user) for user in range(2)] == [(0, 0, 2), (0, 2, 4)]
    assert np.array_equal(log.item_counts, [[0, 0], [0, 0], [2, 2], [1, 1], [1, 1]])
    assert log.manifest.num_tied == 2


def test_what_is_no_log_of_this_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no event log"):
        EventLog(tmp_path)
    (tmp_path / "manifest.json").write_text('{"format_version": 99}')
    with pytest.raises(DataError, match="format_version = 99, this program reads 5"):
        EventLog(tmp_path)
