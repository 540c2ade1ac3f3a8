"""The calibration of new items: its figures equal a plain ranking, and its choice keeps the budget."""

from dataclasses import replace

import numpy as np
import pytest
from training.cold_start.calibration import (
    Calibration,
    K,
    Race,
    calibrate,
)

from recsys.metrics.ranking import IdLists, at_k, means
from recsys.retrieval.topk import top_k
from training.cold_start.validation_users import Judges

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


def _expected_ndcg(ranked, counts, truth):
    """NDCG@20 if the known item of each place were right as often as such items are on average."""
    discount = 1.0 / np.log2(2.0 + np.arange(K))
    rows = [row for row, items in enumerate(truth) if len(items)]
    right = np.zeros((len(rows), K))
    for at, row in enumerate(rows):
        known = [item for item in ranked["alone"][row] if counts[item]][:K]
        ideal = discount[: min(K, len(truth[row]))].sum()
        right[at] = np.isin(known, truth[row]) / ideal
    mean = list(right.mean(0))
    blocks = [[value, weight, 1] for value, weight in zip(mean, discount, strict=True)]
    at = 0
    while at + 1 < len(blocks):  # pool adjacent violators
        (low, w_low, n_low), (high, w_high, n_high) = blocks[at], blocks[at + 1]
        if high <= low:
            at += 1
            continue
        weight = w_low + w_high
        blocks[at : at + 2] = [[(low * w_low + high * w_high) / weight, weight, n_low + n_high]]
        at = max(at - 1, 0)
    chance = [value for value, _, count in blocks for _ in range(count)]
    scores = []
    for row in rows:
        places = [place for place, item in enumerate(ranked["with"][row][:K]) if counts[item]]
        scores.append(sum(chance[at] * discount[place] for at, place in enumerate(places)))
    return np.mean(scores)


@pytest.mark.parametrize("first", [1, 5, 17])
@pytest.mark.parametrize(("length", "bias"), [(1.0, 0.0), (0.5, 0.4), (0.25, -1.0), (1.0, 3.0)])
def test_figures_are_those_of_lists_made_one_item_after_another(length, bias, first):
    item, playing, known, judges = _parts()
    players = np.sort(np.random.default_rng(1).choice(np.flatnonzero(known), 50, replace=False))
    others = np.setdiff1d(np.flatnonzero(known), players)
    race = Race.of(judges, np.arange(NUM_USERS), (others, item), (players, playing))
    is_new = np.isin(np.arange(NUM_ITEMS), players)
    vectors = np.where(is_new[:, None], length * playing, item)
    ranked = {"alone": [], "with": []}
    for row, score in enumerate(judges.user_UD @ vectors.T + np.float32(bias) * is_new):
        score[~known] = -np.inf
        score[judges.seen[row]] = -np.inf
        ranked["with"].append(_by_hand(score, is_new, first))
        ranked["alone"].append(_by_hand(score, is_new, NUM_ITEMS))
    warm = [items[~is_new[items]] for items in judges.truth]
    expected = _expected_ndcg(ranked, ~is_new, warm)
    assert race.warm_ndcg(length, first, bias) == pytest.approx(expected, abs=1e-6)
    listed = np.zeros(K)
    for each in ranked["with"]:
        listed[: sum(is_new[each[:K]])] += 1.0 / NUM_USERS
    chance = 1.0 / np.arange(2.0, 2.0 + K)
    found = race.new_recall(length, first, bias, chance)
    assert found == pytest.approx((listed * chance).sum(), abs=1e-6)


