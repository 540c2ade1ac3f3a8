"""Bad tables: docs/bad-input-tables.md says what a user sees, and the rows that are fine go on."""

import gzip
import os
from pathlib import Path

import pytest
from dataset_parts import load, problems, reasons, write

from features.dataset.files.text_diagnosis import diagnose
from features.dataset.load import load_dataset
from scripts.bad_tables import tables

DOCUMENT = Path(__file__).parents[3] / "docs" / "bad-input-tables.md"
HEADER = "user,item,time\n"
LONG = "x" * 200_000  # more than the csv module takes by default


def test_the_document_has_what_the_code_says() -> None:
    assert tables() in DOCUMENT.read_text("utf-8"), "run python -m scripts.bad_tables"


def test_rows_in_the_wrong_unit_are_rejected_and_never_converted(tmp_path: Path) -> None:
    events = "a,1,1600000000\na,2,1600000000000\na,3,-1\na,3,5000000000\na,3,nan\nb,2,4102444800\n"
    dataset = load(tmp_path, {"events.csv": HEADER + events})
    assert dataset.interactions["timestamp"].to_list() == [1_600_000_000_000_000, 4_102_444_800_000_000]
    assert {row: reason for _, row, _, _, reason in reasons(dataset)} == {
        1: "after the year 2100 in seconds, a date in milliseconds; divide it by 1000",
        2: "a negative time",
        3: "a time after the year 2100",
        4: "no time",
    }


def test_a_log_that_counts_milliseconds_from_0_has_no_seconds_in_it(tmp_path: Path) -> None:
    events = "a,1,0\na,2,1600000000\nb,3,3000000000\n" + "b,1,90000000000\n" * 5
    dataset = load(tmp_path, {"events.csv": HEADER + events}, interactions={"time": "unix_ms"})
    assert dataset.interactions.height == 8
    dataset = load(
        tmp_path,
        {"events.csv": HEADER + "a,1,1600000000000\n" * 3 + events},
        interactions={"time": "unix_ms"},
    )
    assert [row for _, row, *_ in reasons(dataset)] == [4, 5], "beside dates they are seconds"


def test_an_item_lives_on_without_a_date_that_cannot_be(tmp_path: Path) -> None:
    items = "id,title,since\n1,x,1600000000\n2,x,1600000000000\n3,x,soon\n4,x,1600000000\n"
    dataset = load(tmp_path, {"items.csv": items}, items={"created_at": "since"})
    assert dataset.items["created_at"].to_list() == [1_600_000_000_000_000, None, None, 1_600_000_000_000_000]
    assert [(row, reason.partition(",")[0]) for _, row, _, _, reason in reasons(dataset)] == [
        (1, "after the year 2100 in seconds"),
        (2, "not a time (time = 'unix_s')"),
    ]


def test_ids_are_the_same_but_for_padding(tmp_path: Path) -> None:
    items = "id,title\n🎸,Guitar\nA,One\n A\0,Again\na b,Inside\ncaf\u00e9,Composed\ncafe\u0301,Decomposed\n"
    events = "u,🎸 ,1\nu ,A,2\nU,A\0\0,3\nu,a b,4\nu,caf\u00e9,5\nu,cafe\u0301,6\nu,a  b,7\nu,a\0b,8\n"
    dataset = load(tmp_path, {"items.csv": items, "events.csv": HEADER + events})
    assert dataset.items["item_id"].to_list() == ["🎸", "A", "a b", "caf\u00e9", "cafe\u0301"]
    assert dataset.interactions["item_id"].to_list() == ["🎸", "A", "A", "a b", "caf\u00e9", "cafe\u0301"]
    assert dataset.interactions["user_id"].to_list() == ["u", "u", "U", "u", "u", "u"]
    assert {(table, row, reason) for table, row, _, _, reason in reasons(dataset)} == {
        ("items", 2, "id appears twice; the first row was kept"),
        (
            "interactions",
            6,
            "an item that differs from one of the items table in white space only; write both alike",
        ),
        ("interactions", 7, "an id with a NUL character"),
    }


def test_a_kind_of_event_and_a_category_with_a_nul_character(tmp_path: Path) -> None:
    items = "id,title,brand\n1,x,a\0b\n2,x,c\n3,x,\n"
    events = "user,item,time,kind\na,1,1,v\0w\na,2,2, view\nb,2,3,view\n"
    dataset = load(
        tmp_path,
        {"items.csv": items, "events.csv": events},
        items={"categories": "brand"},
        interactions={"event": "kind"},
    )
    assert dataset.items["cat:brand"].to_list() == [[], ["c"], []]
    assert dataset.interactions["event"].to_list() == ["view", "view"]
    assert [(table, row) for table, row, *_ in reasons(dataset)] == [("items", 0), ("interactions", 0)]


def test_a_bad_row_is_found_behind_a_long_one(tmp_path: Path) -> None:
    (tmp_path / "long.csv").write_text(f'id,title\n1,"{LONG}"\n2,b,c\n')
    assert diagnose(tmp_path / "long.csv", separator=",") == (
        "row 1 (line 3) has 3 fields, the header 2: '2,b,c'; put a text with ',' in double quotes"
    )


def test_values_in_messages_are_short(tmp_path: Path) -> None:
    dataset = load(tmp_path, {"events.csv": f"{HEADER}a,{LONG},1\na,1,2\n"})
    ((_, _, _, value, _),) = reasons(dataset)
    assert value == "x" * 120 + "… (200,000 characters)"
    (found,) = problems(tmp_path, {"events.csv": f"{HEADER}a,1,{LONG}\n"})
    assert len(found) < 300


def test_a_field_more_or_a_bad_quote_in_a_compressed_file(tmp_path: Path) -> None:
    content = gzip.compress(b'id,title\n1,One\n2,"T"wo\n')
    (found,) = problems(tmp_path, {"items.csv.gz": content}, items={"path": "items.csv.gz"})
    assert "items.csv.gz: the quotes of row 1 (line 3) are unbalanced" in found


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
@pytest.mark.parametrize("name", ["items.csv", "items.parquet", "dataset.toml"])
def test_a_file_that_may_not_be_read(tmp_path: Path, name: str) -> None:
    root = write(
        tmp_path,
        {"items.parquet": b"PAR1"},
        items={"path": "items.parquet" if "parq" in name else "items.csv"},
    )
    (root / name).chmod(0)
    with pytest.raises(Exception, match=rf"{name}.*Permission denied"):
        load_dataset(root)
    (root / name).chmod(0o600)


def test_a_file_that_cannot_be_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write(tmp_path, {})
    real = Path.open

    def refuse(path: Path, *rest: object, **more: object) -> object:
        if path.name == "items.csv":
            raise PermissionError(13, "Permission denied")
        return real(path, *rest, **more)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", refuse)
    assert diagnose(root / "items.csv", separator=",") == "cannot be opened: Permission denied"
