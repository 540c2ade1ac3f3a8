"""Graded ranking metrics by hand, against binary ones, and what is refused."""

import math

import numpy as np
import pytest

from recsys.errors import DataError
from recsys.metrics import at_k, graded_at_k


def test_by_hand():
    # Grades 2 and 1 at ranks 2 and 1, and one relevant item of grade 3 that is not found.
    found = graded_at_k(np.array([[5, 3, 7], [9, 0, 0]]), [{3: 2, 5: 1, 9: 3}, {9: 1, 5: -1}], (2, 3))
    ideal = [3 + 2 / math.log2(3), 3 + 2 / math.log2(3) + 1 / 2]
    gained = 1 + 2 / math.log2(3)
    assert found["ndcg@2"] == pytest.approx([gained / ideal[0], 1])
    assert found["ndcg@3"] == pytest.approx([gained / ideal[1], 1])
    assert found["recall@3"] == pytest.approx([2 / 3, 1])
    assert found["mrr@2"] == pytest.approx([1, 1])


def test_equals_the_binary_metrics_with_one_grade():
    rng = np.random.default_rng(0)
    ranked = np.stack([rng.permutation(20)[:10] + 2 for _ in range(30)])
    relevant = [np.sort(rng.permutation(20)[: 1 + row % 5] + 2) for row in range(30)]
    graded = graded_at_k(ranked, [dict.fromkeys(items.tolist(), 1) for items in relevant], (1, 5, 10))
    binary = at_k(ranked, relevant, (1, 5, 10))
    for name, values in graded.items():
        assert values == pytest.approx(binary[name]), name


def test_refusals():
    lists = np.array([[2, 3]])
    with pytest.raises(DataError, match="query in row 0 has no relevant item"):
        graded_at_k(lists, [{2: 0}], (1,))
    with pytest.raises(DataError, match="1 lists for 2 queries"):
        graded_at_k(lists, [{2: 1}, {2: 1}], (1,))
    with pytest.raises(DataError, match="with 2 ranks"):
        graded_at_k(lists, [{2: 1}], (3,))
