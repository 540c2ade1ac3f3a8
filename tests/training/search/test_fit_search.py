"""Fusion, relevance and personal share are chosen on a catalogue whose legs are of known worth."""

from dataclasses import replace

import numpy as np
import pytest

from recsys.arrays import unit
from recsys.history import History
from recsys.search import (
    ClauseScores,
    EncodedClause,
    EncodedQuery,
    LegScores,
    PersonalScores,
    QueryScores,
    Scorer,
    Searcher,
    SearchSettings,
    build_leg,
    features,
    fuse,
    in_deviations,
    logits,
)
from training.search import (
    FOREIGN,
    LabelledQuery,
    PersonalQuery,
    RankedQuery,
    UnansweredQuery,
    choose_fusion,
    choose_personal,
    choose_relevance,
    default_relevance,
    expected_calibration_error,
    fit_search,
    long_texts,
    ndcg_of,
    ranked_query,
    without_similar,
)
from training.search.fusion_fit import _Task

NUM_ITEMS, DIM = 122, 24
SETTINGS = SearchSettings(num_candidates=120, max_list_length=120)


def shop(seed=0, *, text_noise=0.5):
    """Titles say an item precisely, texts less so, review texts nothing."""
    rng = np.random.default_rng(seed)
    true = rng.normal(size=(NUM_ITEMS, DIM)).astype(np.float32)
    present = np.arange(NUM_ITEMS) >= 2

    def leg(name, noise):
        noisy = true + noise * rng.normal(size=true.shape).astype(np.float32)
        return build_leg(name, "text", noisy if noise < 9 else rng.normal(size=true.shape), present)

    legs = [leg("title", 0.4), leg("text", text_noise), leg("review_text", 9)]
    popularity = rng.poisson(3, NUM_ITEMS).astype(np.float32)
    return Searcher(Scorer(legs, num_items=NUM_ITEMS, popularity=popularity), SETTINGS), true, rng


def text_query(vector):
    return EncodedQuery(clauses=(EncodedClause(kind="text", vectors={"text": unit(vector)}),))


def judged_queries(true, rng, num=90, noise=1.4):
    items = rng.integers(2, NUM_ITEMS, num)
    return [
        LabelledQuery(
            query=text_query((true[item] + noise * rng.normal(size=DIM)).astype(np.float32)),
            relevant=np.array([item]),
            group=f"u{at // 3}",
        )
        for at, item in enumerate(items)
    ]


def test_settings_are_chosen_on_the_items_that_the_user_of_a_query_may_see():
    searcher, true, rng = shop()
    (query,) = judged_queries(true, rng, 1)
    own = np.zeros(NUM_ITEMS, np.bool_)
    own[[5, int(query.relevant[0]), 40]] = True
    found = ranked_query(searcher, replace(query, allowed=own))
    np.testing.assert_array_equal(found.scores.items, np.flatnonzero(own))
    hidden = ranked_query(searcher, replace(query, allowed=own & (np.arange(NUM_ITEMS) != query.relevant[0])))
    assert not len(hidden.answers)


def test_a_leg_that_says_nothing_is_switched_off():
    searcher, true, rng = shop()
    queries = [ranked_query(searcher, each) for each in judged_queries(true, rng)]
    choice = choose_fusion(queries, SETTINGS)
    assert choice.weights is not None
    weights = {**choice.weights.standardized}
    assert weights.get("review_text", 0.0) == 0.0
    assert weights["title"] > 0
    assert weights["text"] > 0
    assert choice.ndcg["learned"] > choice.ndcg["fusion by evidence"]
    assert choice.ndcg["learned"] > choice.ndcg["title alone"]
    assert choice.reason.startswith("learned; cross-fitted NDCG@10 over 90")
    assert "review_text" in choice.reason
    again = choose_fusion(queries, SETTINGS)
    assert again == choice


def test_the_best_leg_alone_is_kept_where_fusion_adds_nothing():
    _, true, rng = shop()
    present = np.arange(NUM_ITEMS) >= 2
    exact = build_leg("title", "text", true, present)
    wrong = build_leg("text", "text", np.concatenate([true[:2], np.roll(true[2:], -1, axis=0)]), present)
    searcher = Searcher(Scorer([exact, wrong], num_items=NUM_ITEMS), SETTINGS)
    queries = [ranked_query(searcher, each) for each in judged_queries(true, rng, noise=0.1)]
    choice = choose_fusion(queries, SETTINGS)
    assert choice.ndcg["title alone"] == 1.0
    assert choice.reason.startswith("title alone")
    assert choice.weights is not None
    assert dict(choice.weights.standardized) == {"title": 1.0}


