"""Weights with the least listwise loss, and the forward choice of evidence."""

import numpy as np

from training.cold_ranker.weights import PENALTY, Lists, choose_weights, fit_weights

NUM_LISTS, NUM_ITEMS = 240, 30


def lists(weights=(1.0, 0.0, 1.0), seed=0, num=NUM_LISTS):
    """Each list's item is drawn from the softmax of the evidence with these weights."""
    rng = np.random.default_rng(seed)
    evidence = rng.standard_normal((num, NUM_ITEMS, 3)).astype(np.float32)
    score = evidence @ np.asarray(weights, np.float32)
    chosen = np.zeros((num, NUM_ITEMS), np.bool_)
    for row in range(num):
        chance = np.exp(score[row]) / np.exp(score[row]).sum()
        chosen[row, rng.choice(NUM_ITEMS, 2, replace=False, p=chance)] = True
    unseen = (rng.random(chosen.shape) < 0.9) | chosen
    return Lists(
        names=("towers", "noise", "text"),
        evidence_LPF=evidence,
        unseen_LP=unseen,
        chosen_LP=chosen,
        user_L=np.arange(num) // 2,
    )


def slow_loss(of, weight):
    total = 0.0
    for evidence, unseen, chosen in zip(of.evidence_LPF, of.unseen_LP, of.chosen_LP, strict=True):
        score = evidence.astype(np.float64) @ weight
        total += np.log(np.exp(score[unseen]).sum()) - score[chosen].mean()
    return total / len(of.user_L) + PENALTY * (weight**2).sum()


def test_no_other_weights_have_a_lower_loss():
    of = lists()
    found = np.array(list(fit_weights(of, of.names).values()))
    least = slow_loss(of, found)
    for change in np.vstack([np.eye(3), -np.eye(3)]) * 0.02:
        other = np.maximum(found + change, 0.0)
        assert slow_loss(of, other) >= least - 1e-7
    np.testing.assert_allclose(found, [1.0, 0.0, 1.0], atol=0.2)


def test_weights_are_never_below_0():
    assert fit_weights(lists(weights=(1.0, -1.0, 0.0)), ("towers", "noise"))["noise"] == 0.0


def test_evidence_that_helps_is_chosen_and_noise_is_not():
    choice = choose_weights(lists(), "towers")
    assert set(choice.weights) == {"towers", "text"}
    assert list(choice.ndcg) == ["towers", "towers + text"]
    assert choice.ndcg["towers + text"] > choice.ndcg["towers"]


def test_scores_of_the_chosen_weights_have_a_deviation_of_1():
    of = lists()
    weights = choose_weights(of, "towers").weights
    vector = np.array([weights.get(name, 0.0) for name in of.names])
    assert abs((of.evidence_LPF @ vector).std(1).mean() - 1.0) < 1e-5


def test_without_a_gain_the_towers_stand_alone():
    choice = choose_weights(lists(weights=(1.0, 0.0, 0.0)), "towers")
    assert set(choice.weights) == {"towers"}
