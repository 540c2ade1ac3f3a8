from dataclasses import replace

import numpy as np
import pytest
from model_parts import tiny_history, tiny_schema

from recsys.ids import NUM_RESERVED
from recsys.item_features import ItemArrays
from recsys.retrieval import candidate_features
from recsys.retrieval import recommender as recommender_module
from recsys.retrieval.candidate_features import (
    NEAR,
    CandidateFeatures,
    Candidates,
    CosineSpread,
    soft_ranks,
)
from recsys.retrieval.candidate_sources import PopularitySource
from recsys.retrieval.index.build import build_index
from recsys.retrieval.recommender import Recommender
from recsys.retrieval.settings import RecommenderSettings

NUM, DIM = 40, 6


def _items(seed=0, num_cold=10):
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((NUM, DIM)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[:NUM_RESERVED] = 0
    trained = (np.arange(NUM) >= NUM_RESERVED) & (np.arange(NUM) < NUM - num_cold)
    token_mask = rng.random((NUM, 3)) < 0.7
    token_mask[:, 0] = True
    return ItemArrays(
        vectors=vectors,
        tokens=rng.standard_normal((NUM, 3, DIM)).astype(np.float16),
        token_mask=token_mask,
        trained=trained,
        popularity=(rng.integers(1, 20, NUM) * trained).astype(np.float32),
    )


def _recommender(items, *, rank=None, sources=(), kind="exact", **settings):
    def embed(inputs):
        mean = inputs["event_vector"].sum(1) + 0.01
        return (mean / np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), 1e-6)).astype(np.float32)

    known = {"temperature": 0.1, "num_candidates": 15, "history_length": 5, "source_candidates": 2}
    return Recommender(
        items=items,
        schema=tiny_schema(),
        settings=RecommenderSettings(**known | settings),
        embed_users=embed,
        rank=rank,
        index=build_index(kind, items.vectors),
        sources=sources,
    )


HISTORIES = [tiny_history([3, 4, 5]), tiny_history([9, 9, 20, 31], seed=1), tiny_history([], seed=2)]


def test_without_the_ranker_the_towers_order_stands():
    items = _items()

    def backwards(inputs):
        return {"score": -20.0 * np.arange(inputs["source_scores"].shape[1])[None, ::-1].astype(np.float32)}

    whole = _recommender(items, rank=backwards, cold_ranks=(3,))
    towers = _recommender(items, cold_ranks=(3,)).recommend(HISTORIES, 9)
    np.testing.assert_array_equal(whole.without_ranker().recommend(HISTORIES, 9).items, towers.items)
    assert (whole.recommend(HISTORIES[:1], 9).items != towers.items[:1]).any()


def test_seen_items_never_come_back_however_many():
    recommender = _recommender(_items())
    seen = np.arange(2, 36)
    history = tiny_history([3, 4], seen=seen)
    found = recommender.recommend([history], 10).items[0]
    assert sorted(found[found > 0]) == [36, 37, 38, 39]
    assert not np.isin(found, seen).any()


def test_a_cold_item_without_content_is_never_listed():
    items = _items()
    blank = int(np.flatnonzero(~items.trained)[-1])
    items.token_mask[blank] = False
    recommender = _recommender(items, cold_ranks=(1,))
    listed = recommender.recommend(HISTORIES, NUM).items
    assert blank not in listed
    assert np.isin(np.flatnonzero(~items.trained[NUM_RESERVED:]) + NUM_RESERVED, listed).sum() == (
        (~items.trained[NUM_RESERVED:]).sum() - 1
    )
    given = recommender.rank(HISTORIES, np.tile([blank, 3], (3, 1)))
    assert all(blank in row for row in given.items)


def test_allowed_restricts_the_catalogue():
    allowed = np.zeros(NUM, np.bool_)
    allowed[[7, 8, 30]] = True
    found = _recommender(_items()).recommend(HISTORIES[:1], 5, allowed=allowed).items[0]
    assert set(found[found > 0]) == {7, 8, 30}


