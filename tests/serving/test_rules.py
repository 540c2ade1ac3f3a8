"""Rules of a file and of requests: over HTTP, in batch, within limits, and every mistake at once."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from fastapi.testclient import TestClient

from recsys.errors import DataError
from recsys.ids import IdMap
from serving.batch import BatchRequest, recommend_to_parquet
from serving.engine import Engine
from serving.filters import CatalogueFilter
from serving.http.app import create_app
from serving.rules import RuleBook

FILE = """
[[exclude]]
name = "no fish"
filter = {group = ["fish"]}

[[boost]]
name = "mammals"
filter = {field = "group", op = "=", value = "mammal"}
add = 50

[[cap]]
name = "one mammal a page"
field = "group"
at_most = 1
within = 2

[[pin]]
name = "bee first"
item = "bee"
rank = 1

[requests]
allow = ["boost", "pin", "disable"]
max_boost = 2.0
max_rules = 2
"""


def with_rules(engine: Engine, folder: Path, text: str = FILE) -> Engine:
    path = folder / "rules.toml"
    path.write_text(text, "utf-8")
    engine.rule_book = RuleBook.open(path, engine.operator_reader.filter, engine.bundle.item_ids)
    return engine


def ask(client: TestClient, **body: Any) -> list[dict[str, Any]]:
    answer = client.post("/v1/recommend", json={"history": ["ant"], "k": 6, **body})
    assert answer.status_code == 200, answer.text
    return list(answer.json()["items"])


def names(items: list[dict[str, Any]]) -> list[str]:
    return [item["item_id"] for item in items]


@pytest.fixture
def client(engine: Engine, tmp_path: Path) -> TestClient:
    return TestClient(create_app(with_rules(engine, tmp_path)))


def test_the_operators_rules_hold_over_http(client: TestClient) -> None:
    items = ask(client)
    assert names(items) == ["bee", "cat", "dog", "fox"]
    assert [item["rules"] for item in items] == [["bee first"], ["mammals"], ["mammals"], ["mammals"]]
    assert [item["propensity"] for item in items] == [1.0] * 4
    assert names(ask(client, k=2)) == ["bee", "cat"]


def test_a_request_adds_rules_and_switches_them_off(client: TestClient) -> None:
    less = {"name": "less", "filter": {"item_id": "cat"}, "add": -2}
    assert names(ask(client, rules={"boost": [less], "disable": ["mammals"]})) == ["bee", "dog", "cat", "fox"]
    off = {"disable": ["no fish", "bee first", "mammals", "one mammal a page"]}
    assert names(ask(client, rules=off)) == ["bee", "cat", "dog", "eel", "fox"]
    pinned = ask(client, rules={"pin": [{"name": "fox", "item": "fox", "rank": 2}]})
    assert names(pinned) == ["bee", "fox", "cat", "dog"]
    assert "fox" in pinned[1]["rules"]


@pytest.mark.parametrize(
    ("rules", "field", "said"),
    [
        ({"cap": [{"name": "x", "field": "group", "at_most": 1}]}, "rules.cap", "boost, pin, disable"),
        ({"boost": [{"name": "x", "filter": {}, "add": 3}]}, "rules.boost.0.add", "from -2 to 2"),
        ({"boost": [{"name": "x", "filter": {"grup": 1}, "add": 1}]}, "rules.boost.0.filter.grup", "'group'"),
        ({"boost": [{"name": "mammals", "filter": {}, "add": 1}]}, "rules.boost.0.name", "of the operator"),
        ({"pin": [{"name": "x", "item": "wolf", "rank": 1}]}, "rules.pin.0.item", "unknown item"),
        ({"pin": [{"name": "x", "item": "ant", "rank": 0}]}, "rules.pin.0.rank", "at least 1"),
        ({"pin": [{"name": str(at), "item": "ant", "rank": 1} for at in range(3)]}, "rules", "at most 2"),
        ({"disable": ["fish"]}, "rules.disable.0", "'no fish'"),
        ({"boosts": []}, "rules.boosts", "did you mean 'boost'"),
    ],
)  # fmt: skip
def test_a_request_past_the_limits_is_refused(
    client: TestClient, rules: dict[str, Any], field: str, said: str
) -> None:
    answer = client.post("/v1/recommend", json={"history": ["ant"], "rules": rules})
    assert answer.status_code == 422
    error = answer.json()["error"]
    assert (error["field"], said in error["message"]) == (field, True), error


def test_without_a_file_a_request_may_do_everything_but_explore(engine: Engine) -> None:
    client = TestClient(create_app(engine))
    cap = {"name": "one", "field": "group", "at_most": 1, "within": 3}
    assert names(ask(client, rules={"cap": [cap]})) == ["bee", "cat", "eel", "dog", "fox"]
    answer = client.post("/v1/recommend", json={"user_id": "ann", "rules": {"exploration": {"rate": 0.5}}})
    assert answer.json()["error"]["field"] == "rules.exploration"


def test_explored_lists_are_logged_with_their_propensities(engine: Engine, tmp_path: Path) -> None:
    file = "[exploration]\nrate = 1.0\npool = 5\n"
    client = TestClient(create_app(with_rules(engine, tmp_path, file)))
    items = ask(client)
    np.testing.assert_allclose([item["propensity"] for item in items], [1 / 5, 1 / 4, 1 / 3, 1 / 2, 1.0])
    assert len({tuple(names(ask(client))) for _ in range(20)}) > 5
    engine.state.close()


def test_the_batch_has_the_rules_and_the_same_lists(engine: Engine, tmp_path: Path) -> None:
    recommend_to_parquet(engine, BatchRequest(k=4), tmp_path / "plain.parquet")
    client = TestClient(create_app(with_rules(engine, tmp_path)))
    recommend_to_parquet(engine, BatchRequest(k=4), tmp_path / "out.parquet")
    found = pl.read_parquet(tmp_path / "out.parquet")
    assert found.columns == ["user_id", "item_id", "rank", "score", "rules", "propensity"]
    for (user,), group in found.group_by("user_id"):
        answer = client.post("/v1/recommend", json={"user_id": user, "k": 4}).json()["items"]
        assert names(answer) == group["item_id"].to_list()
        assert [item["rules"] for item in answer] == group["rules"].to_list()
    assert pl.read_parquet(tmp_path / "plain.parquet").columns == ["user_id", "item_id", "rank", "score"]


def test_every_problem_of_a_file_is_named_at_once(engine: Engine, tmp_path: Path) -> None:
    text = """
