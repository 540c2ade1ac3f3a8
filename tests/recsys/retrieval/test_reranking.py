"""Where new items stand among known ones, whatever a ranker says, and lists of more variety."""

import numpy as np
import pytest

from recsys.retrieval.reranking import (
    best_first,
    diversify,
    first_place_of_new,
    hold_back,
    settle_new,
)


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
    [(17, 100, 17), (17, 20, 17), (19, 20, 19), (19, 19, 19), (19, 18, 18), (17, 10, 10), (30, 20, 19)],
)
def test_short_lists_keep_their_last_tenth_for_new_items(cold_from, k, first):
    assert first_place_of_new(cold_from, k) == first


@pytest.mark.parametrize("k", [1, 5, 9])
def test_lists_of_fewer_than_ten_have_no_place_for_new_items_unless_it_comes_before_their_end(k):
    assert first_place_of_new(19, k) == k + 1
    assert first_place_of_new(k, k) == k
    assert first_place_of_new(1, k) == 1


class TestDiversify:
    vectors = np.array([[0, 0], [0, 0], [1, 0], [1, 0], [0, 1], [0.6, 0.8], [0, 0.1]], np.float32)

    def picked(self, items, scores, *, k, weight=1.0, new=(), first=1):
        items = np.array([items])
        place = diversify(
            items, np.array([scores], np.float32), np.isin(items, new), self.vectors,
            k=k, weight=weight, first=first,
        )  # fmt: skip
        assert sorted(set(place[0])) == sorted(place[0])
        return items[0, place[0]].tolist()

    def test_repetition_is_traded_for_score(self):
        assert self.picked([2, 3, 4], [3.0, 2.9, 2.5], k=2, weight=0.0) == [2, 3]
        assert self.picked([2, 3, 4], [3.0, 2.9, 2.5], k=2) == [2, 4]

    def test_padding_comes_last_wherever_it_stood(self):
        scores = [-np.inf, 3.0, -np.inf, 2.9, 2.5, -np.inf]
        assert self.picked([0, 2, 0, 3, 4, 0], scores, k=5) == [2, 4, 3, 0, 0]
        assert self.picked([0, 0], [-np.inf, -np.inf], k=9) == [0, 0]

    def test_a_short_vector_is_as_redundant_as_a_long_one(self):
        assert self.picked([4, 6, 3], [3.0, 2.9, 2.5], k=2) == [4, 3]

    def test_known_items_fill_the_places_before_the_first_of_new_ones(self):
        items, scores = [2, 3, 4, 5], [3.0, 2.9, 2.5, 2.6]
        assert self.picked(items, scores, k=4, new=[4]) == [2, 4, 3, 5]
        assert self.picked(items, scores, k=4, new=[4], first=3) == [2, 5, 3, 4]

    def test_where_no_known_item_is_left_a_new_one_comes_before_its_place(self):
        assert self.picked([0, 2, 4, 5], [-np.inf, 3.0, 2.5, 2.4], k=4, new=[4, 5], first=5) == [2, 4, 5, 0]
