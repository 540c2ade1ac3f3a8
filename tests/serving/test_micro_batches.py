"""Requests computed together: the answers of each alone, errors of one alone, and the time that runs out."""

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from recsys.errors import RequestError
from recsys.retrieval import AnsweredBy, Rules
from serving.engine import Engine
from serving.micro_batches import REASONS_LATE, ListRequest, MicroBatches

RULES = Rules()


def request(engine: Engine, user: str, **changes: Any) -> ListRequest:
    history, _ = engine.history(user)
    values: dict[str, Any] = {"k": 4, "rules": RULES, "seed": 0, "user": user, "explain": True}
    return ListRequest(engine=engine, history=history, **values | changes)


def at_once(batches: MicroBatches, requests: list[ListRequest], engine: Engine) -> list[Any]:
    """Results or errors of requests that all wait while another computation is under way."""
    first, rest = threading.Event(), threading.Event()
    slow, recommend = threading.local(), engine.recommend_by_rules

    def held(*arguments: Any, **named: Any) -> Any:
        if getattr(slow, "is_first", False):
            first.set()
            assert rest.wait(20)
        return recommend(*arguments, **named)

    results: list[Any] = [None] * len(requests)

    def ask(at: int, *, is_first: bool = False) -> None:
        slow.is_first = is_first
        try:
            results[at] = batches.recommend(requests[at])
        except Exception as error:
            results[at] = error

    engine.recommend_by_rules = held  # type: ignore[method-assign]
    threads = [threading.Thread(target=ask, args=(0,), kwargs={"is_first": True})]
    threads[0].start()
    assert first.wait(20)
    threads += [threading.Thread(target=ask, args=(at,)) for at in range(1, len(requests))]
    for at, thread in enumerate(threads[1:], 1):
        thread.start()
        while len(batches._queue) < at:
            pass
    rest.set()
    for thread in threads:
        thread.join()
    engine.recommend_by_rules = recommend  # type: ignore[method-assign]
    return results


def test_answers_are_those_of_each_request_alone(engine: Engine) -> None:
    sizes: list[int] = []
    batches = MicroBatches(max_batch=4, observe=sizes.append)
    users = ["ann", "bob", "nobody", "new", "ann", "bob", "ann"]
    changes: list[dict[str, Any]] = [{} for _ in users]
    changes[4] = {"k": 2}
    changes[5] = {"allowed": np.arange(8) > 3}
    changes[6] = {"exclude_seen": False, "explain": False}
    requests = [request(engine, user, **change) for user, change in zip(users, changes, strict=True)]
    found = at_once(batches, requests, engine)
    assert sizes == [1, 3, 1, 1, 1]
    for asked, together in zip(requests, found, strict=True):
        alone = MicroBatches(max_batch=1).recommend(asked)
        one, other = alone.ruled.recommendations, together.ruled.recommendations
        np.testing.assert_array_equal(one.items, other.items)
        np.testing.assert_allclose(one.scores, other.scores, atol=1e-5)
        assert one.answered_by == other.answered_by
        if one.history_attention is not None:
            np.testing.assert_allclose(one.history_attention, other.history_attention, atol=1e-5)
        for place in range(int((one.items[0] > 0).sum())):
            assert engine.reason(one, 0, place) == engine.reason(other, 0, place)


def test_at_most_the_largest_batch(engine: Engine) -> None:
    sizes: list[int] = []
    requests = [request(engine, "ann") for _ in range(8)]
    at_once(MicroBatches(max_batch=4, observe=sizes.append), requests, engine)
    assert sizes == [1, 4, 3]


def test_an_error_of_one_does_not_fail_the_others(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    recommend = engine.recommend_by_rules

    def refusing(histories: Any, *arguments: Any, users: Any, **named: Any) -> Any:
        if "bob" in users:
            raise RequestError("user_id", "is refused", "bob")
        return recommend(histories, *arguments, users=users, **named)

    monkeypatch.setattr(engine, "recommend_by_rules", refusing)
    users = ["ann", "new", "bob", "nobody"]
    found = at_once(MicroBatches(), [request(engine, user) for user in users], engine)
    assert [isinstance(each, RequestError) for each in found] == [False, False, True, False]


def test_alone_there_is_no_waiting_and_errors_are_raised(engine: Engine) -> None:
    batches = MicroBatches()
    assert batches.recommend(request(engine, "ann")).ruled.recommendations.items.shape == (1, 4)
    with pytest.raises(RequestError):
        batches.recommend(request(engine, "ann", k=100_000))
    assert batches.recommend(request(engine, "ann")).degraded == ()


def clock_of(*times: float) -> Callable[[], float]:
    """A clock that shows these times one after the other, and then the last."""
    left = list(times)
    return lambda: left.pop(0) if len(left) > 1 else left[0]


def test_after_retrieval_late_requests_get_the_retrievers_order(engine: Engine) -> None:
    late, early, free = (request(engine, "bob", deadline=each) for each in (1.0, 3.0, None))
    alone = MicroBatches(max_batch=1)
    in_time = alone.recommend(free)
    found = at_once(MicroBatches(clock=clock_of(2.0)), [free, late, early, free], engine)
    orders = [each.ruled.recommendations.answered_by for each in found]
    assert orders == [(AnsweredBy.HISTORY,), (AnsweredBy.RETRIEVAL,), *[(AnsweredBy.HISTORY,)] * 2]
    recommender = engine.require_recommender().without_ranker()
    expected = recommender.recommend([free.history], 4)
    np.testing.assert_array_equal(found[1].ruled.recommendations.items, expected.items)
    np.testing.assert_allclose(found[1].ruled.recommendations.scores, expected.scores, atol=1e-5)
    for each in found[2:]:
        np.testing.assert_array_equal(each.ruled.recommendations.items, in_time.ruled.recommendations.items)
    assert engine.degraded(free.history, AnsweredBy.RETRIEVAL) == ["time_budget: retrieval"]


def test_after_ranking_reasons_are_by_attention(engine: Engine) -> None:
    asked = request(engine, "bob", deadline=1.0)
    in_time = MicroBatches(clock=clock_of(0.5)).recommend(asked)
    listed = MicroBatches(clock=clock_of(0.5, 2.0)).recommend(asked)  # after retrieval, after ranking
    assert (in_time.degraded, listed.degraded) == ((), (REASONS_LATE,))
    np.testing.assert_array_equal(in_time.ruled.recommendations.items, listed.ruled.recommendations.items)
    by_attention = MicroBatches().recommend(request(engine, "bob", explain=False))
    np.testing.assert_array_equal(
        by_attention.ruled.recommendations.history_attention, listed.ruled.recommendations.history_attention
    )
