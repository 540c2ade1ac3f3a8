"""Each candidate source against the same counted by hand."""

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from features.inputs.user_items import UserItems
from recsys.arrays import Floats
from recsys.config import (
    ALSConfig,
    EASEConfig,
    ItemItemConfig,
    PopularityConfig,
    RecentConfig,
    TransitionsConfig,
)
from recsys.retrieval.candidate_sources import ItemNeighborSource
from training.candidates import als, ease, item_item, popularity, recent, transitions
from training.candidates.interactions import FitOptions, Interactions
from training.candidates.neighbor_table import neighbor_table

OPTIONS = FitOptions(num_threads=1)
NUM_ITEMS = 9


def interactions(lists: list[list[int]]) -> Interactions:
    """One user a list, whose items are in order of time."""
    events = np.array([item for items in lists for item in items], np.int32)
    offsets = np.cumsum([0, *(len(items) for items in lists)]).astype(np.int64)
    return Interactions(user_items=UserItems(offsets=offsets, item=events), num_items=NUM_ITEMS)


@pytest.fixture
def lists() -> list[list[int]]:
    rng = np.random.default_rng(0)
    return [rng.integers(2, NUM_ITEMS - 1, int(rng.integers(1, 12))).tolist() for _ in range(20)]


def dense(source: ItemNeighborSource) -> Floats:
    """The table as a matrix."""
    matrix = np.zeros((NUM_ITEMS, NUM_ITEMS), np.float32)
    rows = np.repeat(np.arange(NUM_ITEMS), source.neighbor.shape[1])
    np.add.at(matrix, (rows, source.neighbor.ravel()), source.weight.ravel())
    return matrix


def counted(lists: list[list[int]]) -> Floats:
    counts = np.zeros((len(lists), NUM_ITEMS), np.float32)
    for row, items in enumerate(lists):
        np.add.at(counts[row], items, 1.0)
    return counts


def test_interactions_are_counts(lists: list[list[int]]) -> None:
    found = interactions(lists)
    np.testing.assert_array_equal(found.counts_UN.toarray(), counted(lists))
    np.testing.assert_array_equal(found.known_N, counted(lists).any(0))


@pytest.mark.parametrize("block_events", [3, 1000])
def test_transitions_are_what_followed_soon_as_a_share_of_all_that_followed(
    lists: list[list[int]], block_events: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transitions, "BLOCK_EVENTS", block_events)
    settings = TransitionsConfig(reach=3, gap_decay=0.5, event_decay=0.9)
    weight = np.zeros((NUM_ITEMS, NUM_ITEMS))
    for items in lists:
        for first, one in enumerate(items):
            for gap, other in enumerate(items[first + 1 : first + 4], start=1):
                weight[one, other] += 0.5 ** (gap - 1)
    followed = weight.sum(1, keepdims=True)
    expected = np.divide(weight, followed, out=np.zeros_like(weight), where=followed > 0)
    expected /= expected.max(1)[expected.max(1) > 0].mean()
    found = transitions.fit(interactions(lists), settings, OPTIONS)
    np.testing.assert_allclose(dense(found), expected, atol=1e-6)
    assert found.decay == 0.9


def test_a_single_event_is_no_transition() -> None:
    assert not transitions.fit(interactions([[2], [3]]), TransitionsConfig(), OPTIONS).weight.any()


def test_item_item_is_bm25_of_the_counts(lists: list[list[int]]) -> None:
    from implicit.nearest_neighbours import bm25_weight

    counts = counted(lists)
    known = np.flatnonzero(counts.any(0))
    weighted = bm25_weight(csr_matrix(counts[:, known]).T, 1.5, 0.6).T.toarray()
    expected = np.zeros((NUM_ITEMS, NUM_ITEMS))
    expected[np.ix_(known, known)] = weighted.T @ weighted
    np.fill_diagonal(expected, 0.0)
    expected /= expected.max(1)[expected.max(1) > 0].mean()
    found = item_item.fit(interactions(lists), ItemItemConfig(k1=1.5, b=0.6), OPTIONS)
    np.testing.assert_allclose(dense(found), expected, rtol=1e-4, atol=1e-6)
    assert found.decay == 1.0


def test_popularity_is_the_share_of_the_most_popular_items_events(lists: list[list[int]]) -> None:
    found = popularity.fit(interactions(lists), PopularityConfig(), OPTIONS)
    count = counted(lists).sum(0)
    np.testing.assert_allclose(found.score, count / count.max())


