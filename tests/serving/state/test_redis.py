"""Several servers over one Redis: what they share, and what they answer while it is away."""

import pytest
from fastapi.testclient import TestClient
from redis_parts import RedisServer, needs_redis

from features.dataset.values.id_encoding import IdMaps
from features.inputs.history_file import save_histories
from recsys.bundle.load import Bundle
from recsys.bundle.write import write_bundle
from recsys.errors import DataError, StateError
from recsys.ids import IdMap
from serving.engine import LIVE_ROWS_MISSING, Engine
from serving.http.app import create_app
from serving.state import LiveEvent, open_live_rows
from serving.state.redis_rows import RedisLiveRows

pytestmark = needs_redis
MAPS = IdMaps(kinds=IdMap(["view", "buy"]), profiles={"job": IdMap(["cook", "baker"])})


@pytest.fixture
def server(tmp_path):
    server = RedisServer(tmp_path)
    server.start()
    yield server
    server.kill()


def run_of(shop, place):
    """A run with the histories of two users."""
    write_bundle(place / "bundle", shop.fill_bundle)
    users = {"ann": shop.history("ant"), "bob": shop.history("fox", "dog")}
    save_histories(users, place / "histories.parquet", Bundle.open(place / "bundle").item_ids, MAPS)
    return place


def opened(run, server):
    engine = Engine.open(run / "bundle", state=server.url)
    engine.state.live._pause = 0  # every request makes an attempt
    return engine


def event(name, user, item):
    return LiveEvent(event_id=name, user=user, item=item, timestamp=10**15, kind="view")


def listed(client, user="ann"):
    answer = client.post("/v1/recommend", json={"user_id": user, "k": 6})
    assert answer.status_code == 200, answer.text
    return [item["item_id"] for item in answer.json()["items"]], answer.json()["degraded"]


def test_replicas_share_events_and_erasures(shop, server, tmp_path):
    runs = [run_of(shop, tmp_path / name) for name in "ab"]
    with opened(runs[0], server) as one, opened(runs[1], server) as other:
        one.state.live.append_events([event("e1", "ann", "bee"), event("e2", "eve", "cat")])
        assert other.state.histories(["ann"])[0].item.tolist() == [2, 3]
        assert list(other.state.user_ids()) == ["ann", "bob", "eve"]
        assert (other.state.num_users(), one.state.is_durable) == (3, True)
        assert one.state.delete_user("ann")
        assert other.state.histories(["ann"]) == [None]
        assert b"ann" not in (runs[1] / "state.sqlite").read_bytes()  # forgotten there too
        one.state.delete_user("bob")
    with opened(runs[1], server) as other:  # bob was not read there since
        assert list(other.state.user_ids()) == ["eve"]
        assert b"bob" not in (runs[1] / "state.sqlite").read_bytes()


def test_while_the_redis_is_away_answers_are_degraded_and_then_heal(shop, server, tmp_path):
    posted = {"events": [{"event_id": "e1", "user_id": "ann", "item_id": "fox"}]}
    more = {"events": [{"event_id": "e2", "user_id": "ann", "item_id": "eel"}]}
    engine = opened(run_of(shop, tmp_path / "run"), server)
    with engine, TestClient(create_app(engine)) as client:
        assert client.post("/v1/events", json=posted).json() == {
            "accepted": 1, "duplicates": 0, "rejected": [],
            "unknown_items": [], "unknown_events": [], "durable": True,
        }  # fmt: skip
        with_event, degraded = listed(client)
        assert (with_event[0], degraded) == ("dog", [])
        server.kill()
        without_event, degraded = listed(client)
        assert (without_event[0], degraded) == ("bee", [LIVE_ROWS_MISSING])
        assert "fox" in without_event
        assert listed(client, "eve")[1] == ["unknown_user: popularity", LIVE_ROWS_MISSING]
        refused = client.post("/v1/events", json=more)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert "cannot be written" in refused.json()["error"]["message"]
        assert client.delete("/v1/users/bob").status_code == 503
        ready = client.get("/readyz").json()
        assert (ready["num_users"], ready["degraded"]) == (2, [LIVE_ROWS_MISSING])
        server.start()
        assert listed(client) == (with_event, [])  # acknowledged before the Redis was killed
        assert client.get("/readyz").json()["degraded"] == []
        assert client.post("/v1/events", json=more).json()["accepted"] == 1
        engine.state._impressions.flush()
        assert len(list(engine.state.live.impressions())) == 4  # also of the answers meanwhile


def test_after_a_failed_attempt_calls_fail_at_once_for_a_while(server):
    rows = RedisLiveRows(server.url, seconds_between_attempts=60)
    server.kill()
    with pytest.raises(StateError, match="cannot be read: Error"):
        rows.num_users()
    server.start()
    with pytest.raises(StateError, match="did not answer a moment ago"):
        rows.num_users()
    rows._pause = 0
    assert rows.num_users() == 0
    rows.close()


def test_search_goes_on_too_and_batch_says_what_is_missing(shop, server, tmp_path):
    engine = opened(run_of(shop, tmp_path / "run"), server)
    with engine:
        server.kill()
        history, degraded = engine.history("ann")
        assert (history.item.tolist(), degraded) == ([2], [LIVE_ROWS_MISSING])
        with pytest.raises(StateError, match="cannot be read"):
            engine.histories(["ann"])


def test_a_redis_that_cannot_be_used_is_named_without_its_password(server):
    address = f"redis://:secret@127.0.0.1:{server.port}/0"
    server.kill()
    with pytest.raises(DataError, match=r"--state redis://127.0.0.1:\d+/0: cannot be used") as caught:
        RedisLiveRows(address)
    assert "secret" not in str(caught.value)


def test_a_newer_layout_is_refused(server):
    rows = RedisLiveRows(server.url)
    rows._redis.set("{recsys}:layout", 99)
    with pytest.raises(DataError, match="layout 99, this recsys reads up to 1"):
        RedisLiveRows(server.url)
    rows.close()


def test_a_redis_that_does_not_sync_is_not_durable(server):
    rows = RedisLiveRows(server.url)
    assert rows.is_durable
    rows._redis.config_set("appendfsync", "everysec")
    assert not RedisLiveRows(server.url).is_durable
    rows.close()


def test_its_rows_are_opened_by_address(server):
    rows = open_live_rows(server.url)
    rows.append_events([event("e1", "ann", "bee")])
    assert [each.item for each in rows.events()] == ["bee"]
    rows.close()
