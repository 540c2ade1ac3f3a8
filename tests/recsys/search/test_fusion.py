"""Fusion by hand: evidence, z-scores, reciprocal ranks, neutral values, weights of clauses and legs."""

import math

import numpy as np
import pytest
from search_parts import query

from recsys.search import (
    Background,
    ClauseScores,
    EvidenceSettings,
    FusionWeights,
    LegScores,
    QueryScores,
    SearchSettings,
    WordStatistics,
    default_weights,
    evidence,
    fuse,
    reciprocal_ranks,
    standardized,
)


def leg(scores, has=None, space="own", kind=None, background=None):
    has = [True] * len(scores) if has is None else has
    return LegScores(
        score_K=np.array(scores, np.float32),
        has_K=np.array(has),
        space=space,
        kind=kind,
        background=background or Background(),
    )


def clause(weight=1.0, kind="text", **legs):
    return ClauseScores(kind=kind, weight=weight, legs=legs, coverage_K=None)


def with_words(coverage, **legs):
    """A clause with words of 3 nats in a catalogue of 100 items, of which a tenth has each word."""
    words = WordStatistics(total_idf=3.0, mean_coverage=0.1, num_items=100)
    return ClauseScores(
        kind="text", weight=1.0, legs=legs, coverage_K=np.array(coverage, np.float32), words=words
    )


def scores(*clauses):
    num = len(next(iter(clauses[0].legs.values())).score_K)
    return QueryScores(items=np.arange(2, num + 2), clauses=clauses)


def settings(**weights):
    return SearchSettings(fusion={"text": FusionWeights(**weights)})


def test_z_scores_over_the_candidates_that_have_the_leg():
    z = standardized(np.array([1, 2, 3, 99], np.float32), np.array([True, True, True, False]))
    np.testing.assert_allclose(z, [-np.sqrt(1.5), 0, np.sqrt(1.5), 0])
    assert not standardized(np.array([5, 5], np.float32), np.ones(2, np.bool_)).any()
    assert not standardized(np.array([5, 5], np.float32), np.zeros(2, np.bool_)).any()


def test_reciprocal_ranks_by_hand():
    found = reciprocal_ranks(leg([0.2, 0.9, 0.2, 0.5, 0.0], [True] * 4 + [False]), 60)
    first = np.array([61 / 63, 61 / 61, 61 / 63, 61 / 62])
    np.testing.assert_allclose(found, [*first, first.mean()])
    words = reciprocal_ranks(leg([0.0, 3.0, 1.0], space="lexical"), 60)
    np.testing.assert_allclose(words, [0, 1, 61 / 62])


def test_by_default_every_leg_that_is_asked_has_evidence():
    asked = clause(
        lexical=leg([1], space="lexical"), title=leg([1]), image=leg([1], space="shared"),
        popularity=leg([1], space="popularity"),
    )  # fmt: skip
    assert default_weights(asked) == FusionWeights(evidence={"lexical": 1.0, "title": 1.0, "image": 1.0})
    alone = clause(lexical=leg([1], space="lexical"), popularity=leg([1], space="popularity"))
    assert default_weights(alone) == FusionWeights(standardized={"lexical": 1.0})


