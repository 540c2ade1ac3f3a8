"""A shorter list is the beginning of a longer one, for every kind of user and every option."""

import numpy as np
import pytest
from model_parts import tiny_history, tiny_schema

from recsys.errors import RequestError
from recsys.history import History
from recsys.ids import NUM_RESERVED
from recsys.item_features import ItemArrays
from recsys.retrieval.candidate_sources import ItemNeighborSource, PopularitySource
from recsys.retrieval.cold import NEAREST_POPULARITY, TOWERS, ColdRanker
from recsys.retrieval.fallback import AnsweredBy
from recsys.retrieval.index.build import build_index
from recsys.retrieval.recommender import Recommender
from recsys.retrieval.settings import RecommenderSettings

NUM, DIM, NUM_COLD = 900, 6, 200
LENGTHS = (1, 5, 10, 20, 100, 101, 500)


def odd():
    """A source that likes every third item, the more so the smaller its id."""
    item = np.arange(NUM)
    liked = (item % 3 == 0) & (item >= NUM_RESERVED) & (item < NUM - NUM_COLD)
    return PopularitySource(name="odd", score=np.where(liked, 1.0 / (1.0 + item), 0.0).astype(np.float32))


def rank(inputs):
    """Depends on each candidate by itself, as the ranker does."""
    vector = inputs["candidate_vector"]
    return {
        "score": (3.0 * np.sin(40.0 * vector[..., 0])).astype(np.float32),
        "token_attention": inputs["candidate_token_mask"] / 3.0,
        "history_attention": np.ones((*vector.shape[:2], 5), np.float32),
    }


def cold_ranker():
    """Random neighbors among the cold items; a fifth of these lack the modality."""
    rng = np.random.default_rng(7)
    cold = np.arange(NUM - NUM_COLD, NUM)
    has = cold[cold % 5 > 0]
    neighbor = rng.choice(has, (NUM, 30)).astype(np.int32)
    return ColdRanker(
        weights={TOWERS: 0.6, "content_text": 0.5, NEAREST_POPULARITY: 0.2},
        sources=(
            ItemNeighborSource(
                name="content_text",
                neighbor=neighbor,
                weight=rng.random((NUM, 30)).astype(np.float32),
                decay=1.0,
            ),
        ),
        exponents={"content_text": 0.25},
        known=np.isin(np.arange(NUM), has)[None],
        popularity=rng.standard_normal(NUM).astype(np.float32),
    )


