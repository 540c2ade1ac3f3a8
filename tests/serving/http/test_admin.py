"""Another bundle over HTTP: named under a folder, refused with the reason, and back again."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bundle_parts import write_histories, write_tiny_bundle
from fastapi.testclient import TestClient

from serving.http.app import create_app
from serving.http.guard import KeyFile, add_key
from serving.swap import Holder, ServeSettings


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for seed in range(2):
        run = tmp_path / "bundles" / f"run{seed}"
        write_tiny_bundle(run / "bundle", seed=seed)
        write_histories(run / "histories.parquet", {"ann": ["i00", "i03"]})
    return tmp_path / "bundles"


@pytest.fixture
def holder(root: Path) -> Iterator[Holder]:
    with Holder.open(root / "run0" / "bundle", ServeSettings(state=":memory:")) as holder:
        yield holder


@pytest.fixture
def swapping(root: Path, holder: Holder) -> TestClient:
    return TestClient(create_app(holder, bundles=root), raise_server_exceptions=False)


def version(response: Any) -> str:
    assert response.status_code == 200, response.text
    found: str = response.json()["model"]["version"]
    return found


def ask(client: TestClient) -> Any:
    return client.post("/v1/recommend", json={"user_id": "ann", "k": 3})


def test_a_swap_and_a_roll_back(swapping: TestClient) -> None:
    first = version(swapping.get("/v1/admin/bundle"))
    assert swapping.get("/v1/admin/bundle").json()["previous"] is None
    before = ask(swapping)
    assert before.headers["x-bundle"] == version(before) == first
    answer = swapping.post("/v1/admin/bundle", json={"bundle": "run1"})
    second = version(answer)
    assert answer.json()["previous"] == first
    assert answer.json()["golden_requests"] == 3
    assert set(answer.json()["milliseconds"]) == {"opening", "warming", "checking"}
    after = ask(swapping)
    assert after.headers["x-bundle"] == version(after) == second != first
    assert before.json()["items"] != after.json()["items"]
    assert version(swapping.get("/readyz")) == second
    rolled_back = swapping.post("/v1/admin/rollback")
    assert (version(rolled_back), rolled_back.json()["previous"]) == (first, second)
    assert ask(swapping).json()["items"] == before.json()["items"]
    assert 'recsys_swaps_total{outcome="served"} 2.0' in swapping.get("/metrics").text


def test_what_is_refused(swapping: TestClient, root: Path, tmp_path: Path, holder: Holder) -> None:
    write_tiny_bundle(tmp_path / "outside" / "bundle", seed=3)
    (root / "link").symlink_to(tmp_path / "outside")
    (root / "run1" / "bundle" / "item_ids.npy").write_bytes(b"damaged")
    first = holder.current()

    def refused(bundle: str) -> tuple[int, str]:
        response = swapping.post("/v1/admin/bundle", json={"bundle": bundle})
        assert response.json()["error"]["field"] == "bundle"
        assert holder.current() is first
        assert version(ask(swapping)) == first.source.version
        return response.status_code, response.json()["error"]["message"]

    status, message = refused("run1")
    assert (status, "item_ids.npy" in message) == (409, True)
    for name in ("../outside", "link", str(tmp_path / "outside")):
        assert refused(name) == (422, "leads out of the folder of bundles")
    for name in ("nowhere", "run0\0", "x" * 300):
        assert refused(name) == (422, "there is no such folder in the folder of bundles")
    assert refused("")[0] == 422
    assert swapping.post("/v1/admin/rollback").status_code == 409
    assert 'recsys_swaps_total{outcome="refused"} 2.0' in swapping.get("/metrics").text


def test_without_a_folder_of_bundles_none_can_be_named(holder: Holder) -> None:
    response = TestClient(create_app(holder)).post("/v1/admin/bundle", json={"bundle": "run1"})
    assert response.status_code == 422
    assert "--bundles" in response.json()["error"]["message"]


def test_a_key_of_scope_admin_is_asked_for(holder: Holder, root: Path, tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    tokens = {scope: add_key(keys, scope, [scope]) for scope in ("recommend", "write", "admin")}
    client = TestClient(create_app(holder, bundles=root, keys=KeyFile(keys)))
    statuses = [
        client.post("/v1/admin/rollback", headers={"Authorization": f"Bearer {token}"}).status_code
        for token in tokens.values()
    ]
    assert statuses == [403, 403, 409]


def test_every_answer_during_swaps_is_of_one_bundle(swapping: TestClient) -> None:
    lists: dict[str, Any] = {}
    for name in ("run1", "run0"):
        swapping.post("/v1/admin/bundle", json={"bundle": name})
        lists[version(ask(swapping))] = ask(swapping).json()["items"]
    answers, stop = [], threading.Event()

    def clients() -> None:
        while not stop.is_set():
            answers.append(ask(swapping))

    threads = [threading.Thread(target=clients) for _ in range(3)]
    for thread in threads:
        thread.start()
    for name in ("run1", "run0", "run1"):
        assert swapping.post("/v1/admin/bundle", json={"bundle": name}).status_code == 200
    stop.set()
    for thread in threads:
        thread.join()
    assert {answer.status_code for answer in answers} == {200}
    for answer in answers:
        assert answer.json()["items"] == lists[answer.headers["x-bundle"]]
        assert version(answer) == answer.headers["x-bundle"]
