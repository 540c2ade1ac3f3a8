"""The listwise loss against a slow reference, and its minimum against that of another method."""

import numpy as np
import pytest
from scipy.optimize import minimize as scipy_minimize

from training.search.listwise import Lists, minimize


def lists(rng, num=12, width=9, num_features=4):
    """Answers have more of the first feature and less of the last; one query in three has two answers."""
    x_FQW = rng.normal(size=(num_features, num, width))
    is_padding_QW = np.arange(width) >= rng.integers(5, width + 1, num)[:, None]
    x_FQW[:, is_padding_QW] = 9.0  # without effect
    is_answer_QW = np.zeros((num, width), np.bool_)
    is_answer_QW[:, 1] = True
    is_answer_QW[::3, 4] = True
    x_FQW[0, is_answer_QW] += 1.0
    x_FQW[3, is_answer_QW] -= 1.0
    return Lists(x_FQW, is_padding_QW, is_answer_QW)


def test_queries_of_unequal_length_are_padded():
    rng = np.random.default_rng(3)
    given = lists(rng)
    sizes = (~given.is_padding_QW).sum(axis=1)
    parts = [given.x_FQW[:, at, :size].T for at, size in enumerate(sizes)]
    again = Lists.of(parts, [given.is_answer_QW[at, :size] for at, size in enumerate(sizes)])
    weight_F = rng.random(4)
    assert again.loss(weight_F)[0] == pytest.approx(given.loss(weight_F)[0])
    np.testing.assert_array_equal(again.is_answer_QW, given.is_answer_QW[:, : sizes.max()])


def slow_loss(given, weight_F):
    values = []
    for query in range(given.x_FQW.shape[1]):
        score = np.einsum("fw,f->w", given.x_FQW[:, query], weight_F)
        left = ~given.is_padding_QW[query]
        answers = np.exp(score[given.is_answer_QW[query]]).sum()
        values.append(-np.log(answers / np.exp(score[left]).sum()))
    return float(np.mean(values))


def test_loss_gradient_and_curvature():
    rng = np.random.default_rng(0)
    given, weight_F = lists(rng), rng.random(4)
    value, gradient_F, share_QW = given.loss(weight_F)
    assert value == pytest.approx(slow_loss(given, weight_F))
    slopes = [
        (slow_loss(given, weight_F + h) - slow_loss(given, weight_F - h)) / 2e-5 for h in 1e-5 * np.eye(4)
    ]
    np.testing.assert_allclose(gradient_F, slopes, atol=1e-8)
    assert not share_QW[given.is_padding_QW].any()
    covariances = [
        np.cov(given.x_FQW[:, query], aweights=share_QW[query], bias=True) for query in range(len(share_QW))
    ]
    np.testing.assert_allclose(given.curvature(share_QW), np.mean(covariances, axis=0), atol=1e-9)


@pytest.mark.parametrize("strength", [0.02, 1.0])
def test_the_minimum_is_that_of_another_method(strength):
    given, prior_F = lists(np.random.default_rng(1), num=40), np.array([1.0, 0.0, 0.0, 0.0])

    def value_of(weight_F):
        value, gradient_F, _ = given.loss(weight_F)
        away_F = weight_F - prior_F
        return value + strength / 2 * away_F @ away_F, gradient_F + strength * away_F

    expected = scipy_minimize(
        value_of, prior_F, jac=True, method="L-BFGS-B", bounds=[(0, None)] * 4,
        options={"ftol": 1e-14, "gtol": 1e-10},
    ).x  # fmt: skip
    for start_F in (prior_F, np.zeros(4), np.full(4, 3.0)):
        found = minimize(given, prior_F, strength=strength, start_F=start_F)
        assert (found >= 0).all()
        np.testing.assert_allclose(found, expected, atol=2e-3)
    assert (expected == 0).any()  # a bound is active


def test_equal_features_are_no_error():
    given = lists(np.random.default_rng(2))
    twice = Lists(np.concatenate([given.x_FQW, given.x_FQW]), given.is_padding_QW, given.is_answer_QW)
    found = minimize(twice, np.zeros(8), strength=0.0, start_F=np.zeros(8))
    assert twice.loss(found)[0] < twice.loss(np.zeros(8))[0]