def test_how_often_the_new_items_are_right_is_that_of_a_list_of_them():
    """Its sum is Recall@20 among them; of all users alike, and never more often further down."""
    item, playing, known, judges = _parts()
    players = np.sort(np.random.default_rng(1).choice(np.flatnonzero(known), 50, replace=False))
    race = Race.of(judges, np.arange(NUM_USERS), (np.flatnonzero(known), item), (players, playing))
    is_new = np.isin(np.arange(NUM_ITEMS), players)
    truth = [items[is_new[items]] for items in judges.truth]
    rows = [row for row, items in enumerate(truth) if len(items)]
    lists = IdLists.from_lists([truth[row] for row in rows])
    seen = IdLists.from_lists([judges.seen[row] for row in rows])
    ranked, _ = top_k(judges.user_UD[rows] @ playing.T, K, allowed=is_new, excluded=seen)
    first = means(at_k(ranked, lists, [1, K]))
    assert (np.diff(race.new_right_K) <= 1e-12).all()
    hits = np.array([np.isin(ranked[at], truth[row]) / len(truth[row]) for at, row in enumerate(rows)])
    discount = 1.0 / np.log2(2.0 + np.arange(K))
    assert (race.new_right_K * discount).sum() == pytest.approx((hits.mean(0) * discount).sum(), abs=1e-9)
    assert race.new_right_K[0] >= first["recall@1"] - 1e-9


def test_places_that_cost_little_are_taken_where_a_place_is_worth_the_same():
    """Known items are right in the first places alone, so that new ones cost nothing from the fourth on."""
    item, playing, known, judges = _parts()
    best = [np.argsort(-row)[:60] for row in judges.user_UD @ (item * known[:, None]).T]
    seen = [np.empty(0, np.int64)] * NUM_USERS
    certain = replace(judges, truth=[places[:3] for places in best], seen=seen)
    calibration = calibrate(item, playing, known, certain, budget=0.01, first_places=(1, 4))
    assert calibration.chosen.first == 4
    assert calibration.chosen.warm_ndcg == pytest.approx(calibration.warm_alone)


def test_what_it_costs_is_measured_on_the_real_new_items():
    """They push known items down; what plays new ones does not enter that figure."""
    item, playing, known, judges = _parts()
    calibration = calibrate(item, playing, known, judges, budget=0.05)
    point = calibration.chosen
    vectors = np.where(known[:, None], item, point.length * item)
    ranked = {"alone": [], "with": []}
    for row, score in enumerate(judges.user_UD @ vectors.T + np.float32(point.bias) * ~known):
        score[judges.seen[row]] = -np.inf
        score[:2] = -np.inf
        ranked["with"].append(_by_hand(score, ~known, point.first))
        ranked["alone"].append(_by_hand(score, ~known, NUM_ITEMS))
    expected = _expected_ndcg(ranked, known, judges.truth)
    assert point.warm_ndcg == pytest.approx(expected, abs=1e-6)
    alone, _ = top_k(judges.user_UD @ item.T, K, allowed=known, excluded=IdLists.from_lists(judges.seen))
    expected = means(at_k(alone, IdLists.from_lists(judges.truth), [K]))[f"ndcg@{K}"]
    assert calibration.warm_alone == pytest.approx(expected, abs=1e-6)


def test_where_a_system_ranks_known_items_otherwise_its_hits_count():
    """Lists in which every chosen item stands first lose nothing to new items that stand far below."""
    item, playing, known, judges = _parts()
    rest = np.flatnonzero(known)
    ordered = np.array([[*items, *np.setdiff1d(rest, items)[:K]] for items in judges.truth])
    calibration = calibrate(item, playing, known, replace(judges, ordered=ordered), budget=0.0)
    assert calibration.warm_alone == pytest.approx(1.0)
    assert calibration.chosen.first > 1
    assert calibration.chosen.new_recall == max(
        point.new_recall for point in calibration.curve if point.first > 1
    )


def test_the_choice_keeps_to_the_budget_and_is_the_best_within_it():
    item, playing, known, judges = _parts()
    strict, loose = (calibrate(item, playing, known, judges, budget=budget) for budget in (0.02, 0.3))
    for calibration in (strict, loose):
        least = (1 - calibration.budget) * calibration.warm_alone
        assert calibration.chosen.warm_ndcg >= least
        assert calibration.chosen.new_recall >= max(
            point.new_recall for point in calibration.curve if point.warm_ndcg >= least
        )
    assert loose.chosen.new_recall > strict.chosen.new_recall
    nothing_allowed = calibrate(item, playing, known, judges, budget=0.0)
    assert nothing_allowed.chosen.warm_ndcg == max(point.warm_ndcg for point in nothing_allowed.curve)


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
