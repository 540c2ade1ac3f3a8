"""Fusion by hand: z-scores, reciprocal ranks, neutral values, weights of clauses and legs."""

import numpy as np
import pytest
from search_parts import query

from recsys.search import (
    ClauseScores,
    FusionWeights,
    LegScores,
    QueryScores,
    SearchSettings,
    default_weights,
    fuse,
    reciprocal_ranks,
    standardized,
)


def leg(scores, has=None, space="own"):
    has = [True] * len(scores) if has is None else has
    return LegScores(score_K=np.array(scores, np.float32), has_K=np.array(has), space=space)


def clause(weight=1.0, kind="text", **legs):
    return ClauseScores(kind=kind, weight=weight, legs=legs, coverage_K=None)


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


def test_default_weights_do_not_grow_with_the_number_of_legs():
    asked = clause(
        lexical=leg([1], space="lexical"), title=leg([1]), text=leg([1]), image=leg([1], space="shared"),
        popularity=leg([1], space="popularity"),
    )  # fmt: skip
    assert default_weights(asked).reciprocal == {"lexical": 1.0, "title": 0.5, "text": 0.5, "image": 0.1}
    assert default_weights(asked).standardized == {}


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
    words = leg([1.0, 1.0, 1.0], space="lexical")
    fused, _ = fuse(
        scores(clause(lexical=words, image=leg([0.9, 0.0, 0.1], [True, False, True]))), SearchSettings()
    )
    assert fused[0] > fused[1] > fused[2]
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
