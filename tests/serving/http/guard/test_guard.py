"""Keys, scopes, rates and sizes of requests; the log, and numbers for Prometheus."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from recsys.errors import ConfigError, DataError
from serving.engine import Engine
from serving.http.app import create_app, serve
from serving.http.guard import KeyFile, Limits, add_key, check_exposure, read_keys, remove_key, scope_of
from serving.http.guard.middleware import _Rates

ASK: dict[str, Any] = {"url": "/v1/recommend", "json": {"user_id": "ann", "k": 2}}


def client_of(engine: Engine, **options: Any) -> TestClient:
    return TestClient(create_app(engine, **options), raise_server_exceptions=False)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


class TestKeys:
    def test_a_key_is_asked_for_and_its_scope_counts(self, engine: Engine, keys: Path) -> None:
        reading, writing = add_key(keys, "shop", ["recommend"]), add_key(keys, "feed", ["write", "recommend"])
        client = client_of(engine, keys=KeyFile(keys))
        answer = client.post(**ASK)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
        assert answer.json()["error"]["field"] == "authorization"
        assert client.post(**ASK, headers=bearer("rk_wrong")).status_code == 401
        assert client.post(**ASK, headers={"Authorization": reading}).status_code == 401
        assert client.post(**ASK, headers=bearer(reading)).status_code == 200
        events = {"events": [{"event_id": "e1", "user_id": "ann", "item_id": "eel"}]}
        refused = client.post("/v1/events", json=events, headers=bearer(reading))
        assert (refused.status_code, "'write'" in refused.json()["error"]["message"]) == (403, True)
        assert client.post("/v1/events", json=events, headers=bearer(writing)).status_code == 200
        assert client.delete("/v1/users/ann", headers=bearer(reading)).status_code == 403
        assert client.get("/metrics", headers=bearer(writing)).status_code == 403
        assert [client.get(path).status_code for path in ("/healthz", "/readyz", "/", "/docs")] == [200] * 4

    def test_a_removed_key_is_refused_by_a_running_server(self, engine: Engine, keys: Path) -> None:
        token, _ = add_key(keys, "shop", ["recommend"]), add_key(keys, "other", ["admin"])
        client = client_of(engine, keys=KeyFile(keys))
        assert client.post(**ASK, headers=bearer(token)).status_code == 200
        remove_key(keys, "shop")
        assert client.post(**ASK, headers=bearer(token)).status_code == 401
        later = add_key(keys, "shop", ["recommend"])
        assert client.post(**ASK, headers=bearer(later)).status_code == 200

    def test_the_file_has_no_secret_and_is_for_its_owner_alone(self, keys: Path) -> None:
        token = add_key(keys, "shop", ["admin", "recommend"])
        assert token.startswith("rk_")
        assert token not in keys.read_text("utf-8")
        assert keys.stat().st_mode & 0o777 == 0o600
        assert [(key.name, key.scopes) for key in read_keys(keys)] == [("shop", ("recommend", "admin"))]

    def test_mistakes(self, keys: Path) -> None:
        add_key(keys, "shop", ["recommend"])
        for name, scopes, said in (
            ("shop", ["write"], "there is a key 'shop'"),
            ("x", ["read"], "must be of recommend, write, admin"),
            (" ", ["write"], "needs a name"),
        ):
            with pytest.raises(ConfigError, match=said):
                add_key(keys, name, scopes)
        with pytest.raises(ConfigError, match="there are: shop"):
            remove_key(keys, "shp")
        remove_key(keys, "shop")
        with pytest.raises(DataError, match="has no key; add one with: recsys key"):
            KeyFile(keys)
        for content, said in (
            ("{", "is no file of keys"),
            ("[]", "is no file of keys"),
            ('{"keys": [{"name": "x"}]}', "keys.0: needs name"),
            (
                '{"keys": [{"name": "x", "sha256": "", "created_at": "", "scopes": ["all"]}]}',
                r"keys.0.scopes",
            ),
        ):
            keys.write_text(content, "utf-8")
            with pytest.raises(DataError, match=said):
                read_keys(keys)
        with pytest.raises(DataError, match="cannot be read"):
            KeyFile(keys.with_name("none.json"))


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("POST", "/v1/recommend", "recommend"), ("GET", "/v1/items/a/similar", "recommend"),
        ("POST", "/v1/events", "write"), ("PUT", "/v1/items/a", "write"), ("PATCH", "/v1/items/a", "write"),
        ("DELETE", "/v1/users/a", "write"), ("POST", "/v1/items:batch", "write"),
        ("POST", "/v1/admin/bundle", "admin"), ("GET", "/metrics", "admin"),
        ("GET", "/healthz", None), ("GET", "/", None), ("GET", "/docs", None),
    ],
)  # fmt: skip
def test_the_scope_of_a_request(method: str, path: str, scope: str | None) -> None:
    assert scope_of(method, path) == scope


def test_every_endpoint_that_has_data_asks_for_a_key(engine: Engine, keys: Path) -> None:
    add_key(keys, "shop", ["recommend"])
    app = create_app(engine, keys=KeyFile(keys))
    client = TestClient(app)
    for path, methods in app.openapi()["paths"].items():
        for method in methods:
            answer = client.request(method, path.replace("{", "").replace("}", ""))
            assert (answer.status_code == 401) == path.startswith(("/v1", "/metrics")), (method, path)


class TestRates:
    def test_a_bucket_fills_again(self) -> None:
        rates = _Rates(2.0)
        assert [rates.seconds_to_wait("a", 0.0) for _ in range(4)] == [0.0] * 4  # two seconds' worth at once
        assert rates.seconds_to_wait("a", 0.0) == pytest.approx(0.5)
        assert rates.seconds_to_wait("b", 0.0) == 0.0
        assert rates.seconds_to_wait("a", 0.4) == pytest.approx(0.1)
        assert rates.seconds_to_wait("a", 0.6) == 0.0
        assert [rates.seconds_to_wait("a", 100.0) for _ in range(5)] == [0.0] * 4 + [pytest.approx(0.5)]

    def test_too_many_requests_are_told_when_to_come_back(self, engine: Engine) -> None:
        client = client_of(engine, guard_limits=Limits(per_second=0.5))
        assert client.post(**ASK).status_code == 200
        answer = client.post(**ASK)
        assert answer.status_code == 429
        assert 1 <= int(answer.headers["retry-after"]) <= 3
        assert client.get("/healthz").status_code == 200


@pytest.mark.parametrize("chunked", [False, True])
def test_a_large_body_is_refused(engine: Engine, chunked: bool) -> None:
    client = client_of(engine, guard_limits=Limits(body_bytes=100))
    body = json.dumps({"user_id": "a" * 200}).encode()
    content: Any = iter([body[:60], body[60:]]) if chunked else body
    answer = client.post("/v1/recommend", content=content, headers={"content-type": "application/json"})
    assert answer.status_code == 413
    assert "more than 0.0001 MB" in answer.json()["error"]["message"]
    assert client.post(**ASK).status_code == 200


def test_the_log_has_a_line_without_personal_data(
    engine: Engine, keys: Path, caplog: pytest.LogCaptureFixture
) -> None:
    token = add_key(keys, "shop", ["recommend", "write"])
    client = client_of(engine, keys=KeyFile(keys))
    caplog.set_level(logging.INFO, "recsys.access")
    answer = client.post(**ASK, headers=bearer(token))
    client.delete("/v1/users/ann", headers=bearer(token))
    client.get("/nowhere/ann")
    lines = [json.loads(record.message) for record in caplog.records if record.name == "recsys.access"]
    assert [(line["method"], line["route"], line["status"], line["key"]) for line in lines] == [
        ("POST", "/v1/recommend", 200, "shop"),
        ("DELETE", "/v1/users/{user_id:path}", 200, "shop"),
        ("GET", "other", 404, None),
    ]
    assert answer.json()["request_id"] == answer.headers["x-request-id"] == lines[0]["request_id"]
    assert not any("ann" in json.dumps(line) or token in json.dumps(line) for line in lines)


def test_numbers_for_prometheus(engine: Engine) -> None:
    client = client_of(engine)
    client.post(**ASK)
    client.post("/v1/recommend", json={"user_id": "nobody"})
    client.post("/v1/recommend", json={"k": 0})
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert 'recsys_requests_total{method="POST",route="/v1/recommend",status="200"} 2.0' in answer.text
    assert 'recsys_requests_total{method="POST",route="/v1/recommend",status="422"} 1.0' in answer.text
    assert 'recsys_request_seconds_count{method="POST",route="/v1/recommend"} 3.0' in answer.text
    assert 'recsys_degraded_total{why="unknown_user"} 1.0' in answer.text


def test_a_host_that_others_reach_needs_keys() -> None:
    for host in ("127.0.0.1", "localhost", "::1", "127.8.0.2"):
        check_exposure(host, has_keys=False, allow_anonymous=False)
    for host in ("0.0.0.0", "shop.example", "10.0.0.3", "::"):
        with pytest.raises(ConfigError, match="--allow-anonymous"):
            check_exposure(host, has_keys=False, allow_anonymous=False)
        check_exposure(host, has_keys=True, allow_anonymous=False)
        check_exposure(host, has_keys=False, allow_anonymous=True)
    with pytest.raises(ConfigError, match="recsys key FILE NAME"):
        serve(Path("nowhere"), host="0.0.0.0")