def make(kind="exact", *, vectors=None, cold=None, **settings):
    rng = np.random.default_rng(0)
    given, vectors = vectors, rng.standard_normal((NUM, DIM)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[:NUM_RESERVED] = 0
    warm = (np.arange(NUM) >= NUM_RESERVED) & (np.arange(NUM) < NUM - NUM_COLD)
    vectors[~warm] *= 0.5
    vectors = vectors if given is None else given
    items = ItemArrays(
        vectors=vectors,
        tokens=rng.standard_normal((NUM, 3, DIM)).astype(np.float16),
        token_mask=np.ones((NUM, 3), np.bool_),
        trained=warm,
        popularity=(rng.integers(1, 20, NUM) * warm).astype(np.float32),
    )

    def embed(inputs):
        mean = inputs["event_vector"].sum(1) + 0.01 * (1 + inputs["profile_age"][:, :1])
        return (mean / np.linalg.norm(mean, axis=1, keepdims=True)).astype(np.float32)

    known = {"temperature": 0.1, "num_candidates": 40, "history_length": 5, "source_candidates": 10}
    return Recommender(
        items=items,
        schema=tiny_schema(),
        settings=RecommenderSettings(**known | settings),
        embed_users=embed,
        rank=rank,
        index=build_index(kind, vectors),
        sources=[odd()],
        cold_ranker=cold,
    )


USERS = [
    tiny_history([3, 4, 5, 800]),
    tiny_history([9, 9, 20, 31], seed=1, seen=np.arange(2, 130)),
    tiny_history([], profile={}),
    None,
    tiny_history([], profile={"age": np.array([3])}),
]
BY = (AnsweredBy.HISTORY, AnsweredBy.HISTORY, AnsweredBy.POPULARITY, AnsweredBy.POPULARITY)
HALF = np.random.default_rng(5).random(NUM) < 0.5
OPTIONS = [
    {},
    {"diversity": 0.3},
    {"exclude_seen": False},
    {"allowed": HALF},
    {"allowed": HALF, "diversity": 2.0, "exclude_seen": False},
    {"allowed": np.arange(NUM) % 60 == 5},
    {"allowed": np.arange(NUM) >= NUM - NUM_COLD},
]


@pytest.mark.parametrize("kind", ["exact", "faiss"])
@pytest.mark.parametrize("cold_ranks", [(10, 17, 19), (), (1, 2)])
@pytest.mark.parametrize("options", OPTIONS, ids=[" ".join(each) or "plain" for each in OPTIONS])
def test_every_list_is_a_prefix_of_the_longest(kind, cold_ranks, options):
    if kind == "faiss":
        pytest.importorskip("faiss")
    recommender = make(kind, cold_ranks=cold_ranks, without_events="towers")
    longest = recommender.recommend(USERS, 500, **options)
    assert longest.answered_by == (*BY, AnsweredBy.PROFILE)
    for k in LENGTHS:
        found = recommender.recommend(USERS, k, **options)
        for name in ("items", "scores", "retriever_scores", "token_attention", "history_attention"):
            np.testing.assert_array_equal(getattr(found, name), getattr(longest, name)[:, :k])
    for row, user in enumerate(USERS):
        alone = recommender.recommend([user], 20, **options)
        np.testing.assert_array_equal(alone.items[0], longest.items[row, :20])
        listed = longest.items[row][longest.items[row] > 0]
        assert len(listed) == len(set(listed.tolist()))
        if "diversity" not in options:
            scores = longest.scores[row, : len(listed)]
            assert np.isfinite(scores).all()
            assert (np.diff(scores) <= 0).all()


@pytest.mark.parametrize("candidates", [(200, 50), (20, 5)])
@pytest.mark.parametrize("options", OPTIONS, ids=[" ".join(each) or "plain" for each in OPTIONS])
def test_lists_with_a_cold_ranker_are_prefixes(candidates, options, monkeypatch):
    """All cold items are candidates of the cold ranker, and few of them, whose tail the retriever orders."""
    monkeypatch.setattr("recsys.retrieval.cold.items.CANDIDATES", candidates[0])
    monkeypatch.setattr("recsys.retrieval.cold.items.SOURCE_CANDIDATES", candidates[1])
    recommender = make(cold=cold_ranker(), cold_ranks=(2, 5, 17))
    longest = recommender.recommend(USERS, 500, **options)
    for k in (1, 5, 10, 20, 21, 60, 100, 160, 201, 320, 499):
        found = recommender.recommend(USERS, k, **options)
        for name in ("items", "scores", "retriever_scores"):
            np.testing.assert_array_equal(getattr(found, name), getattr(longest, name)[:, :k])
    for row in range(len(USERS)):
        listed = longest.items[row][longest.items[row] > 0]
        assert len(listed) == len(set(listed.tolist()))


def test_the_cold_ranker_orders_lists_and_given_candidates_alike():
    recommender, cold = make(cold=cold_ranker()), np.arange(NUM - NUM_COLD, NUM)
    user = USERS[0]
    listed = recommender.recommend([user], 150, allowed=np.isin(np.arange(NUM), cold), exclude_seen=False)
    given = recommender.rank([user], np.random.default_rng(0).permutation(cold)[None])
    np.testing.assert_array_equal(given.items[0, :150], listed.items[0])
    standard = recommender.rank_standardized([user], cold[None])
    np.testing.assert_array_equal(standard.items[0, :150], listed.items[0])
    assert (make().recommend([user], 150, allowed=np.isin(np.arange(NUM), cold)).items != listed.items).any()


@pytest.mark.parametrize("kind", ["exact", "faiss"])
@pytest.mark.parametrize("has_ranker", [True, False])
def test_lists_of_tied_items_are_prefixes(kind, has_ranker):
    """Groups of items share a vector, so that ties cross the depth of every search."""
    if kind == "faiss":
        pytest.importorskip("faiss")
    recommender = make(kind)
    rng = np.random.default_rng(4)
    vectors = recommender.items.vectors.copy()
    groups = rng.integers(NUM_RESERVED, NUM, 8)
    for part in (np.arange(NUM_RESERVED, NUM - NUM_COLD), np.arange(NUM - NUM_COLD, NUM)):
        vectors[part] = vectors[groups[rng.integers(0, 8, len(part))]]
        # Differences below the rounding of scores: the order of ids decides among items found later.
        vectors[part] *= 1 - 1e-6 * rng.random((len(part), 1)).astype(np.float32)
    recommender = make(kind, vectors=vectors, without_events="towers")
    recommender = recommender if has_ranker else recommender.without_ranker()
    longest = recommender.recommend(USERS, 500)
    for k in (*LENGTHS, 39, 40, 41, 60):
        found = recommender.recommend(USERS, k)
        np.testing.assert_array_equal(found.items, longest.items[:, :k])
        np.testing.assert_array_equal(found.scores, longest.scores[:, :k])


@pytest.mark.parametrize("diversity", [0.0, 0.5])
def test_a_short_list_searches_no_deeper_than_it_needs(diversity):
    recommender, depths = make(), []
    search = recommender.index.search

    class Counted:
        is_exact = True

        def search(self, queries, k, *, allowed=None):
            depths.append(k)
            return search(queries, k, allowed=allowed)

    recommender.index = Counted()
    recommender.recommend([tiny_history([3, 4, 5], seen=np.array([3]))], 20, diversity=diversity)
    assert (max(depths) > 500) == bool(diversity)


@pytest.mark.parametrize("diversity", [0.0, 0.5])
def test_cold_items_stand_at_their_ranks_whoever_answers(diversity):
    recommender = make(without_events="towers")
    found = recommender.recommend(USERS, 60, diversity=diversity)
    is_cold = ~recommender.items.trained[found.items]
    expected = np.isin(np.arange(60) % 20 + 1, (10, 17, 19))
    np.testing.assert_array_equal(is_cold, np.tile(expected, (len(USERS), 1)))


def test_given_candidates_have_the_order_of_a_recommended_list():
    recommender = make(num_candidates=NUM, max_list_length=NUM, without_events="towers")
    listed = recommender.recommend(USERS, NUM - NUM_RESERVED - 130)
    rng = np.random.default_rng(2)
    for row, user in enumerate(USERS):
        given = rng.permutation(listed.items[row])
        ranked = recommender.rank([user], given[None])
        for group in (recommender.items.trained, ~recommender.items.trained):
            order, expected = (items[group[items]] for items in (ranked.items[0], listed.items[row]))
            if ranked.answered_by[0] is AnsweredBy.POPULARITY or group is not recommender.items.trained:
                np.testing.assert_array_equal(order, expected)
        assert sorted(ranked.items[0]) == sorted(given)
        assert (np.diff(ranked.scores[0]) <= 0).all()


def test_users_without_events_are_given_what_is_popular_and_unseen():
    recommender = make(cold_ranks=())
    only_seen = History.of(History.empty().events, seen=np.arange(2, 300))
    for user in (None, History.empty(), only_seen):
        found = recommender.recommend([user], 50).items[0]
        seen = set() if user is None else set(user.seen.tolist())
        popularity = recommender.items.popularity
        order = [item for item in np.argsort(-popularity, kind="stable") if item not in seen]
        assert found.tolist() == order[:50]


def test_a_user_with_unknown_items_alone_is_answered_like_an_unknown_one():
    recommender = make()
    found = recommender.recommend([tiny_history([1, 1], profile={}), None], 20)
    assert found.answered_by == (AnsweredBy.POPULARITY,) * 2
    np.testing.assert_array_equal(found.items[0], found.items[1])


@pytest.mark.parametrize("k", [0, 501])
def test_a_length_that_cannot_be_had_is_refused(k):
    with pytest.raises(RequestError, match="from 1 to 500"):
        make().recommend([None], k)


@pytest.mark.parametrize("kind", ["exact", "faiss"])
@pytest.mark.parametrize("share", [1.0, 0.3, 0.1, 0.01, 0.001])
def test_a_list_has_k_items_wherever_k_items_pass(kind, share):
    if kind == "faiss":
        pytest.importorskip("faiss")
    recommender = make(kind, without_events="towers")
    allowed = np.random.default_rng(int(1000 * share)).random(NUM) < share
    allowed[[100, NUM - 1]] = True
    for exclude_seen in (True, False):
        for user in USERS:
            seen = user.seen if user is not None and exclude_seen else np.zeros(0, np.int64)
            passing = np.setdiff1d(np.flatnonzero(allowed)[np.flatnonzero(allowed) >= NUM_RESERVED], seen)
            for k in (1, 20, 500):
                listed = recommender.recommend([user], k, allowed=allowed, exclude_seen=exclude_seen).items[0]
                listed = listed[listed > 0]
                assert len(listed) == min(k, len(passing))
                assert np.isin(listed, passing).all()
