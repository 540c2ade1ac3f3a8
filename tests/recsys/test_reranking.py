"""New items keep the places among known ones that the retriever gave them, whatever a ranker says."""

import numpy as np
import pytest

from recsys.reranking import settle_new


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
