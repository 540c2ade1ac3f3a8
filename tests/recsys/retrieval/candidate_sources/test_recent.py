"""Recent events at the time of a request."""

from dataclasses import replace

import numpy as np
import pytest
from source_parts import DAY, history_of, random_source, recent_scores

from recsys.ids import NUM_RESERVED
from recsys.retrieval.candidate_sources import RecentSource, recent

NUM_ITEMS = 60


def small(half_life_days: float = 1.0) -> RecentSource:
    """Item 2 twice on day 0, item 3 on day 2, item 4 on day 3."""
    return RecentSource(
        name="recent",
        item=np.array([2, 2, 3, 4], np.int32),
        time=np.array([0, 0, 2, 3]) * DAY,
        half_life_days=half_life_days,
        num_items=6,
    )


def test_scores_by_hand() -> None:
    total = np.array([2 / 8, 1 / 2, 1])
    found = small().scores([history_of(5)], np.array([[2, 3, 4, 5, 0]]))[0]
    np.testing.assert_allclose(found, [*(total / total.mean()), 0, 0], rtol=1e-6)


@pytest.mark.parametrize(
    ("day", "expected"), [(-1, []), (0, [2]), (1.5, [2]), (2, [3, 2]), (3, [4, 3, 2]), (9, [4, 3, 2])]
)
def test_no_event_after_the_request_is_read(day: float, expected: list[int]) -> None:
    user = replace(history_of(5), asked_at=int(day * DAY))
    items, scores = small().candidates([user], 4)
    assert items[0][items[0] > 0].tolist() == expected
    assert np.isneginf(scores[0, len(expected) :]).all()


def test_users_who_ask_at_other_times_are_answered_together() -> None:
    source = random_source("recent", NUM_ITEMS)
    assert isinstance(source, RecentSource)
    days = (None, 0, 20, 99, 500)
    users = [replace(history_of(5), asked_at=None if day is None else day * DAY) for day in days]
    every = np.tile(np.arange(NUM_ITEMS), (len(users), 1))
    found = source.scores(users, every)
    for row, user in zip(found, users, strict=True):
        np.testing.assert_allclose(row, recent_scores(source, user.asked_at), rtol=1e-5)
    np.testing.assert_allclose(found[0], found[4], rtol=1e-6)  # after all events only the factor changes
    assert not source.scores(users, every + NUM_ITEMS)[:, NUM_RESERVED:].any()  # items after the fit
    allowed, seen = np.arange(NUM_ITEMS + 3) % 2 > 0, [user.seen for user in users]
    items, _ = source.candidates(users, 7, excluded=seen, allowed=allowed)
    for row, user in enumerate(users):
        alone, _ = source.candidates([user], 7, excluded=seen[:1], allowed=allowed)
        assert items[row].tolist() == alone[0].tolist()
        assert not set(items[row].tolist()) & {5, 2, 4}


def test_the_newest_events_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent, "READ_EVENTS", 2)
    assert small().candidates([history_of(5)], 4)[0][0].tolist() == [4, 3, 0, 0]


def test_a_bundle_has_the_scores_at_the_end() -> None:
    source = random_source("recent", NUM_ITEMS)
    assert isinstance(source, RecentSource)
    users, every = [history_of(5), history_of()], np.tile(np.arange(NUM_ITEMS), (2, 1))
    np.testing.assert_array_equal(source.now.scores(users, every), source.scores(users, every))
    assert source.now.name == source.name
