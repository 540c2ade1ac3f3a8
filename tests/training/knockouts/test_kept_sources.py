"""Candidates that are kept against those of the source itself."""

from dataclasses import replace

import numpy as np
import pytest
from source_parts import DAY, history_of, random_source

from recsys.history import History
from recsys.ids import NUM_RESERVED
from training.knockouts.kept_sources import KeptCandidates

NUM_ITEMS = 60


def histories(seed: int) -> list[History]:
    rng = np.random.default_rng(seed)
    return [history_of(*rng.integers(NUM_RESERVED, NUM_ITEMS, length)) for length in (0, 1, 9, 30)]


@pytest.mark.parametrize("name", ["als", "item_item", "transitions", "popularity", "recent"])
def test_every_call_has_the_candidates_and_scores_of_the_source(name: str) -> None:
    source, allowed = random_source(name, NUM_ITEMS), np.arange(NUM_ITEMS) % 3 > 0
    kept = KeptCandidates(random_source(name, NUM_ITEMS))
    assert kept.name == source.name
    for _ in range(2):  # the second time they are read from memory
        for seed in (1, 2):
            users = histories(seed)
            for k in (3, 7):
                for mask in (None, allowed, ~allowed):
                    for excluded in (None, [user.seen for user in users], [user.item[:1] for user in users]):
                        found = kept.candidates(users, k, excluded=excluded, allowed=mask)
                        expected = source.candidates(users, k, excluded=excluded, allowed=mask)
                        for array, reference in zip(found, expected, strict=True):
                            np.testing.assert_array_equal(array, reference)
            item_BK = np.random.default_rng(seed).integers(0, NUM_ITEMS, (len(users), 8))
            np.testing.assert_array_equal(kept.scores(users, item_BK), source.scores(users, item_BK))


def test_another_time_of_the_request_has_other_candidates() -> None:
    source = random_source("recent", NUM_ITEMS)
    kept = KeptCandidates(source)
    users = [replace(history_of(5), asked_at=day * DAY) for day in (3, 90)]
    for user in users:
        np.testing.assert_array_equal(kept.candidates([user], 5)[0], source.candidates([user], 5)[0])
    assert kept.candidates(users[:1], 5)[0].tolist() != kept.candidates(users[1:], 5)[0].tolist()


def test_a_source_is_asked_once_for_equal_items(monkeypatch: pytest.MonkeyPatch) -> None:
    source = random_source("popularity", NUM_ITEMS)
    calls: list[int] = []
    real = type(source).candidates

    def counted(self: object, users: list[History], k: int, **arguments: object) -> object:
        calls.append(k)
        return real(source, users, k, **arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(type(source), "candidates", counted)
    kept = KeptCandidates(source)
    for seed in (1, 1, 2):
        kept.candidates(histories(seed), 5)
    assert calls == [5, 5]
