import numpy as np

from recsys.retrieval.reranking import best_first, diversify


def test_float_noise_never_changes_an_order():
    items = np.array([[9, 4, 7, 5]])
    scores = np.array([[1.0, 2.0, 2.0 + 1e-6, 3.0]], np.float32)
    np.testing.assert_array_equal(best_first(scores, items), [[3, 1, 2, 0]])
    np.testing.assert_array_equal(
        best_first(scores - np.array([0, 0, 2e-6, 0], np.float32), items), [[3, 1, 2, 0]]
    )


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
