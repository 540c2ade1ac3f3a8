"""A Redis is killed and started again while clients ask: recommendations go on and say what is missing."""

import threading
import time
from pathlib import Path
from typing import Any

import pytest
from bundle_parts import write_histories, write_tiny_bundle
from fastapi.testclient import TestClient
from redis_parts import RedisServer, needs_redis

from serving.engine import LIVE_ROWS_MISSING, Engine
from serving.http.app import create_app

pytestmark = [needs_redis, pytest.mark.long]
NUM_CLIENTS = 4


def test_recommendations_go_on_while_the_redis_is_away(tmp_path: Path) -> None:
    redis = RedisServer(tmp_path)
    redis.start()
    write_tiny_bundle(tmp_path / "run" / "bundle")
    write_histories(tmp_path / "run" / "histories.parquet", {"ann": ["i00", "i03"], "bob": ["i11"]})
    answers: list[tuple[int, list[str]]] = []
    events: list[int] = []
    stop = threading.Event()
    with Engine.open(tmp_path / "run" / "bundle", state=redis.url) as engine:
        client = TestClient(create_app(engine), raise_server_exceptions=False)

        def ask(user: str) -> Any:
            return client.post("/v1/recommend", json={"user_id": user, "k": 3})

        def clients(number: int) -> None:
            at = 0
            while not stop.is_set():
                response = ask(("ann", "bob", "eve")[at % 3])
                degraded = response.json()["degraded"] if response.status_code == 200 else []
                answers.append((response.status_code, degraded))
                if at % 5 == 0:
                    event = {"event_id": f"{number}-{at}", "user_id": "ann", "item_id": "i05"}
                    events.append(client.post("/v1/events", json={"events": [event]}).status_code)
                at += 1

        threads = [threading.Thread(target=clients, args=(number,)) for number in range(NUM_CLIENTS)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(3):
                wait_until(lambda: LIVE_ROWS_MISSING not in ask("ann").json()["degraded"])
                redis.kill()
                wait_until(lambda: LIVE_ROWS_MISSING in ask("ann").json()["degraded"])
                time.sleep(0.5)
                redis.start()
            wait_until(lambda: LIVE_ROWS_MISSING not in ask("ann").json()["degraded"])
        finally:
            stop.set()
            for thread in threads:
                thread.join()
            num_stored = len(engine.state.live.users(["ann"])[0].events)
            redis.kill()
    assert {status for status, _ in answers} == {200}
    assert any(LIVE_ROWS_MISSING in degraded for _, degraded in answers)
    assert any(LIVE_ROWS_MISSING not in degraded for _, degraded in answers)
    assert set(events) <= {200, 503}
    # An event may be stored without an answer, and none that was acknowledged is missing.
    assert num_stored >= events.count(200) > 0


def wait_until(is_so: Any) -> None:
    for _ in range(600):
        if is_so():
            return
        time.sleep(0.05)
    raise AssertionError("it did not happen within 30 seconds")
