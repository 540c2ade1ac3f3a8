"""The calibration of new items: its figures equal a plain ranking, and its choice keeps the budget."""

import numpy as np
import pytest

from recsys.metrics import IdLists, at_k, means
from training.calibration import Calibration, K, Race, calibrate
from training.evaluation import top_k
from training.newcomers import Judges

NUM_ITEMS, NUM_NEW, NUM_USERS = 300, 40, 80


def _parts():
    """Vectors of all items, of known ones as if they were new, which items are known, and users."""
    rng = np.random.default_rng(0)
    item = rng.normal(size=(NUM_ITEMS, 6)).astype(np.float32)
    item /= np.linalg.norm(item, axis=1, keepdims=True)
    user = rng.normal(size=(NUM_USERS, 6)).astype(np.float32)
    user /= np.linalg.norm(user, axis=1, keepdims=True)
    known = np.ones(NUM_ITEMS, np.bool_)
    known[:2], known[-NUM_NEW:] = False, False
    playing = (0.6 * item + 0.2 * rng.normal(size=item.shape)).astype(np.float32) * known[:, None]
    truth, seen = [], []
    for row in user @ item.T:
        likely = np.argsort(-row)
        likely = likely[known[likely]]
        truth.append(np.sort(rng.choice(likely[:60], 4, replace=False)))
        seen.append(np.setdiff1d(rng.choice(np.flatnonzero(known), 10, replace=False), truth[-1]))
    return item, playing, known, Judges(user_UD=user, truth=truth, seen=seen)


def _by_hand(score, new, first):
    """All items that are not -inf: the known ones by score, new ones between them from `first` on."""
    known = [at for at in np.argsort(-score, kind="stable") if np.isfinite(score[at]) and not new[at]]
    entering = [at for at in np.argsort(-score, kind="stable") if np.isfinite(score[at]) and new[at]]
    ranked = []
    while known or entering:
        takes_new = entering and (
            not known or (len(ranked) + 1 >= first and score[entering[0]] > score[known[0]])
        )
        ranked.append((entering if takes_new else known).pop(0))
    return ranked


@pytest.mark.parametrize("first", [1, 5, 17])
@pytest.mark.parametrize(("length", "bias"), [(1.0, 0.0), (0.5, 0.4), (0.25, -1.0), (1.0, 3.0)])
def test_figures_are_those_of_lists_made_one_item_after_another(length, bias, first):
    item, playing, known, judges = _parts()
    players = np.sort(np.random.default_rng(1).choice(np.flatnonzero(known), 50, replace=False))
    others = np.setdiff1d(np.flatnonzero(known), players)
    race = Race.of(judges, np.arange(NUM_USERS), (others, item), (players, playing))
    is_new = np.isin(np.arange(NUM_ITEMS), players)
    vectors = np.where(is_new[:, None], length * playing, item)
    ranked = np.zeros((NUM_USERS, K), np.int64)
    for row, score in enumerate(judges.user_UD @ vectors.T + np.float32(bias) * is_new):
        score[~known] = -np.inf
        score[judges.seen[row]] = -np.inf
        ranked[row] = _by_hand(score, is_new, first)[:K]
    for mine, metric, counts in (
        (race.warm_ndcg(length, first, bias), f"ndcg@{K}", ~is_new),
        (race.new_recall(length, first, bias), f"recall@{K}", is_new),
    ):
        truth = [items[counts[items]] for items in judges.truth]
        rows = [row for row, items in enumerate(truth) if len(items)]
        lists = IdLists.from_lists([truth[row] for row in rows])
        assert mine == pytest.approx(means(at_k(ranked[rows], lists, [K]))[metric], abs=1e-6)


def test_what_it_costs_is_measured_on_the_real_new_items():
    """They push known items down; what plays new ones does not enter that figure."""
    item, playing, known, judges = _parts()
    calibration = calibrate(item, playing, known, judges, budget=0.05)
    point = calibration.chosen
    vectors = np.where(known[:, None], item, point.length * item)
    score = judges.user_UD @ vectors.T + np.float32(point.bias) * ~known
    ranked = np.zeros((NUM_USERS, K), np.int64)
    for row in range(NUM_USERS):
        score[row, judges.seen[row]] = -np.inf
        score[row, :2] = -np.inf
        ranked[row] = _by_hand(score[row], ~known, point.first)[:K]
    expected = means(at_k(ranked, IdLists.from_lists(judges.truth), [K]))[f"ndcg@{K}"]
    assert point.warm_ndcg == pytest.approx(expected, abs=1e-6)
    alone = top_k(judges.user_UD @ item.T, K, allowed=known, seen=IdLists.from_lists(judges.seen))
    expected = means(at_k(alone, IdLists.from_lists(judges.truth), [K]))[f"ndcg@{K}"]
    assert calibration.warm_alone == pytest.approx(expected, abs=1e-6)


def test_the_choice_keeps_to_the_budget_and_is_the_best_within_it():
    item, playing, known, judges = _parts()
    strict, loose = (calibrate(item, playing, known, judges, budget=budget) for budget in (0.0, 0.3))
    for calibration in (strict, loose):
        least = (1 - calibration.budget) * calibration.warm_alone
        assert calibration.chosen.warm_ndcg >= least
        assert calibration.chosen.new_recall >= max(
            point.new_recall for point in calibration.curve if point.warm_ndcg >= least
        )
    assert loose.chosen.new_recall > strict.chosen.new_recall


def test_along_the_curve_more_new_items_are_found_and_known_ones_lose():
    item, playing, known, judges = _parts()
    calibration = calibrate(item, playing, known, judges, budget=0.1, lengths=(1.0,), first_places=(1, 9))
    for first in (1, 9):
        curve = [point for point in calibration.curve if point.first == first]
        biases, ndcg, recall = (
            [getattr(point, name) for point in curve] for name in ("bias", "warm_ndcg", "new_recall")
        )
        assert biases == sorted(biases)
        assert ndcg == sorted(ndcg, reverse=True)
        assert recall == sorted(recall)
        assert recall[-1] > recall[0]
        assert ndcg[-1] < ndcg[0] <= calibration.warm_alone + 1e-9
    by_bias = {}
    for point in calibration.curve:
        by_bias.setdefault(point.bias, {})[point.first] = point.warm_ndcg
    assert all(costs[9] >= costs[1] for costs in by_bias.values()), "later places cost less"


def test_without_a_new_choice_or_a_new_item_there_is_no_curve():
    item, playing, known, judges = _parts()
    nothing = Judges(user_UD=judges.user_UD, truth=[np.empty(0, np.int64)] * NUM_USERS, seen=judges.seen)
    assert calibrate(item, playing, known, nothing, budget=0.1) is None
    known[2:] = True
    assert calibrate(item, playing, known, judges, budget=0.1) is None


def test_a_calibration_comes_back_from_its_values():
    item, playing, known, judges = _parts()
    calibration = calibrate(item, playing, known, judges, budget=0.1)
    assert Calibration.from_dict(calibration.to_dict()) == calibration
