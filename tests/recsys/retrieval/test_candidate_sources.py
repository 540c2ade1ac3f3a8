"""Candidate sources: scores by hand, merging, and what is read back."""

import numpy as np
import pytest

from recsys.errors import BundleError
from recsys.history import History
from recsys.retrieval.candidate_sources import (
    Factors,
    Neighbours,
    load_sources,
    merge,
    save_sources,
)


def _history(*items):
    num = len(items)
    return History(
        item=np.array(items, np.int64),
        timestamp=np.arange(num),
        event=np.full(num, 2),
        value=np.full(num, np.nan, np.float32),
        seen=np.array(sorted(set(items)), np.int64),
    )


def _neighbours(decay=0.5):
    neighbour, weight = np.zeros((6, 2), np.int32), np.zeros((6, 2), np.float32)
    neighbour[2], weight[2] = [3, 4], [1.0, 0.5]
    neighbour[3], weight[3] = [4, 0], [2.0, 0.0]
    return Neighbours(name="near", neighbour=neighbour, weight=weight, decay=decay)


def test_neighbours_are_a_mean_in_which_old_events_count_less():
    """2 then 3: weights 1/3 and 2/3; item 3 gets 1/3 * 1, item 4 gets 1/3 * 0.5 + 2/3 * 2."""
    score = _neighbours().scores([_history(2, 3), _history(), _history(1, 5)])
    np.testing.assert_allclose(score[0], [0, 0, 0, 1 / 3, 1.5, 0], rtol=1e-6)
    assert not score[1:].any()


def test_what_decay_has_made_nothing_is_not_read():
    """Ten events halve the weight each: the eleventh from the end counts less than a thousandth."""
    old = _history(2, *[5] * 12)
    assert not _neighbours(decay=0.5).scores([old]).any()
    assert _neighbours(decay=1.0).scores([old])[0, 3] == pytest.approx(1 / 13)


def test_factors_solve_a_user_as_implicit_does():
    from implicit.cpu.als import AlternatingLeastSquares
    from scipy.sparse import csr_matrix

    rng = np.random.default_rng(0)
    counts = rng.poisson(0.5, (30, 12)).astype(np.float32)
    counts[:, :2] = 0
    model = AlternatingLeastSquares(factors=4, regularization=0.3, alpha=2.0, random_state=0, num_threads=1)
    model.fit(csr_matrix(counts), show_progress=False)
    factor = model.item_factors.copy()
    factor[:2] = 0
    model.item_factors[:2] = 0
    model._YtY = None
    users = model.recalculate_user(np.arange(30), csr_matrix(counts))
    source = Factors(name="als", factor=factor, regularization=0.3, alpha=2.0)
    histories = [_history(*np.repeat(np.arange(12), row.astype(int))) for row in counts]
    expected = np.maximum(users @ factor.T, 0)
    np.testing.assert_allclose(source.scores(histories), expected, rtol=1e-3, atol=1e-4)


def test_merging_keeps_the_first_list_and_each_item_once():
    first = np.array([[5, 3, 2], [4, 0, 0]])
    merged = merge(first, [np.array([[3, 7], [4, 2]]), np.array([[7, 9], [0, 0]])])
    np.testing.assert_array_equal(merged, [[5, 3, 2, 7, 9, 0, 0], [4, 0, 0, 2, 0, 0, 0]])


def test_sources_are_read_back(tmp_path):
    rng = np.random.default_rng(2)
    sources = [
        _neighbours(),
        Factors(name="als", factor=rng.normal(size=(6, 3)).astype(np.float32), regularization=0.1, alpha=2.0),
    ]
    save_sources(sources, tmp_path / "sources")
    history = _history(2, 3, 3)
    for ours, read in zip(sources, load_sources(tmp_path / "sources"), strict=True):
        assert ours.name == read.name
        np.testing.assert_array_equal(ours.scores([history]), read.scores([history]))


@pytest.mark.parametrize("damage", ["gone", "no json", "unknown kind", "an array is gone"])
def test_damaged_sources_are_told(tmp_path, damage):
    folder = tmp_path / "sources"
    save_sources([_neighbours()], folder)
    listed = folder / "sources.json"
    if damage == "gone":
        listed.unlink()
    elif damage == "no json":
        listed.write_text("[")
    elif damage == "unknown kind":
        listed.write_text(listed.read_text().replace('"neighbours"', '"oracle"'))
    else:
        (folder / "near.weight.npy").unlink()
    with pytest.raises(BundleError, match="candidate sources"):
        load_sources(folder)
