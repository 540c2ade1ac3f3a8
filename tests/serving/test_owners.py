"""Items with an owner exist for this user alone, on every way to an answer."""

import io
import json
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from bundle_parts import ITEMS, write_histories
from fastapi.testclient import TestClient
from PIL import Image
from rich.console import Console
from search_bundle import TITLES, write_search_bundle
from typer.testing import CliRunner

from recsys.cli.app import app
from serving.batch import BatchRequest, recommend_to_parquet
from serving.engine import Engine
from serving.http.app import create_app
from serving.search import SearchBatch, SearchEngine, search_to_parquet
from serving.show import show_user

OWNERS = [("ann", "bob", None)[at // 4] for at in range(len(ITEMS))]
MARKS = {"ann": "alder", "bob": "birch", None: "common"}  # a word that only titles of these items have
OWNED_TITLES = [f"{title} {MARKS[owner]}" for title, owner in zip(TITLES, OWNERS, strict=True)]
USERS = {"ann": ["i00", "i05", "i01"], "bob": ["i02", "i11"], "eve": ["i06"]}  # with items of others
OF = {owner: {item for item, each in zip(ITEMS, OWNERS, strict=True) if each == owner} for owner in MARKS}
PEOPLE = ("ann", "bob", "eve", None)


def foreign(user: str | None) -> list[str]:
    """Ids, words and category values that an answer for `user` must not have."""
    others = [owner for owner in ("ann", "bob") if owner != user]
    hidden = [item for owner in others for item in sorted(OF[owner])]
    return [*hidden, *(MARKS[owner] for owner in others), *(f"of {owner}" for owner in others)]


@pytest.fixture(scope="module", params=[False, True], ids=["with a recommender", "items alone"])
def root(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("owned")
    write_search_bundle(root / "bundle", alone=request.param, titles=OWNED_TITLES, owners=OWNERS)
    if not request.param:
        write_histories(root / "histories.parquet", USERS)
    (root / "pictures").mkdir()
    Image.new("RGB", (9, 9), "red").save(root / "pictures" / "0.png")
    return root


@pytest.fixture(scope="module")
def engine(root: Path) -> Iterator[Engine]:
    histories = root / "histories.parquet"
    with Engine.open(
        root / "bundle", state=Path(":memory:"), histories=histories if histories.exists() else None
    ) as engine:
        yield engine


@pytest.fixture(scope="module")
def client(engine: Engine, root: Path) -> Iterator[Any]:
    with TestClient(create_app(engine, media=[root]), raise_server_exceptions=False) as client:
        yield client


def requests(generator: random.Random, user: str | None) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Method, path and body or parameters of one request of every kind, drawn at random."""
    some = generator.sample(ITEMS, 5)
    asked: dict[str, Any] = {} if user is None else {"user_id": user}
    who = asked or {"history": some[:2]}
    filters = generator.choice([{}, {"kind": ["even"]}, {"of": [f"of {generator.choice(PEOPLE)}"]}])
    word = generator.choice([*MARKS.values(), "red", "shirt", "of"])
    options = {"k": generator.choice([1, 5, 12]), "filters": filters, "exclude": some[:1]}
    yield "POST", "/v1/recommend", {**who, **options, "exclude_seen": generator.random() < 0.5}
    yield "POST", "/v1/recommend", {**who, "candidates": some, "diversity": 0.3}
    yield "POST", "/v1/rank", {**who, "candidates": some}
    yield "POST", "/v1/search", {**asked, **options, "query": word, "min_relevance": 0.0, "personal": 1.0}
    yield "POST", "/v1/search", {**asked, "clauses": [{"item_id": some[0]}], "min_relevance": 0.0, "k": 12}
    yield "POST", "/v1/search", {**who, "query": f"-{word} shoe", "exclude_seen": True, "strict": True}
    yield "POST", "/v1/facets", {**asked, "filters": filters}
    yield "POST", "/v1/facets", {**asked, "items": some}
    yield "GET", "/v1/suggest", {**asked, "q": word[: generator.randint(1, len(word))], "k": 50}
    yield "GET", "/v1/about", asked
    for path in ("", "/similar", "/image"):
        yield "GET", f"/v1/items/{some[1]}{path}", asked


def test_no_answer_has_anything_of_a_foreign_item(client: Any) -> None:
    generator = random.Random(5)
    num_found = 0
    for _ in range(12):
        for user in PEOPLE:
            for method, path, given in requests(generator, user):
                options = {"json": given} if method == "POST" else {"params": given}
                answer = client.request(method, path, **options)
                assert answer.status_code < 500, answer.text
                if path.endswith("/image") and answer.status_code == 200:
                    assert path.split("/")[3] in OF[user] | OF[None]
                    continue
                text = answer.text
                asked = json.dumps(given) + path
                for word in foreign(user):
                    # An answer repeats what it rejects or ignores of the request.
                    assert word not in text or (word in asked and is_echo(answer.json(), word)), (
                        user, path, given, text,
                    )  # fmt: skip
                num_found += answer.status_code == 200
    assert num_found > 200


def is_echo(answer: dict[str, Any], word: str) -> bool:
    """Whether `word` of the request stands only where an answer repeats the request: errors and `ignored`."""
    return "error" in answer or word not in json.dumps(
        {name: value for name, value in answer.items() if name != "ignored"}
    )


@pytest.mark.parametrize("user", PEOPLE)
def test_a_foreign_item_is_answered_like_one_that_does_not_exist(client: Any, user: str | None) -> None:
    generator = random.Random(7)
    for item in sorted(set(ITEMS) - OF[user] - OF[None] if user in OF else set(ITEMS) - OF[None]):
        for method, path, given in requests(generator, user):
            text = json.dumps([path, given])
            if item not in text:
                continue
            answers = []
            for name in (item, "i99"):
                path_of, given_of = json.loads(text.replace(item, name))
                options = {"json": given_of} if method == "POST" else {"params": given_of}
                answer = client.request(method, path_of, **options)
                body = answer.json()
                for varying in ("milliseconds", "request_id"):
                    body.pop(varying, None)
                # The nearest known names depend on the name alone, and are names of visible items.
                words = re.sub(r"did you mean '\w+'", "HINT", json.dumps(body, sort_keys=True))
                answers.append((answer.status_code, words.replace(name, "NAME")))
            assert answers[0] == answers[1], (path, given)


def test_everybody_finds_their_own_items_and_those_of_nobody(client: Any) -> None:
    for user in PEOPLE:
        who = {} if user is None else {"user_id": user}
        body = {**who, "query": "shirt shoe", "min_relevance": 0.0, "k": 12}
        found = {each["item_id"] for each in client.post("/v1/search", json=body).json()["items"]}
        mine = OF.get(user, set()) | OF[None]
        assert found == mine
        counted = client.post("/v1/facets", json=who).json()["facets"]
        assert sum(each["count"] for each in counted[0]["values"]) == len(mine)
        about = client.get("/v1/about", params=who).json()
        assert (about["num_items"], about["owned"]) == (len(mine), True)
        shown = {item for item in ITEMS if client.get(f"/v1/items/{item}", params=who).status_code == 200}
        assert shown == mine
        neighbors = client.get("/v1/items/i08/similar", params={**who, "k": 12}).json()["items"]
        assert {each["item_id"] for each in neighbors} == mine - {"i08"}
    picture = [client.get("/v1/items/i00/image", params={"user_id": each}) for each in ("ann", "bob")]
    assert [each.status_code for each in picture] == [200, 404]


def test_suggestions_complete_own_titles_and_categories(client: Any) -> None:
    def suggested(typed: str, user: str | None) -> set[tuple[str, str]]:
        asked = {"q": typed, "k": 50} | ({} if user is None else {"user_id": user})
        found = client.get("/v1/suggest", params=asked).json()["suggestions"]
        return {(each["kind"], each["text"]) for each in found}

    assert suggested("birch", "bob") == {("title", title) for title in OWNED_TITLES[4:8]}
    assert suggested("birch", "ann") == suggested("bir", None) == set()
    assert suggested("of", "ann") == {("category", "of ann"), ("category", "of None")}
    red = {("title", title) for title in OWNED_TITLES[8:] if title.startswith("red")}
    assert suggested("red", None) == suggested("red", "eve") == red
    assert red


def test_lists_of_recommendations(engine: Engine, root: Path, tmp_path: Path) -> None:
    if engine.recommender is None:
        pytest.skip("items alone")
    users = ["ann", "stranger", "bob", "eve"]
    (tmp_path / "users.txt").write_text("\n".join(users))
    asked = BatchRequest(users=tmp_path / "users.txt", k=12, exclude_seen=False)
    recommend_to_parquet(engine, asked, tmp_path / "lists.parquet")
    table = pl.read_parquet(tmp_path / "lists.parquet", glob=False)
    lists = dict(table.group_by("user_id", maintain_order=True).agg("item_id").iter_rows())
    assert {user: set(found) for user, found in lists.items()} == {
        user: OF.get(user, set()) | OF[None] for user in users
    }
    with TestClient(create_app(engine)) as client:
        for user in users:
            body = {"user_id": user, "k": 12, "exclude_seen": False}
            served = client.post("/v1/recommend", json=body).json()["items"]
            assert [each["item_id"] for each in served] == lists[user]


def test_a_history_is_read_as_if_foreign_items_were_never_seen(engine: Engine) -> None:
    if engine.recommender is None:
        pytest.skip("items alone")
    ann, bob, eve = engine.histories(["ann", "bob", "eve"])
    assert ann is not None
    assert bob is not None
    assert eve is not None
    names = [engine.bundle.item_ids.decode(each.item) for each in (ann, bob, eve)]
    assert names == [["i00", "i01"], ["i11"], []]
    console = Console(file=io.StringIO(), width=200)
    show_user(engine, console, user="ann", k=12)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert [word in text for word in ("alder", "common", "birch")] == [True, True, False]


def test_a_file_of_queries_and_the_command(engine: Engine, root: Path, tmp_path: Path) -> None:
    rows = [{"query_id": str(user), "query": "shirt shoe", "user_id": user} for user in PEOPLE]
    schema = dict.fromkeys(("query_id", "query", "user_id"), pl.String)
    pl.DataFrame(rows, schema=schema).write_parquet(tmp_path / "queries.parquet")
    batch = SearchBatch(queries=tmp_path / "queries.parquet", k=12, min_relevance=0.0)
    search_to_parquet(SearchEngine.of(engine), batch, tmp_path / "hits.parquet")
    hits = pl.read_parquet(tmp_path / "hits.parquet", glob=False)
    found = {query: set(items) for query, items in hits.group_by("query_id").agg("item_id").iter_rows()}
    assert found == {str(user): OF.get(user, set()) | OF[None] for user in PEOPLE}  # type: ignore[arg-type]
    for user in PEOPLE:
        options = ["--user", user] if user else []
        answer = CliRunner().invoke(
            app, ["search", str(root / "bundle"), "shirt", "--state", ":memory:", *options]
        )
        assert answer.exit_code == 0, answer.output
        assert not [word for word in foreign(user) if word in answer.output]
        refused = CliRunner().invoke(
            app, ["search", str(root / "bundle"), "--like", "i05", "--state", ":memory:", *options]
        )
        assert (refused.exit_code == 0) == (user == "bob")


def test_a_request_that_names_nobody_sees_what_nobody_owns(engine: Engine) -> None:
    """The defaults of the engine's methods are the narrowest."""
    assert engine.request_reader.visible is not None
    assert {ITEMS[at - 2] for at in np.flatnonzero(engine.request_reader.visible)} == OF[None]
    if engine.recommender is not None:
        found = engine.recommend([None], 12).items[0]
        assert {engine.item_id(int(item)) for item in found if item} == OF[None]
