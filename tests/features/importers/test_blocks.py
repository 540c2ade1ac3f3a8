import gzip
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest

from features.importers.blocks import LINE, Block, csv_blocks, json_lines, read_blocks
from features.importers.row_filters import RowFilter, Rule, TableParts
from recsys.errors import DataError

SCHEMA = {"id": pl.String, "price": pl.String, "words": pl.List(pl.String)}


def lines_file(path: Path, num_lines: int) -> Path:
    content = "".join(f"line {number} {'x' * (number % 40)}\n" for number in range(num_lines)).encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


@pytest.mark.parametrize("name", ["log.jsonl", "log.jsonl.gz"])
@pytest.mark.parametrize("block_bytes", [1, 64, 1000, 10**6])
def test_blocks_are_whole_lines_of_bounded_size(tmp_path: Path, name: str, block_bytes: int) -> None:
    path = lines_file(tmp_path / name, 100)
    blocks = list(read_blocks(path, block_bytes=block_bytes))
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    assert b"".join(block.content for block in blocks) == content
    assert all(block.content.endswith(b"\n") for block in blocks)
    longest = max(len(line) + 1 for line in content.splitlines())
    assert max(len(block.content) for block in blocks) < block_bytes + longest
    for before, after in pairwise(blocks):
        assert after.first_line == before.first_line + before.num_lines()
    assert sum(block.num_lines() for block in blocks) == 100


def test_a_block_comes_before_the_rest_is_read(tmp_path: Path) -> None:
    path = lines_file(tmp_path / "log.jsonl.gz", 5000)
    path.write_bytes(path.read_bytes()[:-200])
    blocks = read_blocks(path, block_bytes=1000)
    assert next(blocks).content.startswith(b"line 0 ")
    with pytest.raises(DataError, match=r"log\.jsonl\.gz is damaged or incomplete"):
        list(blocks)


def test_progress_ends_at_all_of_it(tmp_path: Path) -> None:
    reported: list[tuple[str, int, int, str]] = []
    path = lines_file(tmp_path / "log.jsonl", 10)

    def progress(step: str, done: int, total: int, note: str = "") -> None:
        reported.append((step, done, total, note))

    assert len(list(read_blocks(path, step="reviews", progress=progress, block_bytes=100))) > 1
    assert reported[-1] == ("reviews", 1, 1, "10 lines")


