"""Ids of a file that a user names: read by content and ending, and only ids are taken for ids."""

import gzip
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from features.dataset.files.user_files import NamedIds, read_ids
from recsys.errors import DataError

IDS = ["ann", "bob", "007"]
TABLE = pl.DataFrame({"age": [1, 2, 3], "user_id": IDS})


def read(path: Path, named: str | None = None) -> NamedIds:
    return read_ids(path, "user_id", named=named)


def ids(path: Path, named: str | None = None) -> list[str]:
    return read(path, named).ids.to_list()


def refusal(path: Path, named: str | None = None) -> str:
    with pytest.raises(DataError) as caught:
        read(path, named)
    message = str(caught.value)
    assert message.startswith(str(path))
    return message


TEXTS = {
    ".csv": TABLE.write_csv(),
    ".tsv": TABLE.write_csv(separator="\t"),
    ".jsonl": TABLE.write_ndjson(),
    ".ndjson": TABLE.write_ndjson(),
    ".json": TABLE.write_json(),
    ".txt": "ann\n\n  bob \n007",
}


@pytest.mark.parametrize("ending", TEXTS)
@pytest.mark.parametrize("change", [str, str.upper])
def test_every_form_of_text_in_any_case_and_compressed(tmp_path, ending, change):
    (tmp_path / f"users{change(ending)}").write_text(TEXTS[ending])
    (tmp_path / f"users{change(ending + '.gz')}").write_bytes(gzip.compress(TEXTS[ending].encode()))
    assert ids(tmp_path / f"users{change(ending)}") == IDS
    assert ids(tmp_path / f"users{change(ending + '.gz')}") == IDS


@pytest.mark.parametrize("name", ["users.parquet", "users.PQ"])
def test_parquet(tmp_path, name):
    TABLE.write_parquet(tmp_path / name)
    assert ids(tmp_path / name) == IDS


@pytest.mark.parametrize("header", ["user_id", "userId", "USER_ID", '"user_id"', "User ID"])
def test_a_text_with_the_column_name_on_its_first_line(tmp_path, header):
    (tmp_path / "users.txt").write_text(f"\ufeff{header}\nann\nbob\n", "utf-8")
    found = read(tmp_path / "users.txt")
    assert (found.ids.to_list(), found.places) == (["ann", "bob"], ("line 2", "line 3"))


@pytest.mark.parametrize(
    "text", [TEXTS[".jsonl"], TEXTS[".json"], '[\n {"user_id": "ann"},\n {"user_id": "bob"}]']
)
def test_json_in_a_text_is_recognised(tmp_path, text):
    (tmp_path / "users.txt").write_text(text)
    assert ids(tmp_path / "users.txt")[:2] == ["ann", "bob"]


def test_ids_in_braces_or_brackets_are_ids(tmp_path):
    names = ["{550e8400-e29b-41d4-a716-446655440000}", "[red]eve", "{x}"]
    (tmp_path / "users.txt").write_text("\n".join(names))
    assert ids(tmp_path / "users.txt") == names


def test_ids_keep_white_space_inside_them_and_lose_it_around_them(tmp_path):
    (tmp_path / "users.txt").write_text(" ann lee \nann  lee\n")
    assert ids(tmp_path / "users.txt") == ["ann lee", "ann  lee"]
    (tmp_path / "users.csv").write_text("user_id\n ann lee \n")
    assert ids(tmp_path / "users.csv") == ["ann lee"]


LARGE = ["9007199254740992", "9007199254740993", "12345678901234567890123"]


def test_large_numbers_stay_apart(tmp_path):
    (tmp_path / "users.txt").write_text("\n".join(LARGE))
    (tmp_path / "users.csv").write_text("user_id\n" + "\n".join(LARGE))
    (tmp_path / "users.jsonl").write_text("\n".join(f'{{"user_id": {number}}}' for number in LARGE))
    (tmp_path / "users.json").write_text("[" + ",".join(f'{{"user_id": {number}}}' for number in LARGE) + "]")
    for name in ("users.txt", "users.csv", "users.jsonl", "users.json"):
        assert ids(tmp_path / name) == LARGE


def test_large_decimals_of_parquet_stay_apart(tmp_path):
    numbers = pl.Series("user_id", [Decimal(number) for number in LARGE], dtype=pl.Decimal(38, 0))
    pl.DataFrame([numbers]).write_parquet(tmp_path / "users.parquet")
    assert ids(tmp_path / "users.parquet") == LARGE