def test_few_queries_keep_the_fusion_by_evidence():
    searcher, true, rng = shop()
    choice = choose_fusion([ranked_query(searcher, each) for each in judged_queries(true, rng, 10)], SETTINGS)
    assert choice.weights is None
    assert "10 validation queries, fewer than 50" in choice.reason


def test_ndcg_by_hand():
    def ndcg(scores, answers, relevant=None):
        empty = QueryScores(items=np.arange(len(scores)), clauses=())
        query = RankedQuery(
            scores=empty, answers=np.array(answers), num_relevant=relevant or len(answers), group=""
        )
        return ndcg_of(np.array(scores, float), query)

    assert ndcg([3, 2, 1], [0]) == 1.0
    assert ndcg([3, 2, 1], [1]) == pytest.approx(1 / np.log2(3))
    assert ndcg([1, 1, 1], [1]) == pytest.approx(1 / np.log2(3))  # ties by position
    assert ndcg([3, 2, 1], [0, 2]) == pytest.approx((1 + 0.5) / (1 + 1 / np.log2(3)))
    assert ndcg(list(range(20)), [3]) == 0.0
    assert ndcg([3, 2], [], relevant=1) == 0.0
    assert ndcg([3, 2], [0], relevant=2) == pytest.approx(1 / (1 + 1 / np.log2(3)))


def test_ndcg_of_all_queries_at_once_equals_that_of_each():
    searcher, true, rng = shop()
    queries = [ranked_query(searcher, each) for each in judged_queries(true, rng, 30)]
    several = [replace(each, answers=np.array([5, 0, 9]), num_relevant=4) for each in queries[:5]]
    none = [replace(each, answers=np.empty(0, np.int64)) for each in queries[5:7]]
    queries = [*several, *none, *queries[7:]]
    task = task_of(queries)
    score_R = rng.integers(9, size=len(task.plain_R)).astype(np.float64)  # with ties
    starts = np.cumsum([0, *(len(each.scores.items) for each in task.queries)])
    slow = [
        ndcg_of(score_R[start:end], each)
        for start, end, each in zip(starts[:-1], starts[1:], task.queries, strict=True)
    ]
    np.testing.assert_allclose(task.ndcg(score_R), slow)


def test_the_evidence_without_a_leg_is_the_fusion_without_it():
    searcher, true, rng = shop()
    task = task_of([ranked_query(searcher, each) for each in judged_queries(true, rng, 60)])
    for off in ("title", "review_text"):
        kept = [name for name in task.names if name != off]
        slow = [
            ndcg_of(np.round(fuse(each.scores, SETTINGS, {off: 0.0})[0], 4), each) for each in task.queries
        ]
        summed_R = task.features(kept).all_FR[0]
        np.testing.assert_allclose(task.ndcg(summed_R), slow)


def test_a_search_that_begins_near_the_end_chooses_the_same():
    searcher, true, rng = shop()
    task = task_of([ranked_query(searcher, each) for each in judged_queries(true, rng)])
    kept = ["text", "title"]
    cold, warm = task.cross_fitted(kept), task.cross_fitted(kept, task.cross_fitted(task.names))
    np.testing.assert_allclose(warm.ndcg_Q, cold.ndcg_Q, atol=1e-9)
    for one, other in zip(cold.weights, warm.weights, strict=True):
        assert one == pytest.approx(other, abs=1e-2)


def task_of(queries):
    names = sorted({name for each in queries for name in each.clause.legs})
    plain = [fuse(each.scores, SETTINGS)[0] for each in queries]
    return _Task(queries, names, SETTINGS, plain, len(queries), 0)


def test_few_queries_stay_near_the_fusion_by_evidence():
    searcher, true, rng = shop()
    task = task_of([ranked_query(searcher, each) for each in judged_queries(true, rng, 60)])
    features = task.features(task.names)

    def direction(num):
        return unit(task.fit(features, np.arange(num)).astype(np.float32))

    few, many = (float(direction(num)[0]) for num in (2, 60))  # the cosine to the evidence alone
    assert few > 0.9
    assert many < few


def test_expected_calibration_error_by_hand():
    label, weight = np.array([0.0, 1.0, 1.0, 1.0]), np.full(4, 0.25)
    assert expected_calibration_error(label, weight, np.array([0.0, 1.0, 1.0, 1.0])) == 0.0
    assert expected_calibration_error(label, weight, np.array([0.4, 0.6, 0.8, 1.0])) == pytest.approx(0.25)


