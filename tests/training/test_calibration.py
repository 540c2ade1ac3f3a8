"""The calibration of new items: its figures equal a plain ranking, and its choice keeps the budget."""

import numpy as np
import pytest

from recsys.metrics import IdLists, at_k, means
from training.calibration import K, _Race, calibrate
from training.evaluation import top_k
from training.newcomers import Judges

NUM_ITEMS, NUM_USERS = 300, 80


def _parts():
    rng = np.random.default_rng(0)
    item = rng.normal(size=(NUM_ITEMS, 6)).astype(np.float32)
    item /= np.linalg.norm(item, axis=1, keepdims=True)
    user = rng.normal(size=(NUM_USERS, 6)).astype(np.float32)
    user /= np.linalg.norm(user, axis=1, keepdims=True)
    known = np.ones(NUM_ITEMS, np.bool_)
    known[:2], known[-40:] = False, False
    crossfit = (0.3 * item + 0.05 * rng.normal(size=item.shape)).astype(np.float32) * known[:, None]
    truth, seen = [], []
    for row in user @ item.T:
        likely = np.argsort(-row)
        likely = likely[known[likely]]
        truth.append(np.sort(rng.choice(likely[:40], 4, replace=False)))
        seen.append(np.setdiff1d(rng.choice(np.flatnonzero(known), 10, replace=False), truth[-1]))
    return item, crossfit, known, Judges(user_UD=user, truth=truth, seen=seen)


@pytest.mark.parametrize(("length", "lift"), [(1.0, 0.0), (2.0, 0.4), (0.5, -1.0), (1.0, 3.0)])
def test_figures_are_those_of_ranking_the_whole_catalogue(length, lift):
    item, crossfit, known, judges = _parts()
    playing = np.zeros(NUM_ITEMS, np.bool_)
    playing[np.random.default_rng(1).choice(np.flatnonzero(known), 50, replace=False)] = True
    found = _Race(item, crossfit, known, playing, judges, np.arange(NUM_USERS)).figures(length, lift)
    score = judges.user_UD @ np.where(playing[:, None], length * crossfit, item).T + lift * playing
    ranked = top_k(score, 2 * K, allowed=known, seen=IdLists.from_lists(judges.seen))
    for figure, is_new, metric in zip(
        found, (False, True, True), (f"ndcg@{K}", f"ndcg@{K}", f"recall@{2 * K}"), strict=True
    ):
        truth = [items[playing[items] == is_new] for items in judges.truth]
        rows = [row for row, items in enumerate(truth) if len(items)]
        expected = means(at_k(ranked[rows], [truth[row] for row in rows], [K, 2 * K]))[metric]
        assert figure == pytest.approx(expected, abs=1e-6)


def test_the_choice_keeps_to_the_budget_and_is_the_best_within_it():
    item, crossfit, known, judges = _parts()
    strict, loose = (calibrate(item, crossfit, known, 40, judges, budget=budget) for budget in (0.0, 0.5))
    for calibration in (strict, loose):
        chosen = calibration.chosen
        assert chosen.warm_ndcg >= (1 - calibration.budget) * calibration.warm_alone
        assert chosen.new_recall == max(
            point.new_recall
            for point in calibration.curve
            if point.warm_ndcg >= (1 - calibration.budget) * calibration.warm_alone
        )
    assert loose.chosen.new_recall > strict.chosen.new_recall


def test_lifting_finds_more_new_items_and_costs_known_ones():
    item, crossfit, known, judges = _parts()
    calibration = calibrate(item, crossfit, known, 40, judges, budget=0.1)
    curve = [point for point in calibration.curve if point.length == 1.0]
    assert curve[-1].new_recall > curve[0].new_recall
    assert curve[-1].warm_ndcg < curve[0].warm_ndcg <= calibration.warm_alone + 1e-9


def test_without_a_new_choice_there_is_no_curve():
    item, crossfit, known, judges = _parts()
    nothing = Judges(user_UD=judges.user_UD, truth=[np.empty(0, np.int64)] * NUM_USERS, seen=judges.seen)
    assert calibrate(item, crossfit, known, 40, nothing, budget=0.1) is None
