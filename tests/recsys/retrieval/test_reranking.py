import numpy as np
import pytest

from recsys.retrieval.reranking import TIE, best_first, diversify


def test_float_noise_never_changes_an_order():
    items = np.array([[9, 4, 7, 5]])
    scores = np.array([[1.0, 2.0, 2.0 + 1e-6, 3.0]], np.float32)
    np.testing.assert_array_equal(best_first(scores, items), [[3, 1, 2, 0]])
    np.testing.assert_array_equal(
        best_first(scores - np.array([0, 0, 2e-6, 0], np.float32), items), [[3, 1, 2, 0]]
    )


@pytest.mark.parametrize("score", [2.0005, 2.00005, 2.000005, 7.1235])
def test_no_score_lies_on_an_edge_where_float_noise_changes_the_order(score):
    """Rounded to any number of decimals, one of these scores would be rounded up or down by the noise."""
    items = np.array([[5, 4, 3]])
    for noise in (-2e-6, 0.0, 2e-6):
        scores = np.array([[score + 5e-4, score + noise, score - 5e-4]], np.float32)
        np.testing.assert_array_equal(best_first(scores, items), [[0, 1, 2]])


@pytest.mark.parametrize("seed", range(5))
def test_the_order_equals_a_slow_reference(seed):
    rng = np.random.default_rng(seed)
    scores = (rng.integers(0, 40, (6, 30)) * 2e-5 + rng.integers(0, 3, (6, 30))).astype(np.float32)
    scores[rng.random((6, 30)) < 0.2] = -np.inf
    items = np.where(scores > -np.inf, rng.permutation(np.arange(2, 32)), 0)
    found = np.take_along_axis(items, best_first(scores, items), 1)
    for row, expected in enumerate(map(slow_order, scores, items)):
        assert found[row].tolist() == expected
    assert best_first(scores[:, :0], items[:, :0]).shape == (6, 0)


def slow_order(scores, items):
    """Groups of items, each within TIE of the one before it, in the order of their ids."""
    groups, last = [], np.inf
    for score, item in sorted(zip(scores, items, strict=True), key=lambda pair: -pair[0]):
        if not groups or (score > -np.inf and last - score > TIE) or (score == -np.inf < last):
            groups.append([])
        groups[-1].append(int(item))
        last = score
    return [item for group in groups for item in sorted(group)]


class TestDiversify:
    vectors = np.array([[0, 0], [0, 0], [1, 0], [1, 0], [0, 1], [0.6, 0.8], [0, 0.1]], np.float32)

    def picked(self, items, scores, *, k, weight=1.0, cold=()):
        items = np.array([items])
        place = diversify(
            items, np.array([scores], np.float32), np.isin(items, cold), self.vectors, k=k, weight=weight
        )
        assert sorted(set(place[0])) == sorted(place[0])
        return items[0, place[0]].tolist()

    def test_repetition_is_traded_for_score(self):
        assert self.picked([2, 3, 4], [3.0, 2.9, 2.5], k=2, weight=0.0) == [2, 3]
        assert self.picked([2, 3, 4], [3.0, 2.9, 2.5], k=2) == [2, 4]

    def test_padding_stays_last(self):
        assert self.picked([2, 3, 4, 0, 0], [3.0, 2.9, 2.5, -np.inf, -np.inf], k=5) == [2, 4, 3, 0, 0]
        assert self.picked([0, 0], [-np.inf, -np.inf], k=9) == [0, 0]

    def test_a_short_vector_is_as_redundant_as_a_long_one(self):
        assert self.picked([4, 6, 3], [3.0, 2.9, 2.5], k=2) == [4, 3]

    def test_cold_items_keep_their_ranks_and_trade_places_among_themselves(self):
        items, scores = [2, 5, 3, 6, 4], [3.0, 2.9, 2.8, 2.7, 2.6]
        assert self.picked(items, scores, k=5, cold=[5, 6]) == [2, 6, 3, 5, 4]
        for k in (1, 2, 3, 4):
            assert self.picked(items, scores, k=k, cold=[5, 6]) == [2, 6, 3, 5, 4][:k]
