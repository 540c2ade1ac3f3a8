"""Changes of fields, many items at once, and items with files."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from live_bundle import ShopItem, trained_items, write_live_bundle
from PIL import Image

from serving.engine import Engine
from serving.http.app import create_app

SHIRT = {"title": "red shirt", "text": "red shirt", "group": ["a"], "price": 12}
BLUE = (10, 20, 200)


def png(color: tuple[int, int, int] = BLUE) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (32, 24), color).save(out, "PNG")
    return out.getvalue()


def listed(client: Any, **body: Any) -> dict[str, float]:
    answer = client.post("/v1/recommend", json={"history": ["i00", "i05"], "k": 30, **body})
    assert answer.status_code == 200, answer.text
    return {each["item_id"]: each["score"] for each in answer.json()["items"]}


def cosine(client: Any) -> float:
    """Of the items new-1 and new-2."""
    items = client.get("/v1/items/new-1/similar?k=30").json()["items"]
    return next(each["score"] for each in items if each["item_id"] == "new-2")


def cheap(price: float) -> dict[str, Any]:
    return {"field": "price", "op": "<=", "value": price}


def test_a_change_of_fields_is_shown_and_filtered_at_once(client: Any) -> None:
    client.put("/v1/items/new-1", json=SHIRT)
    answer = client.patch("/v1/items/new-1", json={"price": 3, "title": "Red Shirt, now cheap"})
    assert (answer.status_code, answer.json()["stale"]) == (200, ["title"])
    assert client.get("/v1/items/new-1").json()["title"] == "Red Shirt, now cheap"
    assert "new-1" in listed(client, filters=cheap(3))
    client.patch("/v1/items/new-1", json={"price": None})
    assert "new-1" not in listed(client, filters=cheap(1000))
    assert "new-1" in listed(client, filters={"group": ["a"]})


def test_numbers_and_categories_of_a_live_item_reach_its_vector_without_encoding(client: Any) -> None:
    client.put("/v1/items/new-1", json=SHIRT | {"price": 40, "group": ["c"]})
    client.put("/v1/items/new-2", json=SHIRT)
    assert cosine(client) < 0.99
    assert client.patch("/v1/items/new-1", json={"price": 12, "group": "a"}).json()["stale"] == []
    assert cosine(client) == pytest.approx(1.0, abs=1e-5)


def test_an_item_of_the_bundle_keeps_its_vectors_and_counts(client: Any) -> None:
    before = listed(client)
    answer = client.patch("/v1/items/i01", json={"price": 1.0, "title": "Shown"})
    assert answer.json()["stale"] == ["price", "title"]
    assert listed(client) == before
    assert set(listed(client, filters=cheap(1))) == {"i01"}
    assert client.get("/v1/items/i01").json()["title"] == "Shown"
    assert "i01" in client.post("/v1/search", json={"query": "green shirt"}).text
    client.delete("/v1/items/i01")
    assert client.patch("/v1/items/i01", json={"price": 2}).status_code == 404


def test_changes_outlive_a_restart(live_path: Path, tmp_path: Path) -> None:
    state, seen = tmp_path / "state.sqlite", []
    for at in range(2):
        with Engine.open(live_path, state=state) as engine:
            client = TestClient(create_app(engine), raise_server_exceptions=False)
            if not at:
                form = {"item": (None, json.dumps(SHIRT), "application/json"), "image": ("a.png", png())}
                assert client.put("/v1/items/new-1", files=form).status_code == 200
                client.patch("/v1/items/new-1", json={"price": 3})
                client.patch("/v1/items/i01", json={"price": 1.0})
            picture = client.get("/v1/items/new-1/image")
            seen.append((listed(client), listed(client, filters=cheap(3)), picture.content))
    assert seen[0] == seen[1]
    assert {"new-1", "i01"} <= set(seen[0][1])
    assert Image.open(io.BytesIO(seen[0][2])).size == (32, 24)


@pytest.mark.parametrize(
    ("changes", "field"), [({"text": "red"}, "text"), ({"prize": 3}, "prize"), ({"price": "3"}, "price")]
)
def test_a_change_that_does_not_fit_is_refused(client: Any, changes: Any, field: str) -> None:
    answer = client.patch("/v1/items/i01", json=changes)
    assert (answer.status_code, answer.json()["error"]["field"]) == (422, field)
    assert client.patch("/v1/items/nothing", json={"price": 3}).status_code == 404


def test_many_items_come_and_go_in_one_step(client: Any) -> None:
    items = [{"item_id": f"n{at}", "fields": SHIRT | {"price": at}} for at in range(300)]
    answer = client.post("/v1/items:batch", json={"items": [*items, {"item_id": "i03", "delete": True}]})
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert len(told["stored"]) == 301
    assert told["stored"][0] == {
        "item_id": "n0", "known": False, "deleted": False, "read": ["title", "text", "group", "price"],
        "ignored": [],
    }  # fmt: skip
    assert (told["stored"][-1]["deleted"], told["stored"][-1]["known"]) == (True, True)
    assert client.get("/v1/about").json()["num_items"] == 18 + 300 - 1
    assert "i03" not in listed(client)


def test_bad_entries_of_a_batch_are_all_named(client: Any) -> None:
    items = [
        {"item_id": "good", "fields": SHIRT},
        {"item_id": "bad", "fields": {"title": "red", "price": "x"}},
        {"item_id": "both", "fields": SHIRT, "delete": True},
        {"item_id": "good", "fields": SHIRT},
        {"item_id": "empty", "fields": {}},
        7,
    ]
    refused = client.post("/v1/items:batch", json={"items": items})
    assert refused.status_code == 422
    rejected = refused.json()["rejected"]
    assert [(each["index"], each["field"]) for each in rejected] == [
        (1, "items.1.fields.price"), (2, "items.2"), (3, "items.3.item_id"), (4, "items.4.fields"),
        (5, "items.5"),
    ]  # fmt: skip
    assert client.get("/v1/items/good").status_code == 404
    kept = client.post("/v1/items:batch", json={"items": items, "atomic": False})
    assert kept.status_code == 200, kept.text
    assert [each["item_id"] for each in kept.json()["stored"]] == ["good"]
    assert kept.json()["rejected"] == rejected
    assert client.get("/v1/items/good").status_code == 200


def test_a_picture_is_encoded_shown_and_found(client: Any) -> None:
    form = {"item": (None, json.dumps({"title": "shoe"}), "application/json"), "image": ("a.png", png())}
    answer = client.put("/v1/items/new-1", files=form)
    assert answer.status_code == 200, answer.text
    assert (answer.json()["read"], answer.json()["ignored"]) == (["title", "image"], [])
    assert client.get("/v1/items/new-1").json()["picture"] is True
    assert client.get("/v1/about").json()["pictures"] is True
    shown = client.get("/v1/items/new-1/image?side=64")
    assert shown.headers["content-type"] == "image/jpeg"
    again = client.get("/v1/items/new-1/image?side=64", headers={"If-None-Match": shown.headers["etag"]})
    assert again.status_code == 304
    found = client.post("/v1/search", files={"image": ("q.png", png())}).json()["items"][0]
    assert (found["item_id"], found["image"]) == ("new-1", "/v1/items/new-1/image")
    client.put("/v1/items/new-1", json={"title": "shoe"})
    assert client.get("/v1/items/new-1/image").status_code == 404


def test_an_item_with_a_picture_equals_its_export(client: Any, tmp_path: Path) -> None:
    item = ShopItem(name="new-1", title="blue shoe", groups=("b",), color=BLUE)
    form = {"item": (None, json.dumps(item.fields), "application/json"), "image": ("a.png", png())}
    assert client.put("/v1/items/new-1", files=form).status_code == 200
    exported = write_live_bundle(tmp_path / "bundle", [*trained_items(), item])
    with Engine.open(exported.path, state=":memory:") as engine:
        wanted = listed(TestClient(create_app(engine)))
    assert listed(client) == pytest.approx(wanted, abs=1e-5)


@pytest.mark.parametrize(
    ("files", "field", "message"),
    [
        ({"image": ("a.png", b"no picture")}, "image", ""),
        ({"picture": ("a.png", b"")}, "picture", "known: image, item, video"),
        ([("image", ("a.png", png())), ("image", ("b.png", png()))], "image", "comes twice"),
    ],
)
def test_files_that_do_not_fit_are_named(client: Any, files: Any, field: str, message: str) -> None:
    answer = client.put("/v1/items/x", files=files)
    assert answer.status_code == 422, answer.text
    assert answer.json()["error"]["field"] == field
    assert message in answer.json()["error"]["message"]
    assert client.get("/v1/items/x").status_code == 404