def test_ranker_reorders_only_what_was_retrieved_and_reads_the_candidate_features():
    items = _items()
    given = {}

    def rank(inputs):
        given.update(inputs)
        flipped = -20 * inputs["source_scores"][..., 0]
        shape = flipped.shape
        return {
            "score": flipped.astype(np.float32),
            "token_attention": np.zeros((*shape, 3), np.float32),
            "history_attention": np.zeros((*shape, 5), np.float32),
        }

    plain = _recommender(items).recommend(HISTORIES[:1], NUM)
    ranked = _recommender(items, rank=rank).recommend(HISTORIES[:1], NUM)
    warm = items.trained[plain.items[0]]
    np.testing.assert_array_equal(items.trained[ranked.items[0]], warm)
    before, after = (each.items[0][items.trained[each.items[0]]] for each in (plain, ranked))
    np.testing.assert_array_equal(after[:15], before[:15][::-1])  # the head
    np.testing.assert_array_equal(after[15:], before[15:])  # the tail
    np.testing.assert_array_equal(ranked.items[0][~warm], plain.items[0][~warm])
    assert (np.diff(ranked.scores[0][np.isfinite(ranked.scores[0])]) <= 0).all()
    assert given["candidate_tokens"].dtype == np.float32
    np.testing.assert_array_equal(given["history_mask"][0], [False, False, True, True, True])
    np.testing.assert_array_equal(ranked.history_items[0], [0, 0, 3, 4, 5])


def test_rank_orders_exactly_the_given_candidates():
    candidates = np.array([[10, 11, 12, 13]])
    ranked = _recommender(_items()).rank(HISTORIES[:1], candidates)
    assert sorted(ranked.items[0]) == [10, 11, 12, 13]
    assert (np.diff(ranked.scores[0]) <= 0).all()


def _shortened(items):
    """The same with vectors of new items of many lengths."""
    length = np.random.default_rng(1).uniform(0.1, 1.0, NUM).astype(np.float32)
    return replace(items, vectors=items.vectors * np.where(items.trained, 1.0, length)[:, None])


def _slow_similar(vectors, item, k):
    cosine = np.array([
        np.dot(vectors[item], other) / (np.linalg.norm(vectors[item]) * max(np.linalg.norm(other), 1e-9))
        for other in vectors
    ])  # fmt: skip
    cosine[[*range(NUM_RESERVED), item]] = -np.inf
    nearest = np.argsort(-cosine, kind="stable")[:k]
    return nearest, cosine[nearest]


@pytest.mark.parametrize("kind", ["exact", "faiss"])
def test_similar_items_are_the_nearest_of_all_by_cosine(kind):
    """However short the vectors of cold items are."""
    if kind == "faiss":
        pytest.importorskip("faiss")
    items = _shortened(_items())
    recommender = _recommender(items, kind=kind)
    asked = np.arange(NUM_RESERVED, NUM)
    found, score = recommender.similar(asked, 6)
    for row, item in enumerate(asked):
        nearest, cosine = _slow_similar(items.vectors, item, 6)
        np.testing.assert_array_equal(found[row], nearest)
        np.testing.assert_allclose(score[row], cosine, atol=1e-6)
        np.testing.assert_array_equal(recommender.similar(asked[row : row + 1], 6)[0][0], nearest)


@pytest.mark.parametrize("num_cold", [0, 10, NUM - NUM_RESERVED])
def test_fewer_similar_items_than_asked_for_end_in_padding(num_cold):
    found, score = _recommender(_items(num_cold=num_cold)).similar(np.array([5, 33]), NUM)
    num_others = NUM - NUM_RESERVED - 1
    for row, item in enumerate((5, 33)):
        assert sorted(found[row, :num_others]) == [at for at in range(NUM_RESERVED, NUM) if at != item]
    assert not found[:, num_others:].any()
    assert np.isneginf(score[:, num_others:]).all()
    assert np.isfinite(score[:, :num_others]).all()


def _candidates(source_scores):
    return Candidates(
        items=np.array([[5, 0, 7]]),
        cosines=np.array([[0.1, -np.inf, 0.9]], np.float32),
        source_scores=np.array([source_scores], np.float32),
    )


