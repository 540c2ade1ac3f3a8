from itertools import pairwise

import numpy as np
import pytest

from recsys.errors import RecsysError
from recsys.ids import NUM_RESERVED
from recsys.metrics.ranking import IdLists
from recsys.retrieval.topk import mask_excluded, top_k, top_k_of_lists


def _slow(scores, ids, k, *, allowed=None, excluded=()):
    """One user's list by sorting everything; `excluded` holds columns."""
    left = [
        column
        for column in range(len(scores))
        if ids[column] >= NUM_RESERVED
        and scores[column] > -np.inf
        and (allowed is None or allowed[column])
        and column not in excluded
    ]
    best = sorted(left, key=lambda column: (-scores[column], ids[column]))[:k]
    missing = k - len(best)
    return [ids[at] for at in best] + [0] * missing, [scores[at] for at in best] + [-np.inf] * missing


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("k", [1, 7, 25, 40])
@pytest.mark.parametrize("as_id_lists", [True, False])
def test_equals_the_slow_reference_on_tied_integer_scores(seed, k, as_id_lists):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 4, (30, 25)).astype(np.float32)
    scores[rng.random(scores.shape) < 0.3] = -np.inf
    allowed = rng.random(25) < 0.8
    excluded = [np.sort(rng.choice(np.arange(2, 25), rng.integers(0, 9), replace=False)) for _ in scores]
    expected = [
        _slow(row, range(25), k, allowed=allowed, excluded=out)
        for row, out in zip(scores, excluded, strict=True)
    ]
    given = IdLists.from_lists(excluded) if as_id_lists else excluded
    found, best = top_k(scores.copy(), k, allowed=allowed, excluded=given)
    np.testing.assert_array_equal(found, [ids for ids, _ in expected])
    np.testing.assert_array_equal(best, [values for _, values in expected])


def test_shorter_lists_are_prefixes():
    scores = np.random.default_rng(3).integers(0, 3, (20, 60)).astype(np.float32)
    found = {k: top_k(scores.copy(), k)[0] for k in (1, 5, 20, 58, 70)}
    for short, long in pairwise(found):
        np.testing.assert_array_equal(found[short], found[long][:, :short])


def test_ids_of_columns_stand_for_them():
    scores = np.array([[3, 3, 1, 3]], np.float32)
    found, best = top_k(scores, 3, ids_N=np.array([1, 5, 8, 9]), excluded=[np.array([3])])
    np.testing.assert_array_equal(found, [[5, 8, 0]])
    np.testing.assert_array_equal(best, [[3, 1, -np.inf]])


@pytest.mark.parametrize("k", [2, 6, 9])
def test_lists_of_candidates_equal_the_slow_reference(k):
    rng = np.random.default_rng(7)
    items = np.stack([rng.permutation(12)[:6] for _ in range(20)])
    scores = rng.integers(0, 3, items.shape).astype(np.float32)
    scores[rng.random(scores.shape) < 0.2] = -np.inf
    excluded = [rng.choice(12, 3, replace=False) for _ in items]
    found, best = top_k_of_lists(items, scores, k, excluded=excluded)
    for row, (ids, values, out) in enumerate(zip(items, scores, excluded, strict=True)):
        columns = np.flatnonzero(np.isin(ids, out))
        expected, expected_scores = _slow(values, ids, k, excluded=columns)
        np.testing.assert_array_equal(found[row], expected)
        np.testing.assert_array_equal(best[row], expected_scores)


@pytest.mark.parametrize("choose", [top_k, lambda score, k: top_k_of_lists(np.array([[2, 3]] * 2), score, k)])
def test_nan_is_refused(choose):
    with pytest.raises(RecsysError, match="NaN among the scores of user row 1"):
        choose(np.array([[0, 1], [0, np.nan]], np.float32), 1)


def test_nothing_to_choose_from_is_padding():
    found, best = top_k(np.zeros((2, 0), np.float32), 3)
    assert not found.any()
    assert np.isneginf(best).all()
    assert top_k(np.zeros((0, 5), np.float32), 3)[0].shape == (0, 3)


def test_excluded_and_not_allowed_scores_take_the_given_value():
    scores = np.ones((2, 4), np.float32)
    allowed = np.array([True, True, False, True])
    mask_excluded(scores, allowed=allowed, excluded=[np.array([0]), np.array([], np.int64)], value=0.0)
    np.testing.assert_array_equal(scores, [[0, 1, 0, 1], [1, 1, 0, 1]])


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("num_excluded", [0, 2])
@pytest.mark.parametrize("k", [0, 1, 5])
def test_the_best_columns_of_one_long_list_equal_the_slow_reference(seed, num_excluded, k):
    rng = np.random.default_rng(seed)
    items = rng.permutation(np.arange(60))[None]
    scores = rng.integers(0, 9, (1, 60)).astype(np.float32)
    scores[rng.random(scores.shape) < 0.2] = -np.inf
    best = np.argsort(-scores[0], kind="stable")[:num_excluded]
    excluded = [np.sort(items[0, best])]  # the best of all, so that further ones are needed
    columns = [at for at, item in enumerate(items[0]) if item in excluded[0]]
    expected = _slow(scores[0], items[0], k, excluded=columns)
    found, values = top_k_of_lists(items, scores, k, excluded=excluded)
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(values[0], expected[1])
