"""Events, changes of items, filters and restarts in any order, against a slow reference.

The reference is a dictionary of items and a list of events. After every step lists hold exactly the items of
the dictionary that the request allows, and their fields are those that were sent last. The steps are drawn at
random with a seed; a failure names the steps that led to it.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from live_bundle import trained_items

from serving.engine import Engine
from serving.http.app import create_app
from serving.items import ItemFollower
from serving.swap import Holder, ServeSettings

ITEMS = trained_items()
IDS = ("i00", "i03", "i16", "new-1", "new-2", "new/3")
TITLES = ("red shirt", "blue shoe", "green shirt shoe")
K = 60


class Shop:
    """One server over a state on the disk, and what it ought to know."""

    def __init__(self, bundle: Path, state: Path, rng: np.random.Generator) -> None:
        self.bundle, self.state, self.rng = bundle, state, rng
        self.items = {each.name: each.fields for each in ITEMS}
        self.events: dict[str, list[str]] = {"ann": [], "bob": []}
        self.engine: Engine | None = None
        self.client: Any = None
        self.restart()

    def draw_item(self) -> str:
        return str(self.rng.choice(IDS))

    def draw_price(self) -> int:
        return int(self.rng.integers(1, 40))

    def draw_user(self) -> str:
        return str(self.rng.choice(list(self.events)))

    def draw_fields(self) -> dict[str, Any]:
        fields: dict[str, Any] = {"title": str(self.rng.choice(TITLES))}
        if self.rng.random() < 0.5:
            fields["group"] = ["a"] if self.rng.random() < 0.5 else ["b", "c"]
        return fields | ({"price": self.draw_price()} if self.rng.random() < 0.5 else {})

    def restart(self) -> None:
        if self.engine is not None:
            self.engine.close()
        self.engine = Engine.open(self.bundle, state=self.state)
        self.client = TestClient(create_app(self.engine))

    def put(self) -> None:
        item, fields = self.draw_item(), self.draw_fields()
        answer = self.client.put(f"/v1/items/{item}", json=fields)
        assert answer.json()["created"] is (item not in self.items)
        self.items[item] = fields

    def patch(self) -> None:
        item, price = self.draw_item(), self.draw_price()
        answer = self.client.patch(f"/v1/items/{item}", json={"price": price})
        assert answer.status_code == (200 if item in self.items else 404)
        if item in self.items:
            self.items[item] = {**self.items[item], "price": price}

    def delete(self) -> None:
        item = self.draw_item()
        assert self.client.delete(f"/v1/items/{item}").json()["was_known"] is (item in self.items)
        self.items.pop(item, None)

    def batch(self) -> None:
        first, second, fields = self.draw_item(), self.draw_item(), self.draw_fields()
        entries = [{"item_id": first, "fields": fields}, {"item_id": second, "delete": True}]
        answer = self.client.post("/v1/items:batch", json={"items": entries})
        assert answer.status_code == (422 if first == second else 200)
        if first != second:
            self.items[first] = fields
            self.items.pop(second, None)

    def event(self) -> None:
        user, item = self.draw_user(), self.draw_item()
        answer = self.client.post("/v1/events", json={"events": [{"user_id": user, "item_id": item}]})
        assert answer.json()["unknown_items"] == ([] if item in self.items else [item])
        self.events[user].append(item)

    def filtered(self) -> None:
        user, price = self.draw_user(), self.draw_price()
        filters = {"field": "price", "op": "<=", "value": price}
        cheap = {name for name, each in self.items.items() if each.get("price", 99) <= price}
        assert set(self.listed(user, filters=filters)) == cheap - set(self.events[user])

    def found(self) -> None:
        item = self.draw_item()
        answer = self.client.get(f"/v1/items/{item}")
        assert answer.status_code == (200 if item in self.items else 404)
        if item in self.items:
            assert answer.json()["title"] == self.items[item]["title"]
        words = {name for name, each in self.items.items() if "shirt" in each["title"]}
        hits = self.client.post("/v1/search", json={"query": "+shirt", "k": K, "min_relevance": 0.0}).json()
        assert words <= {each["item_id"] for each in hits["items"]} <= set(self.items)

    def check(self) -> None:
        for user, seen in self.events.items():
            assert set(self.listed(user)) == set(self.items) - set(seen)

    def listed(self, user: str, **more: Any) -> list[str]:
        answer = self.client.post("/v1/recommend", json={"user_id": user, "k": K, "reasons": "none", **more})
        assert answer.status_code == 200, answer.text
        names = [each["item_id"] for each in answer.json()["items"]]
        assert len(names) == len(set(names))
        return names

    def close(self) -> None:
        if self.engine is not None:
            self.engine.close()


@pytest.mark.parametrize(("walks", "steps"), [(1, 8), pytest.param(10, 30, marks=pytest.mark.long)])
def test_any_order_of_changes(live_path: Path, tmp_path: Path, walks: int, steps: int) -> None:
    for seed in range(walks):
        rng = np.random.default_rng(seed)
        shop = Shop(live_path, tmp_path / f"state{seed}.sqlite", rng)
        acts: tuple[Callable[[], None], ...] = (
            shop.restart, shop.put, shop.put, shop.patch, shop.delete, shop.batch, shop.event, shop.event,
            shop.filtered, shop.found,
        )  # fmt: skip
        taken: list[str] = []
        try:
            for _ in range(steps):
                act = acts[int(rng.integers(len(acts)))]
                taken.append(act.__name__)
                act()
                shop.check()
        except AssertionError as error:
            error.add_note(f"seed {seed}: {', '.join(taken)}")
            raise
        finally:
            shop.close()


def test_another_server_on_the_state_shows_a_change(live_path: Path, tmp_path: Path) -> None:
    place = ServeSettings(state=tmp_path / "state.sqlite")
    with Holder.open(live_path, place) as one, Holder.open(live_path, place) as other:
        clients = [TestClient(create_app(each)) for each in (one, other)]
        clients[0].put("/v1/items/new-1", json={"title": "red shirt"})
        clients[0].delete("/v1/items/i03")
        ItemFollower(other.refresh_items).look()
        assert clients[1].get("/v1/items/new-1").status_code == 200
        assert clients[1].get("/v1/items/i03").status_code == 404