def test_features_of_padding_is_zero_and_ranks_follow_scores():
    features = CandidateFeatures(_items()).inputs(_candidates([[2.0], [0.0], [0.0]]), np.array([3]))
    assert all((array[0, 1] == 0).all() for array in features.values())
    rank = features["source_ranks"][0]
    np.testing.assert_allclose(rank[[2, 0], 0], [1.0, 1 / np.log2(3)], rtol=1e-6)
    np.testing.assert_allclose(rank[:, 2], [1.0, 0.0, 0.0])  # what a source does not know has no rank there
    np.testing.assert_allclose(features["source_scores"][0, :, 2], [np.log(3.0), 0.0, 0.0], rtol=1e-6)


def _likes(scores):
    """A source that scores a few items, the same for everybody."""
    score = np.zeros(len(_items().vectors), np.float32)
    score[list(scores)] = list(scores.values())
    return PopularitySource(name="likes", score=score)


def test_sources_add_what_the_towers_left_out_never_what_was_seen_or_is_not_allowed():
    items = _items()
    recommender = _recommender(items, num_candidates=3, sources=[_likes({5: 9.0, 20: 3.0, 21: 4.0, 22: 1.0})])
    user = recommender.embed(HISTORIES[:1])
    assert 5 in HISTORIES[0].seen
    allowed = np.ones(len(items.vectors), np.bool_)
    allowed[21] = False
    towers, cosines = recommender.retrieve(user, HISTORIES[:1], 3, allowed=allowed)
    found = recommender.candidates(user, HISTORIES[:1], allowed=allowed)
    added = [item for item in (20, 22) if item not in towers]
    assert list(found.items[0]) == [*towers[0], *added, *[0] * (2 - len(added))]
    np.testing.assert_allclose(found.cosines[0, :3], cosines[0], atol=1e-6)
    real = found.items[0] > 0
    np.testing.assert_allclose(
        found.cosines[0][real], items.vectors[found.items[0][real]] @ user[0], atol=1e-6
    )
    assert (found.cosines[0][~real] == -np.inf).all()
    expected = [{20: 3.0, 21: 4.0, 22: 1.0, 5: 9.0}.get(item, 0.0) for item in found.items[0]]
    np.testing.assert_array_equal(found.source_scores[0, :, 0], expected)


def slow_ranks(scores, near, among=None):
    ranks, among = np.zeros(len(scores)), np.ones(len(scores), np.bool_) if among is None else among
    for place, score in enumerate(scores):
        others = np.delete(scores, place)[np.delete(among, place)]
        above = (
            1.0 * (others > -np.inf)
            if score == -np.inf
            else np.clip((others - score) / (2 * near) + 0.5, 0, 1)
        )
        ranks[place] = 1.0 + above.sum()
    return ranks


def test_soft_ranks_equal_the_slow_ones():
    rng = np.random.default_rng(3)
    scores = np.round(rng.normal(0, 0.01, (7, 40)), 4).astype(np.float32)  # near ones, and exact ties
    scores[2, 5:9], scores[3, :] = -np.inf, 0.25
    expected = [slow_ranks(row.astype(np.float64), NEAR) for row in scores]
    np.testing.assert_allclose(soft_ranks(scores), expected, atol=1e-9)
    among = rng.random(scores.shape) < 0.6
    among[4] = False
    expected = [slow_ranks(row.astype(np.float64), NEAR, of) for row, of in zip(scores, among, strict=True)]
    np.testing.assert_allclose(soft_ranks(scores, among_BK=among), expected, atol=1e-9)


def test_new_items_in_a_list_shift_the_rank_of_no_known_one():
    """Of known items 5 and 7 with new ones 33, before both, and 34, between them."""
    features, none = CandidateFeatures(_items()), np.zeros((1, 4, 0), np.float32)
    mixed = Candidates(
        items=np.array([[5, 33, 7, 34]]),
        cosines=np.array([[0.1, 0.95, 0.9, 0.5]], np.float32),
        source_scores=none,
    )
    known = Candidates(items=mixed.items[:, ::2], cosines=mixed.cosines[:, ::2], source_scores=none[:, ::2])
    shown, alone = (features.inputs(each, np.array([3]))["source_ranks"][0, :, 0] for each in (mixed, known))
    np.testing.assert_array_equal(shown[::2], alone)
    np.testing.assert_allclose(shown, 1 / np.log2([3, 2, 2, 3]), rtol=1e-6)


