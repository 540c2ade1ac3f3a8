"""Search for a file of queries, and the commands that search."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from PIL import Image
from search_bundle import COLORS
from typer.testing import CliRunner

from features.queries import TextClause
from recsys.cli.app import app
from recsys.errors import ConfigError, DataError
from serving.search import SearchBatch, SearchEngine, SearchRequest, search_to_parquet
from serving.search.batch import REPORT_SCHEMA, SCHEMA


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
    assert (report.num_queries, report.num_rows) == (4, found.height)
    assert report.num_impersonal == {"unknown_user: impersonal": 1}
    by_query = {key[0]: part for key, part in found.group_by("query_id")}
    alone = search.search(SearchRequest(clauses=(TextClause(name="q", text="red shirt"),), k=3))
    for name in ("words", "stranger"):
        assert by_query[name]["item_id"].to_list() == [search.engine.item_id(hit.item) for hit in alone.hits]
        assert by_query[name]["rank"].to_list() == [1, 2, 3]
    assert by_query["picture"]["item_id"][0] in ("i05", "i11")
    assert "i00" not in by_query["like"]["item_id"].to_list()


def test_the_order_of_a_user_is_that_of_one_search(search: SearchEngine, folder: Path) -> None:
    users = ("ann", "bob", "new", "nobody", None)
    rows = [{"query_id": str(at), "query": "red shirt", "user_id": user} for at, user in enumerate(users)]
    batch = SearchBatch(queries=queries(folder, *rows), k=12, personal=0.6)
    search_to_parquet(search, batch, folder / "hits.parquet")
    found = pl.read_parquet(folder / "hits.parquet", glob=False)
    lists = []
    for at, user in enumerate(users):
        history = None if user is None else search.engine.state.histories([user])[0]
        clauses = (TextClause(name="q", text="red shirt"),)
        alone = search.search(SearchRequest(clauses=clauses, k=12, history=history, personal=0.6))
        lists.append([search.engine.item_id(hit.item) for hit in alone.hits])
        assert found.filter(query_id=str(at))["item_id"].to_list() == lists[at]
    ann, bob, *unknown = lists
    assert unknown[0] == unknown[1] == unknown[2]
    assert ann != unknown[0]
    assert bob != ann


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


def test_the_report_names_the_queries_of_which_something_is_to_be_said(
    search: SearchEngine, folder: Path
) -> None:
    rows = (
        {"query_id": "words", "query": "red shirt"},
        {"query_id": "ann", "query": "red shirt", "user_id": "ann"},
        {"query_id": "stranger", "query": "red shirt", "user_id": "nobody"},
        {"query_id": "without events", "query": "red shirt", "user_id": "new"},
        {"query_id": "long", "query": "red " * 1000},
    )
    out, report = folder / "hits.parquet", folder / "reports" / "report.parquet"
    counts = search_to_parquet(search, SearchBatch(queries=queries(folder, *rows), k=3), out, report=report)
    found = pl.read_parquet(report, glob=False)
    assert found.schema == REPORT_SCHEMA
    assert dict(found.select("query_id", "degraded").iter_rows()) == {
        "stranger": ["unknown_user: impersonal"],
        "without events": ["empty_history: impersonal"],
        "long": [],
    }
    assert found["num_items"].to_list() == [3, 3, 3]
    assert len(found["notes"][2]) == 1
    assert counts.num_noted == 1


class TestInterrupted:
    """A batch that was interrupted goes on with the next part."""

    @pytest.fixture
    def path(self, folder: Path) -> Path:
        """Nine queries; a part is two of them."""
        colors = ["red", "blue", "green"] * 3
        users = ["ann", "bob", "nobody"]
        return queries(
            folder,
            *(
                {"query_id": str(at), "query": color, "image": "pictures/blue.png", "user_id": users[at % 3]}
                for at, color in enumerate(colors)
            ),
        )

    def stopped(self, search: SearchEngine, path: Path, out: Path) -> None:
        """The batch, stopped after four queries."""

        def stop(step: str, done: int, total: int, note: str = "") -> None:
            if done >= 4:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            search_to_parquet(search, SearchBatch(queries=path, k=3), out, queries_at_once=2, progress=stop)

    def asked(self, search: SearchEngine, monkeypatch: pytest.MonkeyPatch) -> list[SearchRequest]:
        real, requests = search.search, []

        def counted(request: SearchRequest) -> Any:
            requests.append(request)
            return real(request)

        monkeypatch.setattr(search, "search", counted)
        return requests

    def test_the_files_equal_those_of_an_unbroken_batch(
        self, search: SearchEngine, folder: Path, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        batch, out = SearchBatch(queries=path, k=3), folder / "out.parquet"
        whole, first, second = (folder / f"{name}.parquet" for name in ("whole", "first", "second"))
        expected = search_to_parquet(search, batch, whole, report=first, queries_at_once=2)
        self.stopped(search, path, out)
        assert not out.exists()
        asked = self.asked(search, monkeypatch)
        found = search_to_parquet(search, batch, out, report=second, queries_at_once=2)
        assert len(asked) == 9 - 4
        assert found == expected
        assert out.read_bytes() == whole.read_bytes()
        assert first.read_bytes() == second.read_bytes()
        assert not list(folder.glob(".*"))

    @pytest.mark.parametrize("change", ["k", "personal", "words", "picture"])
    def test_parts_of_another_request_are_not_used(
        self,
        search: SearchEngine,
        folder: Path,
        path: Path,
        monkeypatch: pytest.MonkeyPatch,
        change: str,
    ) -> None:
        out = folder / "out.parquet"
        self.stopped(search, path, out)
        batch = SearchBatch(queries=path, k=3)
        match change:
            case "k":
                batch = replace(batch, k=2)
            case "personal":
                batch = replace(batch, personal=0.5)
            case "words":
                pl.read_parquet(path).with_columns(query=pl.col("query") + " shirt").write_parquet(path)
            case "picture":
                Image.new("RGB", (9, 9), COLORS["red"]).save(folder / "pictures" / "blue.png")
        asked = self.asked(search, monkeypatch)
        search_to_parquet(search, batch, out, queries_at_once=2)
        assert len(asked) == 9

    def test_a_part_with_a_faulty_row_is_answered_again(
        self, search: SearchEngine, folder: Path, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        batch, out = SearchBatch(queries=path, k=3), folder / "out.parquet"
        whole = pl.read_parquet(path)
        is_faulty = pl.col("query_id") == "3"
        faulty = whole.with_columns(item_id=pl.when(is_faulty).then(pl.lit("i99")).otherwise("item_id"))
        faulty.write_parquet(path)
        with pytest.raises(DataError, match="1 of 9 queries cannot be answered"):
            search_to_parquet(search, batch, out, queries_at_once=2)
        whole.write_parquet(path)
        asked = self.asked(search, monkeypatch)
        search_to_parquet(search, batch, out, queries_at_once=2)
        assert len(asked) == 2
        assert not list(folder.glob(".*"))


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
        path = queries(
            folder,
            {"query_id": "a", "query": "red"},
            {"query_id": "b", "query": "zzzz", "user_id": "nobody"},
        )
        out, report = folder / "hits.parquet", folder / "report.parquet"
        found = run(items_alone, "--queries", path, "--out", out, "--report", report, "-k", 2)
        assert found.exit_code == 0, found.output
        assert "hits for 2 queries" in found.output
        assert "in the impersonal order (unknown user): 1" in found.output.replace("\n", " ")
        assert out.exists()
        assert pl.read_parquet(report, glob=False)["query_id"].to_list() == ["b"]

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ((), "nothing to search for"),
            (("--queries", "q.csv"), "belong together"),
            (("red", "--out", "x.parquet"), "belong together"),
            (("red", "--report", "x.parquet"), "--report is of a file of queries"),
            (("red", "--queries", "q.csv", "--out", "x.parquet"), "leave words out"),
            (("--user", "ann", "--queries", "q.csv", "--out", "x.parquet"), "leave --user out"),
            (("red", "--filter", "kind"), "write it as field=value"),
        ],
    )
    def test_what_is_refused(self, items_alone: Path, arguments: tuple[str, ...], message: str) -> None:
        found = run(items_alone, *arguments)
        assert isinstance(found.exception, ConfigError)
        assert message in str(found.exception)
