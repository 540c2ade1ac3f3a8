"""New items keep the places among known ones that the retriever gave them, whatever a ranker says."""

import numpy as np
import pytest

from recsys.reranking import best_first, first_place_of_new, hold_back, settle_new


def test_a_new_item_stands_between_the_places_that_it_stood_between():
    """Known at 4, 2, 0 became 1, 9, 5: sorted 9, 5, 1. New at 3 lies halfway between first and second."""
    retriever = np.array([[4.0, 3.0, 2.0, 1.0, 0.0, 6.0, -2.0]], np.float32)
    known = np.array([[True, False, True, False, True, False, False]])
    score = np.array([[1.0, -50.0, 9.0, -50.0, 5.0, 70.0, 70.0]], np.float32)
    settled = settle_new(retriever, score, ~known, known)
    np.testing.assert_allclose(settled, [[1.0, 7.0, 9.0, 3.0, 5.0, 11.0, -1.0]])


@pytest.mark.parametrize("seed", range(5))
def test_as_many_known_items_stand_above_each_new_one_as_before(seed):
    rng = np.random.default_rng(seed)
    retriever, score = rng.standard_normal((2, 8, 30)).astype(np.float32)
    known = rng.random((8, 30)) < 0.7
    settled = settle_new(retriever, score, ~known, known)
    np.testing.assert_array_equal(settled[known], score[known])
    for row in range(8):
        for place in np.flatnonzero(~known[row]):
            before = (retriever[row, known[row]] > retriever[row, place]).sum()
            assert (settled[row, known[row]] > settled[row, place]).sum() == before


def test_where_nothing_is_known_and_where_nothing_is_new_all_stays():
    retriever = np.array([[3.0, 1.0]], np.float32)
    score = np.array([[7.0, 8.0]], np.float32)
    everything, nothing = np.ones((1, 2), np.bool_), np.zeros((1, 2), np.bool_)
    np.testing.assert_array_equal(settle_new(retriever, score, everything, nothing), retriever)
    np.testing.assert_array_equal(settle_new(retriever, score, nothing, everything), score)


def test_padding_is_neither():
    retriever = np.array([[3.0, -np.inf, 1.0]], np.float32)
    score = np.array([[7.0, -np.inf, 8.0]], np.float32)
    known, new = np.array([[True, False, False]]), np.array([[False, False, True]])
    np.testing.assert_array_equal(settle_new(retriever, score, new, known), [[7.0, -np.inf, 5.0]])


class TestHoldBack:
    known = np.array([[True, True, True, True, False, False, False]])

    def order(self, score, known, first):
        held = hold_back(score, ~known, known, first=first)
        return np.argsort(-held[0], kind="stable").tolist()

    def test_new_items_stand_from_a_place_on_in_their_own_order(self):
        """Of new items at 9, 7 and 2.5, two stood before place 3 and come there one after the other."""
        score = np.array([[8.0, 6.0, 3.0, 2.0, 7.0, 9.0, 2.5]], np.float32)
        assert self.order(score, self.known, 1) == [5, 0, 4, 1, 2, 6, 3]
        assert self.order(score, self.known, 3) == [0, 1, 5, 4, 2, 6, 3]
        assert self.order(score, self.known, 4) == [0, 1, 2, 5, 4, 6, 3]
        held = hold_back(score, ~self.known, self.known, first=3)
        np.testing.assert_allclose(held[0], [8.0, 6.0, 3.0, 2.0, 4.0, 5.0, 2.5])

    def test_where_fewer_are_known_new_ones_come_after_them(self):
        score = np.array([[1.0, 6.0, 3.0, 2.0, 7.0, 9.0, 2.5]], np.float32)
        assert self.order(score, self.known, 9) == [1, 2, 3, 0, 5, 4, 6]

    def test_where_there_is_no_room_what_follows_moves_down_and_nothing_is_a_tie(self):
        """Known items 3 and 4 are level to five digits; three new ones come between them."""
        score = np.array([[4.0, 2.00001, 2.0, 1.0, 9.0, 8.0, 7.0]], np.float32)
        held = hold_back(score, ~self.known, self.known, first=3)
        items = np.arange(7)[None]
        for noise in (-2e-5, 2e-5):
            moved = held + noise * np.array([[1, -1, 1, -1, 1, -1, 1]], np.float32)
            assert best_first(moved, items)[0].tolist() == [0, 1, 4, 5, 6, 2, 3]
        np.testing.assert_allclose(held[0, :2], score[0, :2])
        np.testing.assert_allclose(held[0, 2] - held[0, 3], 1.0, atol=1e-6)

    def test_where_nothing_is_known_all_stays(self):
        score, nothing = np.array([[1.0, 2.0]], np.float32), np.zeros((1, 2), np.bool_)
        np.testing.assert_array_equal(hold_back(score, ~nothing, nothing, first=9), score)

    @pytest.mark.parametrize("seed", range(4))
    def test_each_new_item_stands_where_it_did_or_is_among_the_first_allowed(self, seed):
        rng = np.random.default_rng(seed)
        score = rng.standard_normal((1, 40)).astype(np.float32)
        known = rng.random((1, 40)) < 0.6
        before, after = self.order(score, known, 1), self.order(score, known, 6)
        assert all(known[0, item] for item in after[:5])
        for group in (known[0], ~known[0]):
            assert [at for at in before if group[at]] == [at for at in after if group[at]]
        for item in np.flatnonzero(~known[0]):
            above = sum(known[0, other] for other in before[: before.index(item)])
            assert sum(known[0, other] for other in after[: after.index(item)]) == max(above, 5)


@pytest.mark.parametrize(
    ("cold_from", "k", "first"),
    [(17, 100, 17), (17, 20, 17), (19, 20, 19), (17, 10, 10), (17, 1, 1), (1, 20, 1)],
)
def test_short_lists_keep_their_last_tenth_for_new_items(cold_from, k, first):
    assert first_place_of_new(cold_from, k) == first
