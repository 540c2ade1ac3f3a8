import numpy as np
import pytest
from pydantic import ValidationError

from recsys.ids import PAD
from recsys.retrieval.cold.ranks import cold_positions, merge_by_rank
from recsys.retrieval.item_lists import ItemLists
from recsys.retrieval.settings import PAGE, RecommenderSettings

PATTERNS = [(), (1,), (10, 17, 19), (3, 6, 9, 12, 15, 18), tuple(range(1, 21))]


def slow_merge(warm, cold, ranks):
    """One rank after another."""
    warm, cold, merged = list(warm), list(cold), []
    while warm or cold:
        is_cold_rank = len(merged) % PAGE + 1 in ranks
        takes_cold = cold and (is_cold_rank or not warm)
        merged.append((cold if takes_cold else warm).pop(0))
    return merged


def lists_of(rows, width, scores=None):
    items = np.full((len(rows), width), PAD, np.int64)
    score = np.full((len(rows), width), -np.inf, np.float32)
    for at, row in enumerate(rows):
        items[at, : len(row)] = row
        score[at, : len(row)] = np.arange(len(row), 0, -1) if scores is None else scores[at]
    return ItemLists(items=items, scores=score, retriever_scores=score, column=items * 10)


@pytest.mark.parametrize("ranks", PATTERNS)
def test_merging_equals_the_slow_reference(ranks):
    rng = np.random.default_rng(len(ranks))
    sizes = [(0, 0), (0, 7), (7, 0), (50, 3), (3, 30), (41, 41), *rng.integers(0, 45, (10, 2)).tolist()]
    warm = [100 + np.arange(num) for num, _ in sizes]
    cold = [200 + np.arange(num) for _, num in sizes]
    merged, is_cold = merge_by_rank(lists_of(warm, 50), lists_of(cold, 45), ranks)
    for row in range(len(sizes)):
        expected = slow_merge(warm[row], cold[row], ranks)
        assert merged.items[row, : len(expected)].tolist() == expected
        assert (merged.items[row, len(expected) :] == PAD).all()
        np.testing.assert_array_equal(is_cold[row], merged.items[row] >= 200)
        np.testing.assert_array_equal(merged.column[row, : len(expected)], np.array(expected) * 10)
        scores = merged.scores[row, : len(expected)]
        assert np.isfinite(scores).all()
        assert (np.diff(scores) <= 0).all()
        kept = merged.items[row, : len(expected)] < 200
        if kept.any():
            np.testing.assert_array_equal(scores[kept], np.arange(kept.sum(), 0, -1))


def test_a_cold_items_score_lies_between_those_of_its_neighbours():
    warm = lists_of([[5, 6, 7]], 3, [[4.0, 3.0, 1.0]])
    merged, _ = merge_by_rank(warm, lists_of([[8, 9, 10]], 3, [[99.0, 98.0, 97.0]]), (2, 4, 5))
    assert merged.items.tolist() == [[5, 8, 6, 9, 10, 7]]
    np.testing.assert_allclose(merged.scores[0], [4, 3.5, 3, 3 - 2 / 3, 3 - 4 / 3, 1], rtol=1e-6)


def test_cold_items_alone_keep_their_scores():
    merged, _ = merge_by_rank(lists_of([[]], 3), lists_of([[8, 9]], 2, [[99.0, 98.0]]), (10,))
    assert merged.items.tolist() == [[8, 9, 0, 0, 0]]
    assert merged.scores[0, :2].tolist() == [99.0, 98.0]


def test_places_repeat_with_the_page():
    assert cold_positions(100, 4, (10, 17)).tolist() == [9, 16, 29, 36]
    assert cold_positions(12, 4, (10, 17)).tolist() == [9, 13, 14, 15]
    assert cold_positions(5, 2, ()).tolist() == [5, 6]


@pytest.mark.parametrize("ranks", [(0,), (21,), (3, 3), (9, 4)])
def test_ranks_that_are_no_pattern_are_refused(ranks):
    with pytest.raises(ValidationError, match="ascending ranks from 1 to 20"):
        RecommenderSettings(temperature=1.0, num_candidates=1, history_length=1, cold_ranks=ranks)
