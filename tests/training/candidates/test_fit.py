"""Candidate sources beside the towers, counted by hand."""

import numpy as np
from fitting_parts import config, log, media
from model_parts import tiny_history
from scipy.sparse import csr_matrix

from features.inputs.histories import HistoryBuilder, build_maps
from features.inputs.item_features import build_item_features
from features.splits.make import make_split
from recsys.config import RankerConfig
from training.candidates.fit import (
    EVENT_DECAY,
    GAP_DECAY,
    NUM_NEIGHBOURS,
    REACH,
    _table,
    fit_sources,
    source_events,
    transitions,
)
from training.sequences import Sequence, Sequences


def _sequence(items, target=None):
    history = tiny_history(items, review_text={}, profile={})
    return Sequence(history=history, target=np.ones(len(items), bool) if target is None else np.array(target))


def _dense(source, num_items):
    """The table as a matrix."""
    matrix = np.zeros((num_items, num_items))
    rows = np.repeat(np.arange(num_items), source.neighbour.shape[1])
    np.add.at(matrix, (rows, source.neighbour.ravel()), source.weight.ravel())
    return matrix


def test_transitions_are_what_followed_soon_as_a_share_of_all_that_followed():
    rng = np.random.default_rng(0)
    lists = [rng.integers(2, 9, int(rng.integers(1, 12))) for _ in range(20)]
    counted = np.zeros((9, 9))
    for items in lists:
        for first, one in enumerate(items):
            for second, other in enumerate(items):
                if 1 <= second - first <= REACH:
                    counted[one, other] += GAP_DECAY ** (second - first - 1)
    followed = counted.sum(1, keepdims=True)
    expected = np.divide(counted, followed, out=np.zeros_like(counted), where=followed > 0)
    expected /= expected.max(1)[expected.max(1) > 0].mean()
    found = transitions({str(at): _sequence(items) for at, items in enumerate(lists)}, 9)
    np.testing.assert_allclose(_dense(found, 9), expected, atol=1e-6)
    assert found.decay == EVENT_DECAY


def test_what_is_no_target_is_no_transition():
    found = transitions({"a": _sequence([2, 3, 4], [True, False, True])}, 5)
    assert list(zip(*np.nonzero(_dense(found, 5)), strict=True)) == [(2, 4)]
    assert not transitions({}, 5).weight.any()


def test_a_table_keeps_the_heaviest_neighbours_and_ties_by_id():
    width = NUM_NEIGHBOURS + 3
    row = np.r_[np.ones(width - 1), 2.0]
    found = _table("t", csr_matrix(np.stack([row] + [np.zeros(width)] * (width - 1))), decay=1.0)
    np.testing.assert_array_equal(found.neighbour[0], [width - 1, *range(NUM_NEIGHBOURS - 1)])
    np.testing.assert_allclose(found.weight[0], np.r_[1.0, np.full(NUM_NEIGHBOURS - 1, 0.5)])
    assert not found.weight[1:].any()


def _fitted(names):
    data, settings = log(), config()
    split = make_split(data, settings.split)
    facts = split.statistics
    features = build_item_features(data, media(data), train=facts, reviews=split.reviews)
    builder = HistoryBuilder(data, item_ids=features.item_ids, maps=build_maps(data, facts))
    sequences = Sequences(*split.training(builder))
    events = source_events(split, RankerConfig(sources=names))
    found = fit_sources(events, features, sequences, num_threads=1)
    return split, features, found


def test_item_item_is_bm25_of_the_training_events():
    from implicit.nearest_neighbours import bm25_weight

    split, features, (source,) = _fitted(("item_item",))
    events = split.train.filter(split.train["positive"])
    users = {user: at for at, user in enumerate(events["user_id"].unique(maintain_order=True))}
    counts = np.zeros((len(users), features.size))
    rows = [users[user] for user in events["user_id"]]
    np.add.at(counts, (rows, features.item_ids.encode(events["item_id"])), 1.0)
    known = np.flatnonzero(features.trained)
    weighed = bm25_weight(csr_matrix(counts[:, known]).T, 1.2, 0.25).T.toarray()
    expected = np.zeros((features.size, features.size))
    expected[np.ix_(known, known)] = weighed.T @ weighed
    np.fill_diagonal(expected, 0.0)
    expected /= expected.max(1)[expected.max(1) > 0].mean()
    np.testing.assert_allclose(_dense(source, features.size), expected, rtol=1e-4, atol=1e-6)


def test_popularity_offers_everybody_what_has_most_training_events():
    _, features, (source,) = _fitted(("popularity",))
    score_BN = source.scores([tiny_history([3]), tiny_history([])])
    np.testing.assert_allclose(score_BN[0], features.popularity / features.popularity.max())
    np.testing.assert_array_equal(score_BN[0], score_BN[1])
    assert not score_BN[0][~features.trained].any()
