"""The cost and gain of cold ranks, against lists that are made one rank after another."""

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from training.cold_start.tradeoff import K, WarmColdTradeoff, _Hits, measure_tradeoff, rank_grid
from training.cold_start.validation_users import ValidationUsers

NUM_ITEMS, NUM_COLD, NUM_USERS = 300, 40, 80
DISCOUNT = 1.0 / np.log2(2.0 + np.arange(K))


def _parts():
    """Vectors of all items, of warm ones as if they were cold, which items are warm, and users."""
    rng = np.random.default_rng(0)
    item = rng.normal(size=(NUM_ITEMS, 6)).astype(np.float32)
    item /= np.linalg.norm(item, axis=1, keepdims=True)
    user = rng.normal(size=(NUM_USERS, 6)).astype(np.float32)
    user /= np.linalg.norm(user, axis=1, keepdims=True)
    warm = np.ones(NUM_ITEMS, np.bool_)
    warm[:2], warm[-NUM_COLD:] = False, False
    pseudo = (0.6 * item + 0.2 * rng.normal(size=item.shape)).astype(np.float32) * warm[:, None]
    ground_truth, seen = [], []
    for row in user @ item.T:
        likely = np.argsort(-row)
        likely = likely[warm[likely]]
        ground_truth.append(np.sort(rng.choice(likely[:60], 4, replace=False)))
        seen.append(np.setdiff1d(rng.choice(np.flatnonzero(warm), 10, replace=False), ground_truth[-1]))
    return item, pseudo, warm, ValidationUsers(user_UD=user, ground_truth=ground_truth, seen=seen)


def _slow_rates(item, warm, users):
    """Hit rate of the warm item of each rank, made non-increasing by pooling adjacent violators."""
    hits = np.zeros((NUM_USERS, K))
    for row, score in enumerate(users.user_UD @ item.T):
        score[~warm] = -np.inf
        score[users.seen[row]] = -np.inf
        best = np.argsort(-score, kind="stable")[:K]
        ideal = DISCOUNT[: len(users.ground_truth[row])].sum()
        hits[row] = np.isin(best, users.ground_truth[row]) / ideal
    blocks = [[value, weight, 1] for value, weight in zip(hits.mean(0), DISCOUNT, strict=True)]
    at = 0
    while at + 1 < len(blocks):
        (low, w_low, n_low), (high, w_high, n_high) = blocks[at], blocks[at + 1]
        if high <= low:
            at += 1
            continue
        weight = w_low + w_high
        blocks[at : at + 2] = [[(low * w_low + high * w_high) / weight, weight, n_low + n_high]]
        at = max(at - 1, 0)
    return [value for value, _, count in blocks for _ in range(count)]


@pytest.mark.parametrize("ranks", [(), (1,), (10, 17, 19), tuple(range(2, 21, 2))])
def test_the_cost_is_that_of_lists_made_one_rank_after_another(ranks):
    item, pseudo, warm, users = _parts()
    found = measure_tradeoff(item, pseudo, warm, users, cold_ranks=ranks)
    assert found is not None
    rates, expected = _slow_rates(item, warm, users), 0.0
    for rank in range(1, K + 1):
        if rank not in ranks:
            expected += rates.pop(0) * DISCOUNT[rank - 1]
    assert found.configured.warm_ndcg == pytest.approx(expected, abs=1e-6)
    assert found.configured in found.grid
    assert found.grid[0].cold_ranks == ()
    assert found.warm_loss(found.grid[0]) == 0.0


def test_more_cold_ranks_cost_more_and_bring_more():
    item, pseudo, warm, users = _parts()
    found = measure_tradeoff(item, pseudo, warm, users, cold_ranks=(10,))
    assert found is not None
    nested = [point for point in found.grid if point.cold_ranks in ((), (17, 19), (10, 17, 19))]
    assert [len(point.cold_ranks) for point in nested] == [0, 2, 3]
    for fewer, more in pairwise(nested):
        assert more.warm_ndcg < fewer.warm_ndcg
        assert more.cold_recall > fewer.cold_recall
    assert nested[0].cold_recall == 0.0