def test_the_last_line_may_lack_its_end_and_the_first_have_a_mark(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(b"\xef\xbb\xbfa\nb")
    assert [block.content for block in read_blocks(path, block_bytes=6)] == [b"a\n", b"b"]
    path.write_bytes(b"")
    assert list(read_blocks(path)) == []


def block(content: str | bytes, first_line: int = 0) -> Block:
    encoded = content.encode() if isinstance(content, str) else content
    return Block(path=Path("log.jsonl"), first_line=first_line, content=encoded)


def test_json_of_mixed_types_is_read_by_the_schema() -> None:
    content = (
        '{"id": "a", "price": 12.99, "words": ["x", "caf\\u00e9 \\ud83d\\ude00"], "other": {"deep": [1]}}\n'
        '{"id": 17, "price": "from 3", "words": []}\n'
        '{"id": "c", "price": null, "other": "flat"}\n'
    )
    frame, rejected = json_lines(block(content, first_line=5), SCHEMA)
    assert frame.columns == ["id", "price", "words", LINE]
    assert frame.rows() == [
        ("a", "12.99", ["x", "caf\u00e9 \U0001f600"], 5),
        ("17", "from 3", [], 6),
        ("c", None, None, 7),
    ]
    assert rejected.is_empty()
    again, _ = json_lines(block(content + "\n", first_line=5), SCHEMA)  # an empty line takes the slow way
    assert again.equals(frame)


def test_lines_that_are_no_object_are_rejected_with_their_place() -> None:
    content = (
        b'{"id": "a", "price": NaN, "words": "one"}\r\n\r\n[1, 2]\n{"id": "\xff"}\n'
        b'{"id": "b"}{"id": "c"}\n{"id": "d"}\n{"id": "e", "pri'
    )
    frame, rejected = json_lines(block(content, first_line=10), SCHEMA)
    assert frame.rows() == [("a", None, ["one"], 10), ("d", None, None, 15)]
    assert rejected.select("row", "reason").rows() == [
        (12, "not a JSON object"),
        (13, "not JSON; the line may be incomplete"),
        (14, "not JSON; the line may be incomplete"),
        (16, "not JSON; the line may be incomplete"),
    ]
    assert rejected["value"].to_list() == [
        "[1, 2]", '{"id": "\ufffd"}', '{"id": "b"}{"id": "c"}', '{"id": "e", "pri',
    ]  # fmt: skip


def test_a_block_without_any_object() -> None:
    frame, rejected = json_lines(block("no\nJSON\n"), SCHEMA)
    assert frame.is_empty()
    assert frame.schema == {**SCHEMA, LINE: pl.Int64}
    assert rejected.height == 2


@pytest.mark.parametrize("block_bytes", [1, 12, 1000])
def test_csv_in_blocks(tmp_path: Path, block_bytes: int) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(b"id,other,price\r\n007,x,1.0\r\n008,y,\r\n,z,3\r\n009,q")
    frames = list(csv_blocks(path, ["price", "id"], block_bytes=block_bytes))
    assert len(frames) > 1 or block_bytes == 1000
    assert pl.concat(frames).rows() == [("1.0", "007", 0), (None, "008", 1), ("3", None, 2), (None, "009", 3)]


def test_csv_that_does_not_fit(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("id,price\n1,2\n")
    with pytest.raises(DataError, match=r"no column 'prise'; did you mean 'price'\?"):
        list(csv_blocks(path, ["id", "prise"]))
    path.write_text("id,price\n1,2\n3,4\n5,6,7\n")
    with pytest.raises(DataError, match=r"rows\.csv, rows 2 to 2 cannot be read"):
        list(csv_blocks(path, ["id", "price"], block_bytes=4))


def test_a_sieve_gives_each_row_its_first_reason(tmp_path: Path) -> None:
    frame = pl.DataFrame({"id": ["a", None, "c", None], "size": [1, -1, -2, 3], LINE: [7, 8, 9, 10]})
    rules = [Rule("id", "empty id", pl.col("id").is_null()), Rule("size", "negative", pl.col("size") < 0)]
    row_filter = RowFilter(tmp_path / "rejected")
    kept = row_filter.keep(frame, "items", Path("somewhere/items.csv"), rules)
    assert kept.rows() == [("a", 1, 7)]
    counted = row_filter.write(tmp_path / "rejected.parquet")
    assert [(entry["column"], entry["reason"], entry["count"]) for entry in counted] == [
        ("id", "empty id", 2),
        ("size", "negative", 1),
    ]
    assert counted[1]["example"] == {
        "table": "items", "path": "items.csv", "row": 9, "column": "size", "value": "-2",
        "reason": "negative",
    }  # fmt: skip
    written = pl.read_parquet(tmp_path / "rejected.parquet").select("row", "value")
    assert written.rows() == [(8, ""), (10, ""), (9, "-2")]


def test_a_sieve_that_held_nothing_back_writes_nothing(tmp_path: Path) -> None:
    row_filter = RowFilter(tmp_path / "rejected")
    assert row_filter.write(tmp_path / "rejected.parquet") == []
    assert not (tmp_path / "rejected.parquet").exists()


def test_parts_come_back_in_order_and_empty_ones_leave_no_file(tmp_path: Path) -> None:
    parts = TableParts(tmp_path / "parts")
    for values in ([], [1, 2], [], [3]):
        parts.add(pl.DataFrame({"value": values}, schema={"value": pl.Int64}))
    assert parts.scan().collect()["value"].to_list() == [1, 2, 3]
    assert (parts.num_rows, len(list(parts.folder.iterdir()))) == (3, 3)