def test_similar_items_are_removed_with_the_item():
    searcher, _, _ = shop()
    left = without_similar(searcher.scorer.legs, 7, NUM_ITEMS)
    assert not left[7]
    assert (~left).sum() == 20
    mean = np.mean([each.vectors.astype(float) @ each.vectors[7] for each in searcher.scorer.legs], axis=0)
    mean[:2] = -1
    assert set(np.flatnonzero(~left)) == set(np.argsort(-mean)[:20])


def encode(sentence):
    """A sentence of another domain is noise, near nothing."""
    rng = np.random.default_rng((*FOREIGN, *long_texts()).index(sentence))
    return text_query(rng.normal(size=DIM).astype(np.float32))


def test_the_whole_fit_finds_more_and_ends_lists():
    searcher, true, rng = shop()
    settings = fit_search(searcher, judged_queries(true, rng, noise=0.4), encode=encode)
    fitted = searcher.with_settings(settings)
    unseen = judged_queries(true, np.random.default_rng(9), 60, noise=0.4)
    found = [fitted.search(each.query, 10) for each in unseen]
    hits = np.mean([each.relevant[0] in list.items for each, list in zip(unseen, found, strict=True)])
    empty = np.mean([len(fitted.search(encode(each), 10)) == 0 for each in FOREIGN])
    assert hits > 0.85
    assert empty > 0.8
    assert settings.calibration["audio"] == settings.calibration["text"]
    assert "expected calibration error" in settings.relevance_reason
    assert settings.personal == 0.0
    assert settings.personal_reason == "0: 0 validation queries of known users, fewer than 50"
    assert SearchSettings.model_validate_json(settings.model_dump_json()) == settings


def test_spoken_queries_have_the_fusion_of_text():
    searcher, true, rng = shop()
    settings = fit_search(searcher, judged_queries(true, rng))
    assert settings.fusion["audio"] == settings.fusion["text"]
    assert settings.fusion_reason["audio"] == "as for text, since transcripts are texts"


def test_without_queries_the_threshold_comes_from_foreign_sentences():
    searcher, true, _ = shop()
    settings = fit_search(searcher, [], encode=encode)
    assert settings.min_relevance == 0.5
    fitted = searcher.with_settings(settings)
    empty = np.mean([len(fitted.search(encode(each), 10)) == 0 for each in FOREIGN])
    assert empty >= 0.95
    assert len(fitted.search(text_query(true[50]), 10)) > 0
    of_long = settings.long_calibration
    assert of_long is not None
    highest = []
    for each in long_texts():
        scores = searcher.scorer.score(encode(each), searcher.settings.num_candidates, None)
        values = features(scores.clauses[0], searcher.encoder_kinds)
        highest.append(logits(of_long, values, len(scores.items)).max())
    assert 0.95 <= np.mean(np.array(highest) < 0) <= 1
    nothing = fit_search(searcher, [])
    assert (nothing.min_relevance, dict(nothing.calibration)) == (0.0, {})


def test_queries_that_leave_everything_in_the_lists_do_not_choose_the_threshold():
    searcher, true, rng = shop()
    settings = fit_search(searcher, judged_queries(true, rng, noise=30.0), encode=encode)
    alone = fit_search(searcher, [], encode=encode)
    assert settings.calibration == alone.calibration
    assert settings.long_calibration == alone.long_calibration
    assert settings.relevance_reason.endswith("so that these queries are ignored")


def test_a_threshold_that_would_lose_answers_is_lowered():
    # The answers of half of the queries look like nothing at all.
    def ranked(value, at):
        leg = LegScores(score_K=np.array([value, -0.5], np.float32), has_K=np.ones(2, np.bool_), space="own")
        clause = ClauseScores(kind="text", weight=1.0, legs={"title": leg}, coverage_K=None)
        scores = QueryScores(items=np.array([2, 3]), clauses=(clause,))
        return RankedQuery(scores=scores, answers=np.array([0]), num_relevant=1, group=str(at))

    searcher, _, _ = shop()
    queries = [ranked(0.9 if at % 2 else 0.0, at) for at in range(60)]
    unanswered = [
        UnansweredQuery(query=encode(each), allowed=None, group=each, is_foreign=True) for each in FOREIGN
    ]
    choice = choose_relevance(searcher, {"text": queries}, {"text": unanswered}, max_lost=0.1)
    assert choice.lost_share <= 0.1
    assert "emptying 95% would lose" in choice.reason
    assert all(weight >= 0 for weight in choice.calibration["text"].weights.values())


