"""Folders and files whose names hold brackets, stars, blanks and characters beyond ASCII."""

import gzip
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from dataset_parts import EVENTS, ITEMS, ODD, write
from prepared_parts import streamed

from features.dataset.files.readers import find_files
from features.dataset.load import load_dataset
from features.extraction.cache import VectorCache
from features.importers.amazon import import_amazon
from features.splits.make import make_split
from recsys.config import SplitConfig

ROWS = [line.split(",") for line in EVENTS.split()[1:]]
LINES = "".join(f'{{"user": "{user}", "item": "{item}", "time": {time}}}\n' for user, item, time in ROWS)


def parquet(root: Path) -> bytes:
    pl.read_csv(EVENTS.encode(), glob=False).write_parquet(root / "unused.parquet")
    return (root / "unused.parquet").read_bytes()


FILES: dict[str, Callable[[Path], str | bytes]] = {
    ".csv": lambda _: EVENTS,
    ".csv.gz": lambda _: gzip.compress(EVENTS.encode()),
    ".tsv": lambda _: EVENTS.replace(",", "\t"),
    ".jsonl": lambda _: LINES,
    ".parquet": parquet,
}


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    root = tmp_path / ODD
    root.mkdir()
    return root


@pytest.mark.parametrize("ending", FILES)
@pytest.mark.parametrize("stem", [ODD, "plain"])
def test_a_table_is_read_in_memory_and_in_parts(odd: Path, ending: str, stem: str) -> None:
    name = stem + ending
    root = write(odd, {name: FILES[ending](odd)}, interactions={"path": name})
    expected = [("a", "1"), ("a", "2"), ("b", "3")]
    assert load_dataset(root).interactions.select("user_id", "item_id").rows() == expected
    assert streamed(root).interactions.select("user_id", "item_id").rows() == expected


@pytest.mark.parametrize("pattern", ["part [1]/*.csv", "part [1]/b?.csv", "p*/[ab]?.csv", "**/b*.csv"])
def test_a_pattern_in_a_folder_with_brackets(odd: Path, pattern: str) -> None:
    root = write(odd, {"part [1]/b1.csv": EVENTS, "part [1]/b2.csv": EVENTS, "items.csv": ITEMS})
    found = find_files(root.resolve(), "interactions", pattern)
    assert [path.name for path in found] == ["b1.csv", "b2.csv"]


def test_split_files_lie_anywhere(odd: Path) -> None:
    folder = f"splits {ODD}"
    files: dict[str, str | bytes] = {
        f"{folder}/train.csv": "user,item,time\na,1,10\n", f"{folder}/test.csv": "user,item,time\na,2,20\n",
    }  # fmt: skip
    root = write(odd, files, split={part: f"{folder}/{part}.csv" for part in ("train", "test")})
    split = make_split(load_dataset(root), SplitConfig(protocol="predefined"))
    assert (split.train.height, split.test.height) == (1, 1)


def test_a_cache_is_read_as_often_as_it_is_asked(odd: Path) -> None:
    cache = VectorCache(odd)
    cache.put_texts("heard", {"key": "words"})
    for _ in range(2):
        assert cache.get_texts("heard", ["key"]) == {"key": "words"}


def test_an_import_is_written_there(odd: Path) -> None:
    source = odd / "source"
    source.mkdir()
    event = '{"user_id": "u", "parent_asin": "i", "rating": 5.0, "timestamp": 1588687728923, "text": "w"}\n'
    (source / "Toys.jsonl").write_text(event + event)
    (source / "meta_Toys.jsonl").write_text('{"parent_asin": "i", "title": "T"}\n{"parent_asin": ""}\n')
    report = import_amazon(source, odd / "out", core=1)
    assert report.counts["interactions"] == 1
    assert [entry["count"] for entry in report.rejected] == [1, 1]
    assert load_dataset(odd / "out").items["title"].to_list() == ["T"]