def test_evidence_by_hand():
    def background(deviation, excess):
        return Background(center=0.1, deviation=deviation, excess=excess)

    seen = [True, True, False]
    asked = with_words(
        [1.0, 0.0, 0.5],
        lexical=leg([10.0, 0.0, 0.0], seen, "lexical"),
        title=leg([0.5, 0.0, 0.0], seen, "own", "text", background(0.1, 0.02)),
        text=leg([0.3, 0.1, 0.0], seen, "own", "text", background(0.4, 0.08)),
        audio=leg([0.3, 0.1, 0.0], None, "own", "audio", background(0.1, 0.02)),
        image=leg([0.3, 0.1, 0.0], seen, "shared", "image", background(0.1, 0.02)),
        popularity=leg([9.0, 1.0, 1.0], space="popularity"),
    )
    found = evidence(asked, EvidenceSettings())
    assert "popularity" not in found
    # 3 nats are fewer than ln 100; BM25 of 10 adds half of 0.05.
    np.testing.assert_allclose(found["lexical"], [18 * (1.025 - 0.1), 18 * -0.1, 0.0], rtol=1e-6)
    # The deviation of both texts is 0.2, the geometric mean of 0.1 and 0.4.
    np.testing.assert_allclose(found["title"], [2.0, 0.05 * -0.5, 0.02 / 0.08], rtol=1e-5)
    np.testing.assert_allclose(found["text"], [0.5, 0.0, 0.08 / 0.08], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found["audio"], [2.0, 0.0, 0.05 * -1.0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found["image"], [0.05 * 2.0, 0.0, 0.05], rtol=1e-5, atol=1e-6)


def test_a_background_without_deviation_says_nothing():
    flat = leg([0.3, 0.9], background=Background(center=0.3, deviation=0.0))
    np.testing.assert_array_equal(evidence(clause(title=flat), EvidenceSettings())["title"], [0.0, 0.0])


def slow_fusion(asked):
    """Without validation, item by item."""
    total = []
    for at in range(len(asked.coverage_K)):
        groups = {}
        for each in asked.legs.values():
            same = [
                other.background.deviation
                for other in asked.legs.values()
                if (other.space, other.kind) == (each.space, each.kind)
            ]
            deviation = each.background.deviation
            if each.space == "own":
                deviation = math.prod(same) ** (1 / len(same))
            if each.space == "lexical":
                bm25 = float(each.score_K[at])
                share = float(asked.coverage_K[at]) + 0.05 * bm25 / (10 + bm25) - asked.words.mean_coverage
                value = 6 * min(math.log(asked.words.num_items), asked.words.total_idf) * share
                value = value if each.has_K[at] else 0.0
            else:
                z = (float(each.score_K[at]) - each.background.center) / deviation
                value = z * z / 2 if z > 0 else 0.05 * z
                if not each.has_K[at]:
                    value = each.background.excess / (2 * deviation**2)
            if each.space == "shared":
                value *= 0.05
            groups.setdefault(each.kind if each.space == "own" else each.space, []).append(value)
        total.append(sum(max(values) for values in groups.values()))
    total = np.array(total)
    return (total - total.mean()) / total.std()


def random_clause(rng, num=30):
    def dense(space, kind):
        scores = rng.normal(size=num) + (rng.random(num) < 0.1) * 4
        center, deviation, excess = rng.normal() / 9, 0.5 + rng.random(), rng.random()
        background = Background(center=float(center), deviation=float(deviation), excess=float(excess))
        return leg(scores, rng.random(num) < 0.8, space, kind, background)

    return with_words(
        rng.random(num),
        lexical=leg(10 * rng.random(num), rng.random(num) < 0.9, "lexical"),
        title=dense("own", "text"), text=dense("own", "text"), speech=dense("own", "audio"),
        image=dense("shared", "image"), sound=dense("shared", "audio"),
    )  # fmt: skip


def test_the_fusion_by_evidence_equals_the_reference():
    asked = random_clause(np.random.default_rng(5))
    fused, parts = fuse(scores(asked), SearchSettings())
    np.testing.assert_allclose(fused, slow_fusion(asked), atol=1e-9)
    np.testing.assert_allclose(sum(parts.values()), fused, atol=1e-9)


def test_beside_pictures_in_their_own_space_the_shared_space_orders_what_is_alike():
    known = Background(center=0.0, deviation=0.1)
    texts = leg([0.5, 0.1, 0.3], space="shared", kind="text", background=known)
    pictures = leg([0.1, 0.2, 0.2], kind="image", background=known)
    found = evidence(clause(kind="image", title=texts, image=pictures), EvidenceSettings())
    np.testing.assert_allclose(found["title"], 0.003 * np.array([12.5, 0.5, 4.5]), rtol=1e-5)
    np.testing.assert_allclose(found["image"], [0.5, 2.0, 2.0], rtol=1e-5)
    fused, _ = fuse(scores(clause(kind="image", title=texts, image=pictures)), SearchSettings())
    assert np.argsort(-fused).tolist() == [2, 1, 0]
    own = leg([0.1, 0.2, 0.2], kind="text", background=known)
    for other in ({}, {"image": pictures, "text": own}):  # a query that is more than a picture
        found = evidence(clause(title=texts, **other), EvidenceSettings())
        np.testing.assert_allclose(found["title"], 0.05 * np.array([12.5, 0.5, 4.5]), rtol=1e-5)


def test_the_order_does_not_depend_on_the_other_candidates():
    whole = scores(random_clause(np.random.default_rng(6)))
    kept = np.arange(3, 20, 2)
    order = np.argsort(-fuse(whole, SearchSettings())[0][kept])
    np.testing.assert_array_equal(np.argsort(-fuse(whole.at(kept), SearchSettings())[0]), order)


def test_a_leg_that_recognises_an_item_is_not_outvoted_by_legs_that_do_not():
    # The first item is 8 deviations above the background in one leg, the second 2.5 in five of one encoder.
    knows = leg([8.0, 0.0, 0.0], kind="audio")
    noise = {name: leg([0.0, 2.5, 0.0], kind="text") for name in "abcde"}
    fused, parts = fuse(scores(clause(knows=knows, **noise)), SearchSettings())
    assert np.argsort(-fused).tolist() == [0, 1, 2]
    assert parts["knows"][0] > 0
    weak = {name: leg([0.0, 2.5, 0.0], kind=name) for name in "ab"}
    fused, _ = fuse(scores(clause(one=leg([3.0, 0.0, 0.0], kind="audio"), **weak)), SearchSettings())
    assert fused.argmax() == 1  # two legs of different encoders that agree: 6.25 against 4.5


def test_a_leg_that_is_left_alone_keeps_the_order_of_its_scores():
    words = leg([1.0, 3.0, 2.0], space="lexical")
    asked = with_words([1.0, 0.2, 0.5], lexical=words, title=leg([0.1, 0.2, 0.9]))
    assert fuse(scores(asked), SearchSettings())[0].argmax() == 0
    alone, _ = fuse(scores(asked), SearchSettings(), {"title": 0.0})
    assert np.argsort(-alone).tolist() == [1, 2, 0]


def test_a_factor_multiplies_the_evidence_of_a_leg():
    asked = clause(title=leg([2.0, 0.0], kind="text"), text=leg([0.0, 2.5], kind="text"))
    assert fuse(scores(asked), SearchSettings())[0].argmax() == 1
    assert fuse(scores(asked), SearchSettings(), {"text": 0.5})[0].argmax() == 0


def reference(legs, weights, constant=60.0):
    """One clause, item by item."""
    num = len(legs["a"].score_K)
    total = []
    for at in range(num):
        value = 0.0
        for name, each in legs.items():
            known = [float(s) for s, has in zip(each.score_K, each.has_K, strict=True) if has]
            mean = sum(known) / len(known)
            deviation = (sum((s - mean) ** 2 for s in known) / len(known)) ** 0.5
            ranked = [(constant + 1) / (constant + 1 + sum(o > s for o in known)) for s in known]
            own = float(each.score_K[at])
            z = (own - mean) / deviation if each.has_K[at] else 0.0
            rank = 1 + sum(o > own for o in known)
            r = (constant + 1) / (constant + rank) if each.has_K[at] else sum(ranked) / len(ranked)
            value += weights["standardized"].get(name, 0) * z + weights["reciprocal"].get(name, 0) * r
        total.append(value)
    total = np.array(total)
    return (total - total.mean()) / total.std()


def test_one_clause_equals_the_reference():
    rng = np.random.default_rng(3)
    legs = {name: leg(rng.normal(size=40), rng.random(40) < 0.8) for name in "abc"}
    weights = {"standardized": {"a": 0.7, "b": 0.2}, "reciprocal": {"b": 4.0, "c": 1.0}}
    fused, parts = fuse(scores(clause(**legs)), settings(**weights))
    np.testing.assert_allclose(fused, reference(legs, weights), atol=1e-9)
    np.testing.assert_allclose(sum(parts.values()), fused, atol=1e-9)


def test_an_item_without_the_modality_stands_between_better_and_worse_ones():
    words, seen = leg([1.0, 1.0, 1.0], space="lexical"), [True, False, True]
    asked = with_words([1.0, 1.0, 1.0], lexical=words, image=leg([0.9, 0.0, 0.1], seen))
    fused, _ = fuse(scores(asked), SearchSettings())
    assert fused[0] > fused[1] > fused[2]
    fused, _ = fuse(scores(asked), settings(standardized={"image": 1.0}))
    assert fused[1] == pytest.approx(0.0, abs=1e-9)  # the mean


def test_clauses_are_weighted_and_negative_ones_subtract():
    like, unlike = leg([1.0, 0.0, 0.0]), leg([0.0, 0.0, 1.0])
    settled = settings(standardized={"title": 1.0})
    fused, _ = fuse(scores(clause(2.0, title=like), clause(-1.0, title=unlike)), settled)
    z = standardized(np.array([1, 0, 0], np.float32), np.ones(3, np.bool_))
    np.testing.assert_allclose(fused, 2 * z - z[::-1], atol=1e-9)
    assert np.argsort(-fused).tolist() == [0, 1, 2]


def test_the_scale_of_one_kind_of_clause_does_not_outweigh_another():
    first, second = leg([1.0, 0.0, 0.0]), leg([0.0, 0.0, 1.0])
    uneven = SearchSettings(
        fusion={
            "text": FusionWeights(standardized={"title": 1.0}),
            "image": FusionWeights(standardized={"image": 100.0}),
        }
    )
    fused, _ = fuse(scores(clause(1.0, title=first), clause(1.0, "image", image=second)), uneven)
    assert fused[0] == pytest.approx(fused[2])


def test_factors_multiply_the_weights():
    asked = clause(title=leg([1.0, 0.0]), text=leg([0.0, 1.0]))
    weighted = settings(standardized={"title": 2.0, "text": 1.0})
    assert fuse(scores(asked), weighted)[0][0] > 0
    assert fuse(scores(asked), weighted, {"title": 0.25})[0][0] < 0
    assert fuse(scores(asked), weighted, {"title": 0.0})[0][0] < 0


def test_a_leg_that_validation_switched_off_answers_where_it_alone_is_asked():
    asked = clause(title=leg([1.0, 0.0]), text=leg([0.0, 1.0]))
    only_title = settings(standardized={"title": 1.0, "text": 0.0})
    assert fuse(scores(asked), only_title)[0].argmax() == 0
    assert fuse(scores(asked), only_title, {"title": 0.0})[0].argmax() == 1


def test_popularity_takes_part_only_where_validation_gave_it_a_weight():
    asked = clause(title=leg([0.4, 0.5]), popularity=leg([9.0, 1.0], space="popularity"))
    assert fuse(scores(asked), SearchSettings())[0].argmax() == 1
    weighted = settings(standardized={"title": 1.0, "popularity": 2.0})
    assert fuse(scores(asked), weighted)[0].argmax() == 0


def test_the_parts_name_the_leg():
    asked = clause(title=leg([1.0, 0.0, 0.0]), text=leg([0.0, 0.0, 1.0]))
    _, parts = fuse(scores(asked), settings(standardized={"title": 1.0, "text": 0.5}), query_factors())
    assert parts["title"][0] > parts["text"][0]
    assert parts["text"][2] > parts["title"][2]


def query_factors():
    from search_parts import text

    return query(text("a", 0.0)).modality_weights
