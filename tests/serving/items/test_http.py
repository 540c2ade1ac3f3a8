"""The endpoints that change the catalogue: what they take, refuse and show."""

import json
from pathlib import Path
from typing import Any

import pytest
from bundle_parts import write_tiny_bundle
from fastapi.testclient import TestClient
from live_bundle import trained_items, write_live_bundle

from serving.engine import Engine
from serving.http.app import create_app
from serving.items import ItemEntry
from serving.swap import Holder, ServeSettings

SHIRT = {"title": "red shirt", "text": ["red", "shirt"], "group": ["a"], "price": 12}


def names(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [each["item_id"] for each in answer.json()["items"]]


def test_the_next_answer_has_a_new_item_everywhere(client: Any) -> None:
    answer = client.put("/v1/items/new-1", json=SHIRT)
    assert answer.status_code == 200
    told = answer.json()
    assert (told["item_id"], told["created"], told["durable"]) == ("new-1", True, False)
    assert (told["read"], told["ignored"]) == (["title", "text", "group", "price"], [])
    assert client.get("/v1/items/new-1").json() == {
        "item_id": "new-1", "title": "red shirt", "picture": False
    }  # fmt: skip
    assert "new-1" in names(client.post("/v1/recommend", json={"history": ["i00"], "k": 30}))
    assert "new-1" in names(client.post("/v1/recommend", json={"user_id": "nobody", "k": 30}))
    assert "new-1" in names(client.post("/v1/search", json={"query": "red shirt"}))
    assert "new-1" in names(client.get("/v1/items/i00/similar?k=30"))
    assert len(names(client.get("/v1/items/new-1/similar?k=3"))) == 3
    assert "new-1" in names(client.post("/v1/rank", json={"history": ["i00"], "candidates": ["new-1"]}))
    cheap = {"and": [{"field": "price", "op": "=", "value": 12}, {"group": ["a"]}]}
    assert names(client.post("/v1/recommend", json={"history": ["i00"], "filters": cheap})) == ["new-1"]
    client.put("/v1/items/new-2", json={"title": "crimson shoe"})
    assert "new-2" in client.get("/v1/suggest?q=crim").text
    assert client.get("/v1/about").json()["num_items"] == 20


def test_a_removed_item_is_nowhere_until_it_is_put_again(client: Any) -> None:
    first = names(client.post("/v1/recommend", json={"history": ["i00"], "k": 1}))[0]
    assert client.delete(f"/v1/items/{first}").json()["was_known"] is True
    assert client.delete(f"/v1/items/{first}").json()["was_known"] is False
    assert client.delete("/v1/items/never").json()["was_known"] is False
    for answer in (
        client.post("/v1/recommend", json={"history": ["i00"], "k": 30}),
        client.post("/v1/search", json={"query": "shirt shoe", "k": 30}),
        client.get("/v1/items/i00/similar?k=30"),
    ):
        assert first not in names(answer)
    assert client.get(f"/v1/items/{first}").status_code == 404
    ranked = client.post("/v1/rank", json={"history": ["i00"], "candidates": ["i01", first]}).json()
    assert ranked["ignored"] == [first]
    history = client.post("/v1/recommend", json={"history": [first, "i00"]}).json()
    assert history["ignored"] == [first]
    assert client.get("/v1/about").json() | {"model": None} == {
        "name": "shop", "num_items": 17, "owned": False, "recommends": True,
        "queries": ["text", "image", "video"], "pictures": False, "model": None,
    }  # fmt: skip
    assert client.put(f"/v1/items/{first}", json=SHIRT).json()["created"] is True
    assert first in names(client.post("/v1/recommend", json={"history": ["i00"], "k": 30}))


def test_events_on_a_new_item_count_from_then_on(client: Any) -> None:
    event = {"user_id": "eve", "item_id": "new-1"}
    assert client.post("/v1/events", json={"events": [event]}).json()["unknown_items"] == ["new-1"]
    client.put("/v1/items/new-1", json=SHIRT)
    assert client.post("/v1/events", json={"events": [event]}).json()["unknown_items"] == []
    answer = client.post("/v1/recommend", json={"user_id": "eve", "k": 30})
    assert "new-1" not in names(answer)
    assert answer.json()["degraded"] == []
    assert answer.json()["items"][0]["reason"]["past_item"] == "new-1"
    seen = client.post("/v1/recommend", json={"user_id": "eve", "k": 30, "exclude_seen": False})
    assert "new-1" in names(seen)


def test_rules_of_a_request_name_new_and_removed_items(client: Any) -> None:
    client.put("/v1/items/new-1", json=SHIRT)
    pin = {"pin": [{"name": "first", "item": "new-1", "rank": 1}]}
    body = {"history": ["i00"], "k": 5, "rules": pin}
    assert names(client.post("/v1/recommend", json=body))[0] == "new-1"
    out = {"exclude": [{"name": "out", "filter": {"field": "item_id", "op": "=", "value": "new-1"}}]}
    listed = names(client.post("/v1/recommend", json={"history": ["i00"], "k": 30, "rules": out}))
    assert "new-1" not in listed
    client.delete("/v1/items/new-1")
    refused = client.post("/v1/recommend", json=body)
    assert refused.status_code == 422
    assert refused.json()["error"]["field"] == "rules.pin.0.item"


@pytest.mark.parametrize(
    ("fields", "field", "message"),
    [
        ({"titel": "red shirt"}, "titel", "did you mean 'title'?"),
        ({"title": 7}, "title", "must be a text"),
        ({"title": "red", "price": "12"}, "price", "must be a number"),
        ({"title": "red", "price": True}, "price", "must be a number"),
        ({"title": "red", "group": [1]}, "group.0", "must be a text"),
        ({"title": "red", "group": {"a": 1}}, "group", "a list of texts"),
        ({"title": "\ud800"}, "title", "half of a surrogate pair"),
        ({"title": "a\0"}, "title", "NUL"),
        ({}, "body", "it reads title, text, group, price"),
        ({"title": None}, "body", "has nothing"),
        ([], "body", "must be a JSON object"),
    ],
)
def test_fields_that_do_not_fit_are_named(client: Any, fields: Any, field: str, message: str) -> None:
    content = json.dumps(fields)  # writes a lone surrogate, which the client would not
    answer = client.put("/v1/items/x", content=content, headers={"content-type": "application/json"})
    assert answer.status_code == 422, answer.text
    error = answer.json()["error"]
    assert error["field"] == field
    assert message in error["message"]
    assert client.get("/v1/items/x").status_code == 404


@pytest.mark.parametrize("name", ["%20", "a%00b", "x" * 501])
def test_ids_that_are_none_are_refused(client: Any, name: str) -> None:
    answer = client.put(f"/v1/items/{name}", json=SHIRT)
    assert answer.status_code == 422
    assert answer.json()["error"]["field"] == "item_id"


def test_a_bundle_without_an_item_tower_takes_no_items_and_removes_its_own(tmp_path: Path) -> None:
    bundle = write_tiny_bundle(tmp_path / "bundle")
    with Engine.open(bundle.path, state=":memory:") as engine:
        client = TestClient(create_app(engine), raise_server_exceptions=False)
        answer = client.put("/v1/items/x", json={"title": "x"})
        assert answer.status_code == 409
        assert "item_tower.onnx" in answer.json()["error"]["message"]
        client.delete("/v1/items/i03")
        assert "i03" not in names(client.post("/v1/recommend", json={"history": ["i00"], "k": 30}))


def test_a_row_that_another_bundle_stored_and_this_one_cannot_read_is_left_out(
    live_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from serving.items import Content
    from serving.state import LiveItem

    with Engine.open(live_path, state=":memory:") as engine:
        rows = [
            LiveItem(item="odd", fields={"title": "x", "price": "many"}, content=Content().to_bytes()),
            LiveItem(item="new", fields={"title": "red shoe", "size": 4}, content=Content().to_bytes()),
        ]
        engine.state.live.put_items(rows)
        client = TestClient(create_app(engine), raise_server_exceptions=False)
        assert client.get("/v1/items/odd").status_code == 404
        assert client.get("/v1/items/new").status_code == 200
        assert "the live item 'odd' is left out: price" in caplog.text


def test_another_bundle_goes_on_with_the_items(live_path: Path, tmp_path: Path) -> None:
    other = write_live_bundle(tmp_path / "other" / "bundle", trained_items()[:-1])
    with Holder.open(live_path, ServeSettings(state=":memory:")) as holder:
        client = TestClient(create_app(holder), raise_server_exceptions=False)
        client.put("/v1/items/new-1", json=SHIRT)
        client.delete("/v1/items/i03")
        before = holder.current()
        holder.swap(other.path)
        # Stored through the bundle that was just replaced, as by a request that began before the swap.
        before.live.put([ItemEntry(item="new-2", fields=SHIRT)])
        holder.refresh_items()
        listed = names(client.post("/v1/recommend", json={"history": ["i00"], "k": 30}))
        assert {"new-1", "new-2"} <= set(listed)
        assert not {"i03", "i17"} & set(listed)