[[exclude]]
name = "a"
filter = {grup = ["fish"]}
[[boost]]
name = "a"
filter = {group = ["fsh"]}
add = 1
[[cap]]
name = "c"
field = "color"
at_most = 1
[[pin]]
name = "d"
item = "wolf"
rank = 1
"""
    with pytest.raises(DataError, match=r"rules\.toml") as caught:
        with_rules(engine, tmp_path, text)
    listed = "\n".join(caught.value.problems)
    for said in (
        "exclude.0.filter.grup",
        "boost.0.filter.group.0",
        "cap.0.field",
        "pin.0.item",
        "boost.0.name",
    ):
        assert said in listed
    with pytest.raises(DataError, match="cannot be read") as caught:
        with_rules(engine, tmp_path, '[[boost]]\nname = 3\nadd = "much"\n[explore]\nrate = 1\n')
    assert len(caught.value.problems) == 4
    with pytest.raises(DataError, match="is no TOML"):
        with_rules(engine, tmp_path, "[[boost")
    with pytest.raises(DataError, match="name a rules file"):
        RuleBook.open(tmp_path / "none.toml", engine.operator_reader.filter, engine.bundle.item_ids)


def test_the_file_of_the_documentation_is_read(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs/serving.md").read_text("utf-8")
    shown = text.partition("## Rules")[2].partition("```toml\n")[2].partition("```")[0]
    (tmp_path / "rules.toml").write_text(shown, "utf-8")
    catalogue = pl.DataFrame(
        {"item_id": ["4711", "4712", "815"], "cat:brand": [["x"], ["y"], ["x"]], "created_at": [0, 1, 2**60]}
    )
    ids = IdMap(catalogue["item_id"].to_list())
    rules = RuleBook.open(tmp_path / "rules.toml", CatalogueFilter(catalogue), ids).operator
    assert (rules.diversity, rules.exploration.rate, rules.pins[0].item) == (0.3, 0.05, 4)
    assert rules.boosts[0].items.tolist() == [False] * 4 + [True]
    assert rules.excluded is not None
    assert rules.excluded.tolist() == [False, False, True, True, False]