def test_factors_of_items_without_an_event_are_zero(lists: list[list[int]]) -> None:
    found = als.fit(interactions(lists), ALSConfig(factors=4, regularization=0.5, alpha=3.0), OPTIONS)
    np.testing.assert_array_equal(found.factor.any(1), counted(lists).any(0))
    assert (found.regularization, found.alpha) == (0.5, 3.0)


def test_a_table_keeps_the_heaviest_neighbors_and_ties_by_id() -> None:
    row = np.r_[np.ones(6), 2.0]
    neighbor, weight = neighbor_table(csr_matrix(np.stack([row] + [np.zeros(7)] * 6)), 4)
    np.testing.assert_array_equal(neighbor[0], [6, 0, 1, 2])
    np.testing.assert_allclose(weight[0], [1.0, 0.5, 0.5, 0.5])
    assert not weight[1:].any()


def ridge_of_the_others(lists: list[list[int]], regularization: float) -> Floats:
    """Column j: the weights of the ridge regression of item j on all other items, which is EASE's problem."""
    ones = (counted(lists) > 0).astype(float)
    weight = np.zeros((NUM_ITEMS, NUM_ITEMS))
    for item in np.flatnonzero(ones.any(0)):
        others = np.flatnonzero(ones.any(0) & (np.arange(NUM_ITEMS) != item))
        x = ones[:, others]
        gram = x.T @ x + regularization * np.eye(len(others))
        weight[others, item] = np.linalg.solve(gram, x.T @ ones[:, item])
    return weight


@pytest.mark.parametrize("block_rows", [2, 1024])
def test_ease_is_a_ridge_regression_of_each_item_on_the_others(
    lists: list[list[int]], block_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ease, "_BLOCK_ROWS", block_rows)
    found, item_K = ease.ease_weights(interactions(lists), EASEConfig(regularization=3.0))
    expected = ridge_of_the_others(lists, 3.0)
    assert item_K.tolist() == np.flatnonzero(counted(lists).any(0)).tolist()
    np.testing.assert_allclose(found, expected[np.ix_(item_K, item_K)], atol=1e-6)
    assert (found < 0).any(), "otherwise the source's cut at 0 is not tested"

    source = ease.fit(interactions(lists), EASEConfig(regularization=3.0, neighbors=4), OPTIONS)
    kept = np.where(expected > 0, expected, 0.0)
    kept[kept < np.sort(kept, axis=1)[:, -4][:, None]] = 0.0
    kept /= kept.max(1)[kept.max(1) > 0].mean()
    np.testing.assert_allclose(dense(source), kept, atol=1e-6)


def test_ease_of_a_large_catalogue_takes_its_most_frequent_items() -> None:
    lists = [[2, 5, 7], [5, 7], [3, 7], [2, 5]]
    found, item_K = ease.ease_weights(interactions(lists), EASEConfig(regularization=1.0, max_items=3))
    assert item_K.tolist() == [2, 5, 7]
    frequent = [[item for item in items if item != 3] for items in lists]
    np.testing.assert_allclose(found, ridge_of_the_others(frequent, 1.0)[np.ix_(item_K, item_K)], atol=1e-6)


def test_ease_without_an_event_has_no_weight() -> None:
    source = ease.fit(interactions([[1]]), EASEConfig(), OPTIONS)
    assert not source.weight.any()


def test_recent_events_and_first_events_are_in_order_of_time() -> None:
    day = 86_400_000_000
    user_items = UserItems(
        offsets=np.array([0, 2, 5]),
        item=np.array([3, 2, 4, 3, 1], np.int32),  # 1 is no item of the catalogue
        time=np.array([5, 9, 1, 7, 8]) * day,
    )
    found = recent.fit(
        Interactions(user_items=user_items, num_items=NUM_ITEMS),
        RecentConfig(half_lives_days=(2.0,)),
        OPTIONS,
    )
    late, new = found
    assert (late.name, new.name) == ("recent_2", "new")
    assert late.item.tolist() == [4, 3, 3, 2]
    assert (late.time // day).tolist() == [1, 5, 7, 9]
    assert new.item.tolist() == [4, 3, 2]
    assert (new.time // day).tolist() == [1, 5, 9]


def test_without_times_nothing_is_recent(lists: list[list[int]]) -> None:
    assert recent.fit(interactions(lists), RecentConfig(), OPTIONS) == ()
