"""The time budget over HTTP, by a clock that a test moves; sizes of batches in the metrics."""

from typing import Any

import pytest
from fastapi.testclient import TestClient

from serving.engine import Engine
from serving.http import AnswerSettings
from serving.http.app import create_app


class Clock:
    """Every look at it takes a second."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        self.seconds += 1.0
        return self.seconds


def ask(engine: Engine, body: dict[str, Any], **settings: Any) -> dict[str, Any]:
    app = create_app(engine, answers=AnswerSettings(clock=Clock(), **settings))
    response = TestClient(app).post("/v1/recommend", json={"user_id": "ann", "k": 2, **body})
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


@pytest.mark.parametrize(
    ("operator", "request_", "degraded"),
    [
        (None, None, []),
        (None, 10_000, []),
        (None, 999, ["time_budget: retrieval"]),  # a second has passed after retrieval
        (None, 1_500, ["time_budget: reasons by attention"]),  # two after ranking
        (999, None, ["time_budget: retrieval"]),
        (999, 10_000, ["time_budget: retrieval"]),  # a request cannot have more
        (10_000, 999, ["time_budget: retrieval"]),
    ],
)
def test_the_smaller_budget_counts(
    engine: Engine, operator: float | None, request_: float | None, degraded: list[str]
) -> None:
    answer = ask(engine, {} if request_ is None else {"budget_ms": request_}, budget_ms=operator)
    assert answer["degraded"] == degraded
    assert [item["item_id"] for item in answer["items"]] == ["bee", "cat"]
    has_reasons = [item["reason"] is not None for item in answer["items"]]
    assert has_reasons == [degraded != ["time_budget: retrieval"]] * 2


def test_what_a_budget_may_be(engine: Engine) -> None:
    client = TestClient(create_app(engine))
    for budget in (0, -1, "fast", 1e9):
        refused = client.post("/v1/recommend", json={"user_id": "ann", "budget_ms": budget})
        assert (refused.status_code, refused.json()["error"]["field"]) == (422, "budget_ms")


def test_sizes_of_batches_and_late_answers_are_counted(engine: Engine) -> None:
    app = create_app(engine, answers=AnswerSettings(clock=Clock(), budget_ms=1.0))
    client = TestClient(app)
    client.post("/v1/recommend", json={"user_id": "ann"})
    text = client.get("/metrics").text
    assert 'recsys_batch_size_bucket{le="1.0"} 1.0' in text
    assert 'recsys_degraded_total{why="time_budget"} 1.0' in text
