"""Scores of candidate sources by hand."""

import numpy as np
import pytest
from source_parts import history_of

from recsys.retrieval.candidate_sources import FactorSource, ItemNeighborSource, PopularitySource
from recsys.retrieval.index.build import build_index

ALL = np.arange(6)[None]


def neighbors(decay: float = 0.5) -> ItemNeighborSource:
    neighbor, weight = np.zeros((6, 2), np.int32), np.zeros((6, 2), np.float32)
    neighbor[2], weight[2] = [3, 4], [1.0, 0.5]
    neighbor[3], weight[3] = [4, 0], [2.0, 0.0]
    return ItemNeighborSource(name="near", neighbor=neighbor, weight=weight, decay=decay)


def test_neighbors_are_a_mean_in_which_old_events_count_less() -> None:
    """2 then 3: shares 1/3 and 2/3; item 3 gets 1/3 * 1, item 4 gets 1/3 * 0.5 + 2/3 * 2."""
    histories = [history_of(2, 3), history_of(), history_of(1, 5)]
    score = neighbors().scores(histories, np.repeat(ALL, 3, axis=0))
    np.testing.assert_allclose(score[0], [0, 0, 0, 1 / 3, 1.5, 0], rtol=1e-6)
    assert not score[1:].any()
    items, scores = neighbors().candidates(histories, 3)
    np.testing.assert_array_equal(items, [[4, 3, 0], [0, 0, 0], [0, 0, 0]])
    np.testing.assert_allclose(scores[0], [1.5, 1 / 3, -np.inf], rtol=1e-6)


def test_an_event_of_almost_no_weight_is_not_read() -> None:
    """Ten events halve the weight each: the eleventh from the end counts less than a thousandth."""
    old = history_of(2, *[5] * 12)
    assert not neighbors(decay=0.5).scores([old], ALL).any()
    assert neighbors(decay=1.0).scores([old], ALL)[0, 3] == pytest.approx(1 / 13)


def test_factors_solve_a_user_as_implicit_does() -> None:
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
    source = FactorSource(name="als", index=build_index("exact", factor), regularization=0.3, alpha=2.0)
    histories = [history_of(*np.repeat(np.arange(12), row.astype(int))) for row in counts]
    found = source.scores(histories, np.tile(np.arange(12), (30, 1)))
    np.testing.assert_allclose(found, np.maximum(users @ factor.T, 0), rtol=1e-3, atol=1e-4)


def test_popularity_looks_further_where_its_head_is_seen_or_filtered() -> None:
    score = np.array([0, 0, 0.5, 1.0, 0.5, 0.0, 0.25, 0.75], np.float32)
    source = PopularitySource(name="popularity", score=score)
    histories = [history_of(), history_of(3, 7, 2), history_of(5)]
    excluded = [history.seen for history in histories]
    items, _ = source.candidates(histories, 2, excluded=excluded)
    np.testing.assert_array_equal(items, [[3, 7], [4, 6], [3, 7]])
    allowed = np.isin(np.arange(8), [5, 6, 7])
    items, _ = source.candidates(histories, 2, excluded=excluded, allowed=allowed)
    np.testing.assert_array_equal(items, [[7, 6], [6, 0], [7, 6]])