def test_repeated_and_empty_rows_are_counted(tmp_path):
    (tmp_path / "users.csv").write_text("user_id,age\nbob,1\n,2\nann,3\nbob,4\n bob,5\n")
    found = read(tmp_path / "users.csv")
    assert (found.ids.to_list(), found.num_repeated, found.num_empty) == (["bob", "ann"], 2, 1)
    assert found.places == ("row 0", "row 2")


def test_a_column_may_be_named(tmp_path):
    (tmp_path / "users.csv").write_text("customer,user_id\nann,1\n")
    assert ids(tmp_path / "users.csv", "customer") == ["ann"]
    (tmp_path / "users.txt").write_text("customer\nann\n")
    assert ids(tmp_path / "users.txt", "customer") == ["ann"]
    assert "no column 'custom'; did you mean 'customer'?" in refusal(tmp_path / "users.csv", "custom")


def test_the_only_column_of_a_table_that_names_its_columns_for_sure(tmp_path):
    (tmp_path / "users.jsonl").write_text('{"customer": "ann"}\n')
    pl.DataFrame({"customer": ["ann"]}).write_parquet(tmp_path / "users.parquet")
    assert ids(tmp_path / "users.jsonl") == ids(tmp_path / "users.parquet") == ["ann"]


@pytest.mark.parametrize("name", ["users", "users.xlsx", "users.gz", "users.parquet.gz", "users.csv.zip"])
def test_an_unknown_ending_lists_the_known_ones(tmp_path, name):
    (tmp_path / name).write_text("ann\n")
    message = refusal(tmp_path / name)
    assert "unknown extension" in message
    assert ".csv, .tsv, .jsonl, .ndjson, .json, .txt, .parquet, .pq; texts also with .gz" in message


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("users.csv", "ann\nbob\n", "no column 'user_id'; it has ann; name the column of ids with --u"),
        ("users.csv", "user_id;age\nann;3\n", "another separator than the one of its file extension"),
        ("users.csv", "item_id,age\n1,2\n", "no column 'user_id'; it has item_id, age"),
        ("users.csv", TEXTS[".jsonl"], "contains JSON, but its extension is .csv"),
        ("users.txt", "user_id,age\nann,3\n", "names several columns; give the table the extension .csv"),
        ("users.txt", "item_id\nann\n", "its first line is the column name 'item_id'; 'user_id' is needed"),
        ("users.txt", "\n \n", "names no user_id"),
        ("users.csv", "user_id,age\n,1\n", "names no user_id"),
        ("users.csv", "", "the file is empty"),
        ("users.jsonl", '{"user_id": "ann"}\n{"user_id": \n', "line 2 is not JSON"),
        ("users.jsonl", '{"user_id": ["ann"]}\n', '["ann"] is not an id'),
        ("users.jsonl", '{"user_id": true}\n', "true is not an id"),
        ("users.jsonl", '"ann"\n', "line 1 is not an object"),
        ("users.jsonl", "", "the file is empty"),
        ("users.jsonl", "{}\n", "its rows have no columns; write the ids under the name 'user_id'"),
        ("users.txt", b"ann\nb\xe9b\n", "line 2 is not UTF-8"),
        ("users.txt", "ann\n".encode("utf-16"), "is UTF-16"),
        ("users.csv", b"PK\x03\x04rest", "a zip archive or an Excel workbook"),
        ("users.txt", b"PAR1rest", "is a Parquet file; change the file extension to .parquet"),
        ("users.parquet", "user_id\nann\n", "is no Parquet file"),
        (
            "users.csv.gz",
            gzip.compress(b"user_id\nann\n", mtime=0)[:-9],  # the time would be part of the test id
            "gzip compression is damaged or incomplete",
        ),
        ("users.txt", "x" * 2000, "line 1: an id of more than 1,024 characters"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_read_says_why(tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    assert said in refusal(tmp_path / name)


def test_no_file(tmp_path):
    assert "no such file" in refusal(tmp_path / "users.csv")
    assert "is a folder" in refusal(tmp_path)


def test_brackets_in_a_path_expand_nothing(tmp_path):
    folder = tmp_path / "shop [1]"
    folder.mkdir()
    (folder / "users[a].csv").write_text("user_id\nann\n")
    assert ids(folder / "users[a].csv") == ["ann"]
