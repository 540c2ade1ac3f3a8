"""Ranking metrics against hand-computed values and a slow reference."""

import math

import numpy as np
import pytest

from recsys.errors import DataError
from recsys.metrics.ranking import IdLists, at_k, means


def slow_at_k(ranked: list[int], ground_truth: set[int], k: int) -> dict[str, float]:
    """One user, one rank at a time, straight from the definitions."""
    hit_ranks = [rank for rank, item in enumerate(ranked[:k], 1) if item in ground_truth]
    ideal = sum(1 / math.log2(rank + 1) for rank in range(1, min(k, len(ground_truth)) + 1))
    return {
        f"recall@{k}": len(hit_ranks) / len(ground_truth),
        f"hr@{k}": float(bool(hit_ranks)),
        f"ndcg@{k}": sum(1 / math.log2(rank + 1) for rank in hit_ranks) / ideal,
        f"mrr@{k}": 1 / hit_ranks[0] if hit_ranks else 0.0,
        f"map@{k}": sum(at / rank for at, rank in enumerate(hit_ranks, 1)) / min(k, len(ground_truth)),
    }


def test_hand_computed_values() -> None:
    ranked = np.array([[5, 3, 9, 2], [4, 6, 7, 8]])
    values = at_k(ranked, [np.array([3, 2, 11]), np.array([5])], [1, 2, 4])
    assert values["recall@4"].tolist() == pytest.approx([2 / 3, 0])
    assert values["recall@2"].tolist() == pytest.approx([1 / 3, 0])
    assert values["hr@1"].tolist() == [0, 0]
    assert values["hr@2"].tolist() == [1, 0]
    assert values["mrr@4"].tolist() == [0.5, 0]
    # Hits at ranks 2 and 4: (0.63093 + 0.43068) over an ideal of 1 + 0.63093 + 0.5.
    assert values["ndcg@4"].tolist() == pytest.approx([1.0616063 / 2.1309298, 0], abs=1e-6)
    # Two ranks hold at most two of the three: the ideal is 1 + 0.63093.
    assert values["ndcg@2"][0] == pytest.approx(0.6309298 / 1.6309298)
    # Precision at the hits is 1/2 and 2/4, over three true items; over two places where only two fit.
    assert values["map@4"].tolist() == pytest.approx([(1 / 2 + 2 / 4) / 3, 0])
    assert values["map@2"].tolist() == pytest.approx([(1 / 2) / 2, 0])


def test_a_perfect_ranking_scores_one_and_a_reversed_truth_does_not_matter() -> None:
    values = at_k(np.array([[2, 3, 4]]), [np.array([4, 2, 3])], [3])
    assert {name: float(value[0]) for name, value in values.items()} == {
        "recall@3": 1, "hr@3": 1, "ndcg@3": 1, "mrr@3": 1, "map@3": 1,
    }  # fmt: skip


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_equals_the_slow_reference(seed: int) -> None:
    rng = np.random.default_rng(seed)
    ground_truth = [rng.choice(np.arange(2, 40), rng.integers(1, 15), replace=False) for _ in range(50)]
    ranked = np.stack([rng.permutation(np.arange(2, 40))[:12] for _ in range(50)])
    ranked[::3, 9:] = 0
    values = at_k(ranked, ground_truth, [1, 5, 12])
    for row in range(50):
        for k in (1, 5, 12):
            for name, value in slow_at_k(ranked[row].tolist(), set(ground_truth[row].tolist()), k).items():
                assert values[name][row] == pytest.approx(value, abs=1e-12), (row, name)


def test_padding_never_hits_the_item_of_another_user() -> None:
    # Keys of (row, item) must not run over into the next row.
    values = at_k(np.array([[9, 0], [0, 0]]), [np.array([2]), np.array([9])], [2])
    assert values["hr@2"].tolist() == [0, 0]


def test_repeated_truth_counts_once() -> None:
    assert at_k(np.array([[7, 8]]), [np.array([7, 7, 9])], [2])["recall@2"][0] == 0.5


def test_id_lists_from_pairs_in_any_order() -> None:
    lists = IdLists.from_pairs(np.array([2, 0, 2, 2]), np.array([5, 3, 4, 5]), 3)
    assert (lists.offsets.tolist(), lists.ids.tolist()) == ([0, 1, 1, 3], [3, 4, 5])
    assert lists.contain(np.array([[3, 4], [3, 4], [4, 99]])).tolist() == [
        [True, False], [False, False], [True, False],
    ]  # fmt: skip


def test_means_of_nobody_are_nan() -> None:
    assert means({"a": np.array([1.0, 2.0])}) == {"a": 1.5}
    assert math.isnan(means({"a": np.empty(0)})["a"])


@pytest.mark.parametrize(
    ("ranked", "ground_truth", "ks", "message"),
    [
        ([[2, 2]], [[3]], [2], "item 2 is repeated in ranked row 0"),
        ([[2, 3]], [[]], [2], "user in row 0 has no true item"),
        ([[2, 3]], [[3]], [3], "each k must be from 1 to the number of ranks"),
        ([[2, 3]], [[3]], [], "each k must be from 1 to the number of ranks"),
        ([[2, 3]], [[3], [4]], [2], "1 ranked lists for 2 users"),
        ([[2, 3]], [[0]], [2], "id 0 in a list of items"),
    ],
)
def test_refusals(
    ranked: list[list[int]], ground_truth: list[list[int]], ks: list[int], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        at_k(np.array(ranked), [np.array(ids, np.int64) for ids in ground_truth], ks)
