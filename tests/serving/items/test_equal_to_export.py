"""Lists after changes over HTTP equal those of the bundle exported again with the same items."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from live_bundle import ShopItem, trained_items, write_live_bundle

from serving.engine import Engine
from serving.http.app import create_app

FIRST = trained_items()
NEW = [
    ShopItem(name="new-1", title="red shirt", text="red red", groups=("a",), price=12.0),
    ShopItem(name="new-2", title="blue shoe", groups=("b", "c")),
    ShopItem(name="new/3", title="green shirt", text="shoe", price=33.0),
]
# BM25 counts a document that was replaced or deleted until its part of the index is merged.
REPLACED = 0.01
HISTORIES: tuple[list[Any], ...] = (
    ["i00", "i05", "i03"],
    [{"item": "i07", "event": "buy", "value": 4.0}, {"item": "i01"}],
    ["new-1", "i02"],
    ["i16"],
)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Clients of bundles of these items; each bundle is written once."""
    folder = tmp_path_factory.mktemp("bundles")
    opened: list[Engine] = []

    def client_of(items: Sequence[ShopItem], state: Path | str = ":memory:", **options: Any) -> TestClient:
        path = folder / f"{hash((tuple(items), *options.items()))}" / "bundle"
        if not path.exists():
            write_live_bundle(path, items, **options)
        opened.append(Engine.open(path, state=state))
        return TestClient(create_app(opened[-1]), raise_server_exceptions=False)

    yield client_of
    for engine in opened:
        engine.close()


def put(client: TestClient, *items: ShopItem) -> None:
    for each in items:
        answer = client.put(f"/v1/items/{each.name}", json=each.fields)
        assert answer.status_code == 200, answer.text


def lists(client: TestClient, path: str, **body: Any) -> list[tuple[str, float, Any]]:
    answer = client.get(path) if not body else client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    items = answer.json()["items"]
    return [(each["item_id"], each["score"], each.get("reason", each.get("explanation"))) for each in items]


def assert_equal(live: TestClient, exported: TestClient, names: Sequence[str], words: float = 1e-5) -> None:
    """Every kind of answer, with scores within 1e-5; those of searches by words within `words`."""
    asked: list[tuple[str, dict[str, Any]]] = []
    known = [
        [entry for entry in each if (entry if isinstance(entry, str) else entry["item"]) in names]
        for each in HISTORIES
    ]
    for history in [each for each in known if each]:
        for more in ({}, {"filters": {"group": ["b"]}}, {"exclude_seen": False, "diversity": 0.3}):
            asked.append(("/v1/recommend", {"history": history, "k": 30, **more}))
        cheap = {"field": "price", "op": "<", "value": 30}
        asked.append(("/v1/recommend", {"history": history, "k": 5, "filters": cheap}))
        asked.append(("/v1/rank", {"history": history, "candidates": list(names)}))
        asked.append(("/v1/search", {"query": "red shirt", "k": 30, "history": history}))
    asked.append(("/v1/recommend", {"history": [], "k": 30}))
    asked += [("/v1/search", {"query": words, "k": 30}) for words in ("blue shoe", "shirt -red", "green")]
    asked += [(f"/v1/items/{name}/similar?k=30", {}) for name in names]
    for path, body in asked:
        found, wanted = lists(live, path, **body), lists(exported, path, **body)
        assert [each[0] for each in found] == [each[0] for each in wanted], (path, body)
        assert [each[2] for each in found] == [each[2] for each in wanted], (path, body)
        scores = [[each[1] for each in listed] for listed in (found, wanted)]
        np.testing.assert_allclose(
            *scores, rtol=0, atol=words if path == "/v1/search" else 1e-5, err_msg=f"{path} {body}"
        )
    facets = [client.post("/v1/facets", json={}).json()["facets"] for client in (live, exported)]
    assert facets[0] == facets[1]


@pytest.mark.parametrize("ranker", [True, pytest.param(False, marks=pytest.mark.long)])
def test_items_that_came(served: Any, ranker: bool) -> None:
    live = served(FIRST, ranker=ranker)
    put(live, *NEW)
    items = [*FIRST, *NEW]
    assert_equal(live, served(items, ranker=ranker), [each.name for each in items])


@pytest.mark.long
def test_items_that_went(served: Any) -> None:
    # Without ALS, whose normal equations go on with the factors of a removed item until the next fit.
    live = served(FIRST, als=False)
    put(live, *NEW)
    gone = {"i03", "i16", "new-2"}
    for name in gone:
        assert live.delete(f"/v1/items/{name}").json()["was_known"] is True
    items = [each for each in [*FIRST, *NEW] if each.name not in gone]
    assert_equal(live, served(items, als=False), [each.name for each in items], REPLACED)


@pytest.mark.long
def test_items_that_changed_and_came_back(served: Any) -> None:
    live = served(FIRST)
    put(live, *NEW)
    changed = {
        "i05": ShopItem(name="i05", title="green shoe", groups=("c",), price=8.0, trained=5),
        "i17": ShopItem(name="i17", title="blue blue shirt", groups=("a",)),
        "new-1": ShopItem(name="new-1", title="red shoe", text="green", groups=("b",)),
        "i02": ShopItem(name="i02", title="blue shirt", text="blue", trained=2),
    }
    for name in ("i02", "new-1"):
        live.delete(f"/v1/items/{name}")
    put(live, *changed.values())
    items = [changed.get(each.name, each) for each in [*FIRST, *NEW]]
    assert_equal(live, served(items), [each.name for each in items], REPLACED)


@pytest.mark.long
def test_a_restart_knows_every_change(served: Any, tmp_path: Path) -> None:
    first = served(FIRST, state=tmp_path / "state.sqlite")
    put(first, *NEW)
    first.delete("/v1/items/i16")
    items = [each for each in [*FIRST, *NEW] if each.name != "i16"]
    again = served(FIRST, state=tmp_path / "state.sqlite")
    assert_equal(again, served(items), [each.name for each in items], REPLACED)
