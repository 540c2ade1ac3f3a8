"""Ranking metrics against trec_eval, by its Python binding `pytrec_eval`."""

from collections.abc import Callable

import numpy as np
import pytest
import pytrec_eval

from recsys.arrays import Ints
from recsys.metrics.ranking import METRICS, at_k, means

KS = (1, 3, 5, 10, 12)
NUM_USERS, NUM_ITEMS, WIDTH = 200, 60, 12
GroundTruths = list[Ints]


def world(seed: int) -> tuple[Ints, GroundTruths]:
    """Lists without ties, a third of them short, and up to twice as much truth as a list is long."""
    rng = np.random.default_rng(seed)
    items = np.arange(2, NUM_ITEMS + 2)
    ranked = np.stack([rng.permutation(items)[:WIDTH] for _ in range(NUM_USERS)])
    for row in range(0, NUM_USERS, 3):
        ranked[row, rng.integers(0, WIDTH) :] = 0  # some are empty
    ground_truth = [rng.choice(items, rng.integers(1, 2 * WIDTH), replace=False) for _ in range(NUM_USERS)]
    return ranked, ground_truth


def by_trec(ranked: Ints, ground_truth: GroundTruths, k: int) -> dict[str, Ints]:
    """trec_eval's own measures of the first `k` places, by user."""
    relevant = {str(row): {str(item): 1 for item in items} for row, items in enumerate(ground_truth)}
    measures = {f"recall.{k}", f"success.{k}", f"ndcg_cut.{k}", f"map_cut.{k}", "recip_rank"}
    # recip_rank knows no k: the list is cut before. An empty list has a place for an item that is none.
    scores = {
        str(row): {str(item): float(WIDTH - at) for at, item in enumerate(items[:k]) if item} or {"none": 1.0}
        for row, items in enumerate(ranked)
    }
    found = pytrec_eval.RelevanceEvaluator(relevant, measures).evaluate(scores)
    names = {"recall": f"recall_{k}", "hr": f"success_{k}", "ndcg": f"ndcg_cut_{k}", "map": f"map_cut_{k}"}
    names |= {"mrr": "recip_rank"}
    return {
        metric: np.array([found[str(row)][peer] for row in range(len(ground_truth))])
        for metric, peer in names.items()
    }


def convention(name: str, ground_truth: GroundTruths, k: int) -> Callable[[Ints], Ints]:
    """trec_eval divides the average precision of a cut list by T, recsys by min(k, T)."""
    counts = np.array([len(set(items.tolist())) for items in ground_truth])
    return (lambda value: value * counts / np.minimum(k, counts)) if name == "map" else lambda value: value


@pytest.mark.parametrize("k", KS)
@pytest.mark.parametrize("seed", [0, 1])
def test_every_user_and_every_mean_is_that_of_trec_eval(seed: int, k: int) -> None:
    ranked, ground_truth = world(seed)
    assert max(map(len, ground_truth)) > max(KS)
    assert (ranked == 0).any(1).sum() > 30
    found_metrics, by_peer = at_k(ranked, ground_truth, KS), by_trec(ranked, ground_truth, k)
    assert set(by_peer) == set(METRICS)
    for name in METRICS:
        expected = convention(name, ground_truth, k)(by_peer[name])
        assert np.abs(found_metrics[f"{name}@{k}"] - expected).max() < 1e-9, name
        assert means(found_metrics)[f"{name}@{k}"] == pytest.approx(expected.mean(), abs=1e-9)
        assert 0 < expected.mean() < 1


def test_where_the_list_holds_all_truth_the_conventions_of_map_agree() -> None:
    ranked, ground_truth = world(2)
    few = [items[:3] for items in ground_truth]
    assert np.abs(at_k(ranked, few, [5])["map@5"] - by_trec(ranked, few, 5)["map"]).max() < 1e-9