def test_ranks_of_scores_far_apart_are_whole_and_near_ones_share():
    scores = np.array([[0.3, 0.9, 0.3 + NEAR / 2, -np.inf, 0.5]], np.float32)
    np.testing.assert_allclose(soft_ranks(scores), [[3.75, 1.0, 3.25, 5.0, 2.0]], atol=1e-4)


def test_float_noise_hardly_moves_a_rank():
    scores = np.linspace(0.1, 0.4, 100)[None, :].astype(np.float32)
    moved = scores + np.random.default_rng(0).uniform(-3e-7, 3e-7, scores.shape).astype(np.float32)
    assert np.abs(soft_ranks(moved) - soft_ranks(scores)).max() < 1e-3


def test_the_ranker_reads_events_on_new_items_like_any_other():
    """Their vectors are shorter than 1; the towers read them at length 1, and so does the ranker."""
    items = _items()
    short = items.vectors * np.where(items.trained, 1.0, 0.25)[:, None].astype(np.float32)
    inputs = []
    for each in (items, replace(items, vectors=short)):
        recommender = _recommender(each)
        user = recommender.embed(HISTORIES)
        inputs.append(recommender.rank_inputs(HISTORIES, user, recommender.candidates(user, HISTORIES)))
    assert not items.trained[31]
    assert 31 in HISTORIES[1].item
    np.testing.assert_allclose(inputs[1]["history_vector"], inputs[0]["history_vector"], atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(inputs[1]["history_vector"][1, -1]), 1.0, atol=1e-6)


def test_the_spread_of_cosines_equals_that_of_all_cosines(monkeypatch):
    monkeypatch.setattr(candidate_features, "ROWS_AT_ONCE", 7)
    rng = np.random.default_rng(3)
    vectors, users = rng.normal(size=(50, DIM)).astype(np.float32), rng.normal(size=(4, DIM))
    rows = np.flatnonzero(rng.random(50) < 0.6)
    mean_B, deviation_B = CosineSpread(vectors, rows).of(users)
    cosines_BN = users @ vectors[rows].T
    np.testing.assert_allclose(mean_B, cosines_BN.mean(1), rtol=1e-4)
    np.testing.assert_allclose(deviation_B, cosines_BN.std(1), rtol=1e-4)
    assert (CosineSpread(vectors, rows[:1]).of(users)[1] == 0).all()
    assert (CosineSpread(np.ones((50, DIM), np.float32), rows).of(users)[1] == 0).all()


def test_standardized_scores_are_deviations_among_warm_and_among_cold_items(monkeypatch):
    monkeypatch.setattr(recommender_module, "MIN_COLD", 9)
    items = _items()
    blank = NUM - 1
    items.token_mask[blank] = False

    def raised(inputs):
        return {"score": np.full(inputs["source_scores"].shape[:2], 0.5, np.float32)}

    recommender = _recommender(items, rank=raised, cold_ranks=(1, 2, 3))
    given = np.array([[5, 31, 7, 32, blank, 20], [2, 3, 4, 33, 34, 35]])
    users = HISTORIES[:2]
    found = recommender.rank_standardized(users, given)
    score_BN = 10 * recommender.embed(users) @ items.vectors.T
    warm, cold = np.arange(2, 30), np.arange(30, blank)
    for row, scores in enumerate(score_BN):
        expected = {
            item: (scores[item] + 0.5 - scores[warm].mean()) / scores[warm].std()
            if item in warm
            else (scores[item] - scores[cold].mean()) / scores[cold].std()
            for item in given[row].tolist()
        }
        if row == 0:
            expected[blank] = 0.0
        best_first = sorted(expected, key=lambda item: -expected[item])
        assert found.items[row].tolist() == best_first
        np.testing.assert_allclose(found.scores[row], [expected[item] for item in best_first], atol=1e-4)
        assert found.retriever_scores[row, 0] == pytest.approx(scores[best_first[0]], abs=1e-4)


def test_standardized_scores_of_few_cold_items_are_neutral():
    items = _items(num_cold=4)
    recommender = _recommender(items)
    found = recommender.rank_standardized([HISTORIES[0]], np.array([[37, 5, 39]]))
    by_item = dict(zip(found.items[0].tolist(), found.scores[0].tolist(), strict=True))
    assert by_item[37] == by_item[39] == 0.0
    assert by_item[5] != 0.0
