"""Search for a file of queries, and the commands that search."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from PIL import Image
from search_bundle import COLORS
from typer.testing import CliRunner

from features.queries import TextClause
from recsys.cli.app import app
from recsys.cli.search import parsed_filters
from recsys.errors import ConfigError, DataError
from serving.search import SearchBatch, SearchEngine, SearchRequest, search_to_parquet
from serving.search.batch import SCHEMA


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "pictures").mkdir()
    Image.new("RGB", (9, 9), COLORS["blue"]).save(tmp_path / "pictures" / "blue.png")
    (tmp_path / "pictures" / "broken.png").write_bytes(b"nothing")
    return tmp_path


def queries(folder: Path, *rows: dict[str, Any]) -> Path:
    path = folder / "queries.parquet"
    pl.DataFrame(
        rows, schema=dict.fromkeys(("query_id", "query", "image", "item_id", "user_id"), pl.String)
    ).write_parquet(path)
    return path


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["search", *map(str, arguments)])


def test_a_file_is_answered_as_one_by_one(search: SearchEngine, folder: Path) -> None:
    rows = (
        {"query_id": "words", "query": "red shirt"},
        {"query_id": "picture", "image": "pictures/blue.png", "query": "shoe"},
        {"query_id": "like", "item_id": "i00", "user_id": "ann"},
        {"query_id": "stranger", "query": "red shirt", "user_id": "nobody"},
    )
    report = search_to_parquet(
        search, SearchBatch(queries=queries(folder, *rows), k=3), folder / "out" / "hits.parquet"
    )
    found = pl.read_parquet(folder / "out" / "hits.parquet", glob=False)
    assert found.schema == SCHEMA
    assert (report.num_queries, report.num_rows, report.num_unknown_users) == (4, found.height, 1)
    by_query = {key[0]: part for key, part in found.group_by("query_id")}
    alone = search.search(SearchRequest(clauses=(TextClause(name="q", text="red shirt"),), k=3))
    for name in ("words", "stranger"):
        assert by_query[name]["item_id"].to_list() == [search.engine.item_id(hit.item) for hit in alone.hits]
        assert by_query[name]["rank"].to_list() == [1, 2, 3]
    assert by_query["picture"]["item_id"][0] in ("i05", "i11")
    assert "i00" not in by_query["like"]["item_id"].to_list()


def test_rows_that_cannot_be_answered_are_named_and_nothing_is_written(
    search: SearchEngine, folder: Path
) -> None:
    rows = (
        {"query_id": "good", "query": "red"},
        {"query_id": "item", "item_id": "i99"},
        {"query_id": "picture", "image": "pictures/broken.png"},
    )
    with pytest.raises(DataError) as refused:
        search_to_parquet(search, SearchBatch(queries=queries(folder, *rows)), folder / "hits.parquet")
    assert "2 of 3 queries cannot be answered, and nothing was written" in str(refused.value)
    first, second = refused.value.problems
    assert first.startswith("row 1 (query_id = 'item'): item_id = 'i99': unknown item; did you mean")
    assert second.startswith("row 2 (query_id = 'picture'): image: not a readable picture: a text")
    assert not (folder / "hits.parquet").exists()


def test_the_output_is_parquet(search: SearchEngine, folder: Path) -> None:
    path = queries(folder, {"query_id": "a", "query": "red"})
    with pytest.raises(DataError, match=r"ends in \.parquet"):
        search_to_parquet(search, SearchBatch(queries=path), folder / "hits.csv")


class TestCommand:
    def test_words(self, bundle_path: Path) -> None:
        found = run(bundle_path, "red shirt", "-k", 2, "--state", ":memory:", "--user", "nobody")
        assert found.exit_code == 0, found.output
        assert "i00" in found.output
        assert "i06" in found.output
        assert "Unknown user 'nobody'" in found.output

    def test_a_picture_with_a_filter(self, bundle_path: Path, folder: Path) -> None:
        picture = folder / "pictures" / "blue.png"
        found = run(bundle_path, "--image", picture, "--filter", "kind=odd", "-k", 2, "--state", ":memory:")
        assert "i05" in found.output
        assert "i11" in found.output

    def test_nothing_fits(self, bundle_path: Path) -> None:
        found = run(bundle_path, "shirt", "--min-relevance", "1", "--filter", "kind=odd", "--like", "i01")
        assert found.exit_code == 0, found.output

    def test_a_file(self, items_alone: Path, folder: Path) -> None:
        path = queries(folder, {"query_id": "a", "query": "red"}, {"query_id": "b", "query": "zzzz"})
        found = run(items_alone, "--queries", path, "--out", folder / "hits.parquet", "-k", 2)
        assert found.exit_code == 0, found.output
        assert "hits for 2 queries" in found.output
        assert (folder / "hits.parquet").exists()

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ((), "nothing to search for"),
            (("--queries", "q.csv"), "belong together"),
            (("red", "--out", "x.parquet"), "belong together"),
            (("red", "--queries", "q.csv", "--out", "x.parquet"), "leave words out"),
            (("--user", "ann", "--queries", "q.csv", "--out", "x.parquet"), "leave --user out"),
            (("red", "--filter", "kind"), "write it as field=value"),
        ],
    )
    def test_what_is_refused(self, items_alone: Path, arguments: tuple[str, ...], message: str) -> None:
        found = run(items_alone, *arguments)
        assert isinstance(found.exception, ConfigError)
        assert message in str(found.exception)


def test_filters_of_the_command_line() -> None:
    assert parsed_filters(["a=x", "b=y=z", "a=w", "c="]) == {"a": ["x", "w"], "b": ["y=z"], "c": [""]}