def test_the_systems_own_lists_are_taken_where_they_are_given():
    item, pseudo, warm, users = _parts()
    perfect = np.stack([np.pad(items, (0, 30)) for items in users.ground_truth])
    found = measure_tradeoff(item, pseudo, warm, replace(users, ordered=perfect), cold_ranks=())
    assert found is not None
    assert found.warm_only_ndcg == pytest.approx(1.0)


def test_without_a_cold_item_or_a_user_there_is_nothing_to_measure():
    item, pseudo, warm, users = _parts()
    everything = np.arange(NUM_ITEMS) >= 2
    assert measure_tradeoff(item, pseudo, everything, users, cold_ranks=()) is None
    nothing = [np.empty(0, np.int64)] * NUM_USERS
    assert measure_tradeoff(item, pseudo, warm, replace(users, ground_truth=nothing), cold_ranks=()) is None
    assert measure_tradeoff(item, 0 * pseudo, warm, users, cold_ranks=()) is None


@pytest.mark.parametrize("budget", [0.03, 0.1, 0.3])
def test_auto_keeps_the_budget_at_both_depths_and_takes_much_of_it(budget):
    item, pseudo, warm, users = _parts()
    found = measure_tradeoff(item, pseudo, warm, users, cold_ranks="auto", budget=budget)
    assert found is not None
    chosen = found.configured
    assert max(found.warm_loss(chosen), found.warm_loss_10(chosen)) < budget or not chosen.cold_ranks
    more = measure_tradeoff(item, pseudo, warm, users, cold_ranks="auto", budget=2 * budget)
    assert more is not None
    assert _gain(more.configured) >= _gain(chosen)
    assert len(found.configured.cold_ranks) >= {0.03: 0, 0.1: 1, 0.3: 3}[budget]


def test_with_few_hits_auto_does_not_calibrate():
    item, pseudo, warm, users = _parts()
    found = measure_tradeoff(item, pseudo, warm, users.only(np.arange(5)), cold_ranks="auto", budget=0.5)
    assert found is not None
    assert found.configured.cold_ranks == (10, 17, 19)


def _gain(point):
    return point.cold_recall_5 + point.cold_recall_10 + point.cold_recall


def test_the_standard_error_of_the_loss_is_that_of_a_bootstrap():
    rng = np.random.default_rng(0)
    hits = _Hits(hit_UK=rng.random((400, K)) < 0.1, num_U=rng.integers(1, 6, 400))
    is_cold = np.isin(np.arange(K), [9, 18])
    losses = []
    for _ in range(400):
        drawn = rng.integers(0, 400, 400)
        hit_UK, num_U = hits.hit_UK[drawn], hits.num_U[drawn]
        ideal = np.cumsum(DISCOUNT)[num_U - 1]
        left = (hit_UK[:, :18] @ DISCOUNT[~is_cold] / ideal).mean()
        losses.append(1 - left / (hit_UK @ DISCOUNT / ideal).mean())
    assert hits.loss_error(is_cold, 20) == pytest.approx(np.std(losses), rel=0.15)


def test_recall_at_a_depth_counts_the_cold_items_up_to_it():
    item, pseudo, warm, users = _parts()
    found = measure_tradeoff(item, pseudo, warm, users, cold_ranks=(5, 9, 20))
    first = measure_tradeoff(item, pseudo, warm, users, cold_ranks=(3,))
    assert found is not None
    assert first is not None
    assert found.configured.cold_recall_5 == first.configured.cold_recall
    assert found.configured.cold_recall_5 < found.configured.cold_recall_10 < found.configured.cold_recall


def test_it_comes_back_from_json():
    item, pseudo, warm, users = _parts()
    found = measure_tradeoff(item, pseudo, warm, users, cold_ranks=(5,))
    assert found is not None
    assert WarmColdTradeoff.from_dict(json.loads(json.dumps(found.to_dict()))) == found


def test_the_grid_begins_without_cold_ranks_and_has_the_configured_ones():
    grid = rank_grid((4, 9))
    assert grid[0] == ()
    assert (4, 9) in grid
    assert len(set(grid)) == len(grid)
