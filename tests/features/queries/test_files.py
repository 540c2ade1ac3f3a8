"""Files of queries: what is read, and which rows are refused."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from features.queries import ImageClause, TextClause, read_queries
from recsys.errors import DataError

ROWS: list[dict[str, Any]] = [
    {"query_id": "a", "query": "red shirt", "image": None, "item_id": None, "user_id": "ann"},
    {"query_id": "b", "query": None, "image": "one.png", "item_id": "7", "user_id": None},
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "one.png").write_bytes(b"")
    return tmp_path


def write(folder: Path, name: str, rows: list[dict[str, Any]]) -> Path:
    path = folder / name
    if path.suffix == ".jsonl":
        path.write_text("\n".join(json.dumps(row) for row in rows))
    elif path.suffix == ".parquet":
        pl.DataFrame(rows).write_parquet(path)
    else:
        pl.DataFrame(rows).write_csv(path, separator="\t" if path.suffix == ".tsv" else ",")
    return path


@pytest.mark.parametrize("name", ["q.parquet", "q.csv", "q.tsv", "q.jsonl"])
def test_every_form_of_table(folder: Path, name: str) -> None:
    first, second = read_queries(write(folder, name, ROWS))
    assert (first.query_id, first.item_id, first.user_id, first.place) == ("a", None, "ann", "row 0")
    assert first.clauses == (TextClause(name="query", text="red shirt"),)
    assert (second.query_id, second.item_id, second.user_id) == ("b", "7", None)
    assert second.clauses == (ImageClause(name="image", medium=folder / "one.png"),)


def test_ids_of_whole_numbers_are_read_as_in_a_dataset(folder: Path) -> None:
    (row,) = read_queries(write(folder, "q.parquet", [{"query_id": 3, "item_id": 7.0}]))
    assert (row.query_id, row.item_id) == ("3", "7")


def test_all_faulty_rows_together(folder: Path) -> None:
    rows = [
        {"query_id": "a", "query": "red", "image": None},
        {"query_id": None, "query": "red", "image": None},
        {"query_id": "b", "query": " ", "image": None},
        {"query_id": "a", "query": None, "image": "two.png"},
    ]
    with pytest.raises(DataError) as refused:
        read_queries(write(folder, "q.csv", rows))
    problems = refused.value.problems
    assert "4 values cannot be used" in str(refused.value)
    assert problems[0] == "row 1: query_id is empty; give each query an id"
    assert problems[1] == "row 2: asks for nothing; fill one of query, image"
    assert "row 3: image = 'two.png': no such file; paths are relative to" in problems[2]
    assert problems[3] == "row 3: query_id = 'a': repeats row 0; name each once"


@pytest.mark.parametrize(
    ("name", "rows", "message"),
    [
        ("q.csv", [{"query": "red"}], "no column 'query_id'"),
        ("q.csv", [{"query_id": "a", "querry": "red"}], "has none of the columns query, image"),
        ("q.parquet", [{"query_id": "a", "query": 7}], "column 'query' is Int64, not a text"),
        ("q.parquet", [{"query_id": True, "query": "red"}], "column 'query_id' is Boolean"),
        ("q.xlsx", [{"query_id": "a", "query": "red"}], "q.xlsx"),
    ],
)
def test_what_is_no_file_of_queries(
    folder: Path, name: str, rows: list[dict[str, Any]], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        read_queries(write(folder, name, rows))


def test_missing_empty_and_misnamed_files(folder: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_queries(folder / "none.csv")
    with pytest.raises(DataError, match="is a folder"):
        read_queries(folder)
    write(folder, "q.parquet", ROWS).rename(folder / "q.csv")
    with pytest.raises(DataError, match=r"change the file extension to \.parquet"):
        read_queries(folder / "q.csv")
    pl.DataFrame(
        {"query_id": [], "query": []}, schema={"query_id": pl.String, "query": pl.String}
    ).write_parquet(folder / "q.parquet")
    with pytest.raises(DataError, match="has no rows"):
        read_queries(folder / "q.parquet")
