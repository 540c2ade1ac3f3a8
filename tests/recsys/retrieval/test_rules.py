"""Rules against slow references: each alone, all together, and as prefixes of the longest list."""

from typing import Any

import numpy as np
import pytest
from model_parts import tiny_history, tiny_schema

from recsys.errors import RequestError
from recsys.ids import NUM_RESERVED
from recsys.item_features import ItemArrays
from recsys.retrieval import (
    Boost,
    Cap,
    Exploration,
    Owners,
    Pin,
    Recommender,
    RecommenderSettings,
    RuledLists,
    Rules,
    build_index,
    recommend_by_rules,
)

NUM, DIM, NUM_COLD = 120, 6, 30
USERS = [tiny_history([3, 4, 5]), tiny_history([9, 20], seed=1, seen=np.arange(40, 60)), None]
EVEN = (np.arange(NUM) % 2 == 0) & (np.arange(NUM) >= NUM_RESERVED)
STARTS = np.arange(NUM + 1)  # one value of each item, its number modulo 4
CAP = Cap(name="few", starts=STARTS, values=np.arange(NUM) % 4, at_most=2, within=6)


@pytest.fixture(scope="module")
def recommender() -> Recommender:
    draw = np.random.default_rng(0)
    vectors = draw.standard_normal((NUM, DIM)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[:NUM_RESERVED] = 0
    items = ItemArrays(
        vectors=vectors,
        tokens=draw.standard_normal((NUM, 3, DIM)).astype(np.float16),
        token_mask=np.ones((NUM, 3), np.bool_),
        trained=(np.arange(NUM) >= NUM_RESERVED) & (np.arange(NUM) < NUM - NUM_COLD),
        popularity=np.arange(NUM, dtype=np.float32) * (np.arange(NUM) < NUM - NUM_COLD),
    )

    def embed(inputs: Any) -> Any:
        mean = inputs["event_vector"].sum(1) + 0.01
        return (mean / np.linalg.norm(mean, axis=1, keepdims=True)).astype(np.float32)

    return Recommender(
        items=items,
        schema=tiny_schema(),
        settings=RecommenderSettings(
            temperature=0.1, num_candidates=40, history_length=5, max_list_length=100, cold_ranks=(5, 10)
        ),
        embed_users=embed,
        rank=None,
        index=build_index("exact", vectors),
    )


def ask(recommender: Recommender, rules: Rules, k: int = 20, **options: Any) -> RuledLists:
    owners = options.pop("owners", Owners([None] * (NUM - NUM_RESERVED)))
    users, seeds = options.pop("users", ["a", "b", None]), options.pop("seeds", [1, 2, 3])
    return recommend_by_rules(recommender, owners, users, USERS, k, rules, seeds=seeds, **options)


def plain(recommender: Recommender, k: int = 20, **options: Any) -> np.ndarray:
    return recommender.recommend(USERS, k, **options).items


EVERY = Rules(
    excluded=np.arange(NUM) % 7 == 3,
    boosts=(Boost(name="even", items=EVEN, add=0.8), Boost(name="few", items=np.arange(NUM) < 20, add=-5.0)),
    caps=(CAP, Cap(name="third", starts=STARTS, values=np.arange(NUM) % 3, at_most=3, within=5)),
    pins=(Pin(name="first", item=100, rank=1), Pin(name="later", item=8, rank=9)),
    exploration=Exploration(rate=0.3, pool=10),
    diversity=0.5,
)


def test_without_rules_lists_are_as_ever(recommender: Recommender) -> None:
    found = ask(recommender, Rules())
    expected = recommender.recommend(USERS, 20)
    np.testing.assert_array_equal(found.recommendations.items, expected.items)
    np.testing.assert_array_equal(found.recommendations.scores, expected.scores)
    np.testing.assert_array_equal(found.propensity, 1.0)
    assert found.rules == (((),) * 20,) * 3
    diverse = ask(recommender, Rules(), diversity=0.7).recommendations.items
    np.testing.assert_array_equal(diverse, plain(recommender, diversity=0.7))
    np.testing.assert_array_equal(ask(recommender, Rules(diversity=0.7)).recommendations.items, diverse)


@pytest.mark.parametrize("exploration", [0.0, 0.3])
def test_a_shorter_list_is_a_prefix(recommender: Recommender, exploration: float) -> None:
    rules = Rules(**{**vars(EVERY), "exploration": Exploration(rate=exploration, pool=10)})
    longest = ask(recommender, rules, k=100)
    for k in (1, 2, 5, 8, 9, 10, 20, 60):
        found = ask(recommender, rules, k=k)
        np.testing.assert_array_equal(found.recommendations.items, longest.recommendations.items[:, :k])
        np.testing.assert_array_equal(found.recommendations.scores, longest.recommendations.scores[:, :k])
        np.testing.assert_array_equal(found.propensity, longest.propensity[:, :k])
        assert [row[:k] for row in longest.rules] == [*found.rules]
    for row, user in enumerate(USERS):
        listed = longest.recommendations.items[row]
        listed = listed[listed > 0]
        assert len(set(listed.tolist())) == len(listed)
        if user is not None:
            assert not np.isin(listed, user.seen).any()
        assert not EVERY.excluded[listed].any()


def test_excluded_items_make_room(recommender: Recommender) -> None:
    found = ask(recommender, Rules(excluded=EVEN)).recommendations.items
    np.testing.assert_array_equal(found, plain(recommender, allowed=~EVEN))
    assert (found > 0).all()


def test_a_boost_orders_warm_items_and_cold_items_each_among_their_own(recommender: Recommender) -> None:
    boost = Boost(name="even", items=EVEN, add=0.8)
    found = ask(recommender, Rules(boosts=(boost,)), k=100)
    before = recommender.recommend(USERS, 100)
    for row in range(len(USERS)):
        items = before.items[row][before.items[row] > 0]
        score = before.scores[row][: len(items)] + 0.8 * EVEN[items]
        expected = np.empty_like(items)
        for cold in (True, False):
            at = np.flatnonzero((items >= NUM - NUM_COLD) == cold)
            expected[at] = items[at][np.argsort(-score[at], kind="stable")]
        np.testing.assert_array_equal(found.recommendations.items[row][: len(items)], expected)
        assert [bool(named) for named in found.rules[row]][: len(items)] == EVEN[expected].tolist()


def test_a_cap_takes_the_first_item_that_does_not_break_it(recommender: Recommender) -> None:
    found = ask(recommender, Rules(caps=(CAP,)), k=100)
    before = plain(recommender, k=100)
    for row in range(len(USERS)):
        left, expected = before[row][before[row] > 0].tolist(), []
        while left:
            page = expected[len(expected) // 6 * 6 :]
            good = [item for item in left if sum(each % 4 == item % 4 for each in page) < 2]
            expected.append((good or left)[0])
            left.remove(expected[-1])
        np.testing.assert_array_equal(found.recommendations.items[row][: len(expected)], expected)
    assert any(("few",) in row for row in found.rules)


def test_an_item_of_several_values_counts_for_each(recommender: Recommender) -> None:
    both = Cap(name="both", starts=2 * STARTS, values=np.tile([0, 1], NUM), at_most=1, within=50)
    other = Cap(
        name="none", starts=np.zeros(NUM + 1, np.int64), values=np.zeros(0, np.int64), at_most=1, within=5
    )
    np.testing.assert_array_equal(
        ask(recommender, Rules(caps=(both,))).recommendations.items, plain(recommender)
    )  # all items break it, so that none is better than another
    np.testing.assert_array_equal(
        ask(recommender, Rules(caps=(other,))).recommendations.items, plain(recommender)
    )


def test_pins_stand_at_their_ranks_where_they_may_be_recommended(recommender: Recommender) -> None:
    pins = (Pin(name="one", item=50, rank=2), Pin(name="cold", item=NUM - 1, rank=3))
    found = ask(recommender, Rules(pins=pins))
    items = found.recommendations.items
    assert items[0, 1:3].tolist() == [50, NUM - 1]
    assert items[1, 2] == NUM - 1, "50 was seen by the second user"
    assert 50 not in items[1]
    assert found.rules[0][1:3] == (("one",), ("cold",))
    rest = [item for item in plain(recommender, k=22)[0] if item not in (50, NUM - 1)]
    assert [item for item in items[0] if item not in (50, NUM - 1)] == rest[:18]
    assert np.isfinite(found.recommendations.scores).all()
    hidden = ["z" if item == 50 else None for item in range(NUM_RESERVED, NUM)]
    owned = ask(recommender, Rules(pins=pins), owners=Owners(hidden), users=["z", "b", "c"])
    assert 50 in owned.recommendations.items[0]
    assert 50 not in owned.recommendations.items[2]
    allowed = ask(recommender, Rules(pins=pins), allowed=~(np.arange(NUM) == 50)).recommendations.items
    assert 50 not in allowed[0]


def test_propensities_are_the_frequencies_of_the_draws(recommender: Recommender) -> None:
    rules = Rules(exploration=Exploration(rate=0.4, pool=5), pins=(Pin(name="pin", item=30, rank=2),))
    first: dict[int, list[float]] = {}
    num = 1500
    owners = Owners([None] * (NUM - NUM_RESERVED))
    found = recommend_by_rules(
        recommender, owners, ["a"] * num, USERS[:1] * num, 3, rules, seeds=list(range(num))
    )
    assert (found.recommendations.items[:, 1] == 30).all()
    assert (found.propensity[:, 1] == 1.0).all()
    for row, item in enumerate(found.recommendations.items[:, 0].tolist()):
        first.setdefault(item, []).append(float(found.propensity[row, 0]))
        assert ("exploration" in found.rules[row][0]) == (found.propensity[row, 0] < 0.5)
    assert len(first) == 5
    for chances in first.values():
        assert len(set(chances)) == 1
        error = 4 * np.sqrt(chances[0] * (1 - chances[0]) / num)
        assert abs(len(chances) / num - chances[0]) < error
    assert sum(chances[0] for chances in first.values()) == pytest.approx(1.0)


def test_a_bad_k_is_refused(recommender: Recommender) -> None:
    with pytest.raises(RequestError, match="k = 101"):
        ask(recommender, Rules(), k=101)
