"""Lists for users with fields and no event: popularity with few such users, else the better on validation."""

from dataclasses import replace

import numpy as np
import pytest
from model_parts import tiny_history, tiny_schema

from recsys.ids import NUM_RESERVED
from recsys.item_features import ItemArrays
from recsys.retrieval.index.build import build_index
from recsys.retrieval.recommender import Recommender
from recsys.retrieval.settings import RecommenderSettings
from training.fitting.without_events import MIN_USERS, choose_cold_ranks, choose_without_events

NUM = 60


def recommender(favourite_of_age):
    """The towers give a user of age a the item `favourite_of_age`[a]; item 2 is the most popular."""
    vectors = np.eye(NUM, dtype=np.float32)
    vectors[:NUM_RESERVED] = 0
    real = np.arange(NUM) >= NUM_RESERVED
    items = ItemArrays(
        vectors=vectors,
        tokens=np.zeros((NUM, 1, NUM), np.float16),
        token_mask=real[:, None],
        trained=real,
        popularity=(np.arange(NUM)[::-1] * real).astype(np.float32),
    )

    def embed(inputs):
        return vectors[[favourite_of_age.get(age, 2) for age in inputs["profile_age"][:, 0].tolist()]]

    return Recommender(
        items=items,
        schema=tiny_schema(),
        settings=RecommenderSettings(temperature=1.0, num_candidates=10, history_length=3),
        embed_users=embed,
        rank=None,
        index=build_index("exact", vectors),
    )


def users(num, *, chose, profile=None):
    profile = {"age": np.array([3])} if profile is None else profile
    names = [f"u{at}" for at in range(num)]
    return {name: tiny_history([], profile=profile) for name in names}, dict.fromkeys(
        names, np.array([chose])
    )


@pytest.mark.parametrize(("chose", "answer"), [(50, "towers"), (2, "popularity")])
def test_the_better_of_both_answers(chose, answer):
    found = choose_without_events(recommender({3: 50}), *users(MIN_USERS, chose=chose))
    assert found.answer == answer
    assert found.num_users == MIN_USERS
    assert {found.towers_ndcg, found.popularity_ndcg} >= {1.0}
    assert f"NDCG@10 of {MIN_USERS} validation users" in found.reason


def test_with_few_users_popularity_answers_and_the_reason_says_so():
    found = choose_without_events(recommender({3: 50}), *users(MIN_USERS - 1, chose=50))
    assert (found.answer, found.towers_ndcg) == ("popularity", None)
    assert f"{MIN_USERS - 1} validation users have fields" in found.reason


def test_users_without_fields_are_not_counted():
    found = choose_without_events(recommender({3: 50}), *users(50, chose=50, profile={"age": np.array([1])}))
    assert (found.answer, found.num_users) == ("popularity", 0)


def with_cold_items():
    """The last ten of the items are cold; item 2 is the most popular, cold ranks are 1 and 4."""
    warm = recommender({})
    items = replace(warm.items, trained=warm.items.trained & (np.arange(NUM) < NUM - 10))
    return Recommender(
        items=items,
        schema=warm.schema,
        settings=warm.settings.model_copy(update={"cold_ranks": (1, 4)}),
        embed_users=lambda inputs: items.vectors[np.full(len(inputs["length"]), 55)],
        rank=None,
        index=build_index("exact", items.vectors),
    )


@pytest.mark.parametrize(("chose", "has_ranks"), [(2, False), (55, True)])
def test_users_without_events_lose_the_cold_ranks_where_these_cost_more_than_they_bring(chose, has_ranks):
    found, reason = choose_cold_ranks(with_cold_items(), *users(MIN_USERS, chose=chose))
    assert found is has_ranks
    assert f"NDCG@20 of {MIN_USERS} validation users" in reason


def test_with_few_users_the_cold_ranks_stay():
    assert choose_cold_ranks(with_cold_items(), *users(MIN_USERS - 1, chose=2))[0]


def test_without_cold_ranks_popular_items_come_first_and_other_users_keep_theirs():
    found = with_cold_items().with_settings(cold_without_events=False)
    warm = NUM - NUM_RESERVED - 10
    listed = found.recommend([None, tiny_history([7])], warm + 2)
    assert listed.items[0, :warm].tolist() == list(range(2, warm + 2))
    assert (listed.items[0, warm:] >= NUM - 10).all()
    assert listed.items[1, 0] == 55
    assert found.recommend([None], 5).items[0].tolist() == listed.items[0, :5].tolist()