def test_default_relevance_without_any_candidate():
    present = np.ones(5, np.bool_)
    searcher = Searcher(
        Scorer([build_leg("title", "text", np.zeros((5, DIM), np.float32), present)], num_items=5),
        SETTINGS,
    )
    assert default_relevance(searcher, [encode(FOREIGN[0])]).min_relevance == 0.0


def personal_queries(true, rng, num=60):
    return [
        LabelledQuery(query=each.query, relevant=each.relevant, group=each.group, history=History.empty())
        for each in judged_queries(true, rng, num, noise=3.0)
    ]


@pytest.mark.parametrize("knows", [True, False])
def test_the_personal_share_is_chosen_where_the_recommender_helps(knows):
    searcher, true, rng = shop()
    queries = personal_queries(true, rng)
    wanted = {id(each.history): int(each.relevant[0]) for each in queries}

    def rank(history, items):
        noise = np.random.default_rng(wanted[id(history)]).normal(size=len(items))
        likes = (items == wanted[id(history)]) * 3.0 if knows else np.zeros(len(items))
        return PersonalScores(scores=(likes + noise).astype(np.float32), past_items=np.zeros(len(items), int))

    settings = fit_search(searcher.with_personalizer(rank), queries)
    assert (settings.personal > 0) == knows
    assert "60 validation queries" in settings.personal_reason


def test_unknown_users_choose_nothing():
    searcher, true, rng = shop()
    unknown = searcher.with_personalizer(lambda *_: None)
    queries = [
        PersonalQuery(searcher=unknown, ranked=ranked_query(unknown, each), history=History.empty())
        for each in personal_queries(true, rng)
    ]
    choice = choose_personal(queries)
    assert choice.personal == 0.0


def drawn_answers(rng, share, *, num=400):
    """Queries whose answers are drawn with the probabilities of the model that `choose_personal` fits."""
    searcher, true, _ = shop()
    taste = rng.normal(size=(num, NUM_ITEMS)).astype(np.float32)
    histories = [History.empty() for _ in range(num)]
    row_of = {id(history): row for row, history in enumerate(histories)}

    def rank(history, items):
        scores = taste[row_of[id(history)]][items]
        return PersonalScores(scores=scores, past_items=np.zeros(len(items), np.int64))

    found = []
    for row, query in enumerate(judged_queries(true, rng, num, noise=3.0)):
        ranked = ranked_query(searcher, query)
        score_K = in_deviations(fuse(ranked.scores, searcher.settings)[0])
        head = np.argsort(-score_K, kind="stable")[:50]
        logit = 2 * ((1 - share) * score_K[head] + share * taste[row][ranked.scores.items[head]])
        answer = rng.choice(head, p=np.exp(logit) / np.exp(logit).sum())
        found.append((replace(ranked, answers=np.array([answer])), histories[row]))
    personal = searcher.with_personalizer(rank)
    return [PersonalQuery(searcher=personal, ranked=ranked, history=history) for ranked, history in found]


@pytest.mark.parametrize("share", [0.2, 0.4, 0.8])
def test_the_share_that_drew_the_answers_is_found(share):
    choice = choose_personal(drawn_answers(np.random.default_rng(0), share))
    assert choice.personal == pytest.approx(min(share, 0.5), abs=0.07)
    assert choice.personal <= 0.5
    assert choice.ndcg[choice.personal] > choice.ndcg[0.0]
    assert choice.reason.startswith(
        f"{choice.personal:g}; 400 validation queries of known users, 400 with an"
    )


def test_taste_without_effect_has_no_share():
    chosen = [choose_personal(drawn_answers(np.random.default_rng(seed), 0.0, num=100)) for seed in range(8)]
    assert sum(choice.personal == 0.0 for choice in chosen) >= 6
    assert max(choice.personal for choice in chosen) < 0.25


def test_few_answers_in_the_head_have_no_share():
    queries = drawn_answers(np.random.default_rng(0), 0.5, num=60)
    unanswered = [
        replace(each, ranked=replace(each.ranked, answers=np.array([], np.int64))) for each in queries[15:]
    ]
    choice = choose_personal([*queries[:15], *unanswered])
    assert choice.personal == 0.0
    assert choice.reason == (
        "0: 60 validation queries of known users, fewer than 20 of them with an answer among the first hits"
    )
    few = choose_personal(queries[:49])
    assert few.reason == "0: 49 validation queries of known users, fewer than 50"
