"""Two bundles beside each other, one of them retrained, over one state: nobody reads the other's rows."""

import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from features.dataset.values.id_encoding import IdMaps
from features.inputs.history_file import save_histories
from recsys.bundle.load import Bundle
from recsys.bundle.write import write_bundle
from recsys.history import History
from recsys.ids import IdMap
from serving.engine import Engine
from serving.state.opening import maps_fingerprint

ROOT = Path(__file__).resolve().parents[2]
OLD_ITEMS = [f"item-{n:02}" for n in range(80)]
NEW_ITEMS = [f"added-{n}" for n in range(10)] + OLD_ITEMS  # at the head of the table: every old item moves
USERS = [f"user-{n:02}" for n in range(60)]
K = 20


def fill(shop, directory: Path, items: list[str]) -> dict:
    """A bundle of `items`, whose vectors depend on their names alone."""
    values = shop.fill_bundle(directory)
    angles = np.array([sum(map(ord, name)) * 0.7 + int(name[-1]) for name in items])
    vectors = np.zeros((len(items) + 2, 2), np.float32)
    vectors[2:] = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    IdMap(items).save(directory / "item_ids.npy")
    np.save(directory / "item_vectors.npy", vectors)
    np.save(directory / "item_tokens.npy", np.ones((len(items) + 2, 2, 2), np.float16))
    np.save(directory / "token_mask.npy", np.arange(len(items) + 2)[:, None].repeat(2, 1) >= 2)
    catalogue = pl.DataFrame(
        {
            "item_id": items,
            "title": items,
            "popularity": [100 - at for at in range(len(items))],
            "trained": [True] * len(items),
        }
    )
    catalogue.write_parquet(directory / "catalogue.parquet")
    return values


def histories(items: list[str]) -> dict[str, History]:
    """The same events of each user in the ids of `items`."""
    ids = IdMap(items)
    rng = np.random.default_rng(0)
    found = {}
    for user in USERS:
        names = rng.choice(OLD_ITEMS, int(rng.integers(2, 9)), replace=False)
        item = ids.encode(names.tolist())
        found[user] = History(
            item=item,
            timestamp=np.arange(len(item), dtype=np.int64) * 60_000_000,
            event=np.full(len(item), 2, np.int64),
            value=np.full(len(item), np.nan, np.float32),
            seen=np.unique(item),
        )
    return found


@pytest.fixture
def bundles(shop, tmp_path) -> tuple[Path, Path]:
    """The bundle in use and a retrained one beside it, and the histories that both were exported with."""
    old, new = tmp_path / "run" / "bundle", tmp_path / "run" / "retrained"
    write_bundle(old, lambda directory: fill(shop, directory, OLD_ITEMS))
    write_bundle(new, lambda directory: fill(shop, directory, NEW_ITEMS))
    maps = IdMaps(kinds=IdMap(["view", "buy"]), profiles={"job": IdMap(["cook", "baker"])})
    save_histories(histories(OLD_ITEMS), old.parent / "histories.parquet", IdMap(OLD_ITEMS), maps)
    return old, new


def lists_of(engine: Engine) -> dict[str, list[str]]:
    answers = engine.recommend(engine.state.histories(USERS), K)
    return {
        user: [engine.item_id(item) for item in row if item]
        for user, row in zip(USERS, answers.items.tolist(), strict=True)
    }


def fresh_lists(bundle: Path, state: Path) -> dict[str, list[str]]:
    """Lists of an engine with a state of its own."""
    with Engine.open(bundle, state=state) as engine:
        return lists_of(engine)


def test_two_engines_over_one_state_answer_as_alone(bundles, tmp_path):
    old, new = bundles
    alone = {bundle: fresh_lists(bundle, tmp_path / f"{bundle.name}.sqlite") for bundle in bundles}
    assert alone[old] != alone[new]
    with Engine.open(old) as first:
        assert lists_of(first) == alone[old]
        with Engine.open(new) as second:
            assert lists_of(second) == alone[new]
            assert lists_of(first) == alone[old]
            second.state.delete_user(USERS[0])
            assert first.state.histories(USERS[:2])[0] is None
        with Engine.open(new) as again:
            assert again.state.num_users() == first.state.num_users() == len(USERS) - 1


@pytest.mark.long
def test_a_running_server_goes_on_while_a_retrained_bundle_is_opened(bundles, tmp_path):
    old, new = bundles
    alone = {bundle: fresh_lists(bundle, tmp_path / f"{bundle.name}.sqlite") for bundle in bundles}
    with server(old) as address:
        assert answers(address) == alone[old]
        with Engine.open(new) as retrained:
            assert lists_of(retrained) == alone[new]
            assert answers(address) == alone[old]
            with server(new) as other:
                assert answers(other) == alone[new]
                assert answers(address) == alone[old]


def test_a_list_of_the_old_server_holds_no_seen_item(bundles):
    old, new = bundles
    seen = histories(OLD_ITEMS)
    with Engine.open(old) as engine, Engine.open(new):
        for user, items in lists_of(engine).items():
            names = {OLD_ITEMS[item - 2] for item in seen[user].seen}
            assert len(items) == K
            assert not names & set(items)


def test_a_bundle_without_histories_of_its_own_knows_nobody_and_the_log_says_so(bundles, caplog):
    old, new = bundles
    Engine.open(old).close()
    (old.parent / "histories.parquet").unlink()
    with Engine.open(new) as engine:
        assert engine.state.histories(USERS[:1]) == [None]
    assert "holds no histories of this bundle's items; every user is unknown" in caplog.text
    with Engine.open(old) as engine:
        assert engine.state.num_users() == len(USERS)


def test_review_vectors_of_other_encoders_are_other_histories(shop, tmp_path):
    """The same items and another width of review vectors: the rows must not be shared."""
    schema = replace(shop.SCHEMA, review_text_dim=3)
    write_bundle(tmp_path / "a", shop.fill_bundle)
    write_bundle(tmp_path / "b", lambda at: shop.fill_bundle(at, sequence_schema=schema))
    write_bundle(tmp_path / "c", lambda at: shop.fill_bundle(at, temperature=0.4))
    prints = {name: maps_fingerprint(Bundle.open(tmp_path / name)) for name in "abc"}
    assert prints["a"] == prints["c"] != prints["b"]


def answers(address: str) -> dict[str, list[str]]:
    """The list of every user over HTTP; each answer is a success and not degraded."""
    found = {}
    for user in USERS:
        request = urllib.request.Request(
            f"{address}/v1/recommend",
            json.dumps({"user_id": user, "k": K}).encode(),
            {"content-type": "application/json"},
        )
        with urllib.request.urlopen(request) as response:
            assert response.status == 200
            answer = json.load(response)
        assert answer["degraded"] == []
        found[user] = [item["item_id"] for item in answer["items"]]
    return found


@contextmanager
def server(bundle: Path) -> Iterator[str]:
    """The address of `recsys serve BUNDLE` in a process of its own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "recsys.cli", "serve", str(bundle), "--port", str(port)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    try:
        wait_until_ready(address, process)
        yield address
    finally:
        process.terminate()
        process.wait(30)


def wait_until_ready(address: str, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert process.poll() is None, "the server has stopped"
        try:
            urllib.request.urlopen(f"{address}/readyz").close()
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.2)
        else:
            return
    raise AssertionError("the server does not answer")
