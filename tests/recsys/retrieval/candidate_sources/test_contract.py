"""What every candidate source keeps to, against scores of the whole catalogue; merging of lists."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from source_parts import dense_scores, history_of, random_source

from recsys.history import History
from recsys.ids import NUM_RESERVED, PAD, UNKNOWN
from recsys.retrieval.candidate_sources import CandidateSource, load_sources, merge, save_sources

NUM_ITEMS = 60
NAMES = ("als", "item_item", "transitions", "popularity", "recent")


@pytest.fixture(params=NAMES)
def source(request: pytest.FixtureRequest) -> CandidateSource:
    return random_source(request.param, NUM_ITEMS)


def histories(num: int = 12, seed: int = 1) -> list[History]:
    rng = np.random.default_rng(seed)
    lengths = [0, 1, *rng.integers(1, 50, num - 2)]
    return [history_of(*rng.integers(NUM_RESERVED, NUM_ITEMS, length)) for length in lengths]


def expected(
    source: CandidateSource, history: History, k: int, excluded: np.ndarray, allowed: np.ndarray
) -> tuple[list[int], list[float]]:
    """The k best of all scores above 0, by a sort of the whole catalogue; ties by id."""
    score = source.scores([history], np.arange(NUM_ITEMS)[None])[0]
    left = [
        item
        for item in range(NUM_RESERVED, NUM_ITEMS)
        if score[item] > 0 and allowed[item] and item not in excluded
    ]
    best = sorted(left, key=lambda item: (-score[item], item))[:k]
    return best, [float(score[item]) for item in best]


def test_scores_are_those_of_the_whole_catalogue(source: CandidateSource) -> None:
    rng = np.random.default_rng(2)
    users = histories()
    item_BK = rng.integers(0, NUM_ITEMS, (len(users), 30))
    found = source.scores(users, item_BK)
    assert found.dtype == np.float32
    for row, history in enumerate(users):
        dense = dense_scores(source, history)
        np.testing.assert_allclose(found[row], dense[item_BK[row]], rtol=1e-4, atol=1e-5)
    assert not found[item_BK < NUM_RESERVED].any()


@pytest.mark.parametrize("k", [0, 1, 7, NUM_ITEMS + 5])
@pytest.mark.parametrize("share_allowed", [1.0, 0.4, 0.0])
@pytest.mark.parametrize("exclude", [True, False])
def test_candidates_are_the_best_of_the_whole_catalogue(
    source: CandidateSource, k: int, share_allowed: float, exclude: bool
) -> None:
    users = histories()
    allowed = np.random.default_rng(3).random(NUM_ITEMS) < share_allowed
    excluded = [history.seen for history in users] if exclude else None
    items, scores = source.candidates(
        users, k, excluded=excluded, allowed=None if share_allowed == 1.0 else allowed
    )
    assert items.shape == scores.shape == (len(users), k)
    for row, history in enumerate(users):
        seen = history.seen if exclude else history.seen[:0]
        ids, values = expected(source, history, k, seen, allowed)
        num = (items[row] != PAD).sum()
        if source.name == "als":  # sums in another order: items of one score may change places
            assert num == len(ids)
            np.testing.assert_allclose(scores[row, :num], values, rtol=1e-4, atol=1e-5)
            own = source.scores([history], items[row][None])[0]
            np.testing.assert_allclose(own[:num], scores[row, :num], rtol=1e-4, atol=1e-5)
            assert not set(items[row, :num].tolist()) & set(seen.tolist())
            assert allowed[items[row, :num]].all() or share_allowed == 1.0
        else:
            assert items[row, :num].tolist() == ids
            assert scores[row, :num].tolist() == values
        assert (items[row, num:] == PAD).all()
        assert (scores[row, num:] == -np.inf).all()


def test_a_user_alone_gets_the_list_of_the_batch(source: CandidateSource) -> None:
    users = histories()
    excluded = [history.seen for history in users]
    together = source.candidates(users, 9, excluded=excluded)
    for row, history in enumerate(users):
        alone = source.candidates([history], 9, excluded=[history.seen])
        np.testing.assert_allclose(alone[1][0], together[1][row], rtol=1e-5)
        if source.name != "als":
            np.testing.assert_array_equal(alone[0][0], together[0][row])


def test_no_user_is_no_list(source: CandidateSource) -> None:
    items, scores = source.candidates([], 5, excluded=[])
    assert items.shape == scores.shape == (0, 5)
    assert source.scores([], np.zeros((0, 5), np.int64)).shape == (0, 5)


@pytest.mark.parametrize("name", NAMES)
def test_memory_of_a_request_does_not_grow_with_the_catalogue(name: str) -> None:
    few, many = (memory_of_a_request(name, num_items) for num_items in (100_000, 400_000))
    assert many < 1.2 * few, f"{few:,} and {many:,} bytes"


def memory_of_a_request(name: str, num_items: int) -> int:
    """Peak bytes of the second request: arrays that are kept for all requests were made at the first."""
    source = random_source(name, num_items)
    users = [history_of(*range(5, 45))]
    for traced in (False, True):
        if traced:
            tracemalloc.start()
        source.candidates(users, 20, excluded=[users[0].seen])
        source.scores(users, np.arange(NUM_RESERVED, 400)[None])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_a_source_is_read_back(source: CandidateSource, tmp_path: Path) -> None:
    save_sources([source], tmp_path / "sources")
    (read,) = load_sources(tmp_path / "sources")
    users = histories()
    assert (read.name, read.kind) == (source.name, source.kind)
    given = np.tile(np.arange(NUM_ITEMS), (len(users), 1))
    np.testing.assert_array_equal(read.scores(users, given), source.scores(users, given))
    for found, expected in zip(read.candidates(users, 9), source.candidates(users, 9), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_merging_keeps_the_first_list_and_each_item_once() -> None:
    first = np.array([[5, 3, 2], [4, 0, 0]])
    merged = merge(first, [np.array([[3, 7], [4, 2]]), np.array([[7, 9], [0, 0]])])
    np.testing.assert_array_equal(merged, [[5, 3, 2, 7, 9, 0, 0], [4, 0, 0, 2, 0, 0, 0]])


def test_an_item_that_came_after_the_fit_is_like_an_unknown_one(source: CandidateSource) -> None:
    known, rng = histories(4), np.random.default_rng(3)
    new = [history_of(*each.item, NUM_ITEMS + 4) for each in known]
    unknown = [history_of(*each.item, UNKNOWN) for each in known]
    item_BK = rng.integers(0, NUM_ITEMS + 9, (4, 20))
    found, wanted = (source.scores(users, item_BK) for users in (new, unknown))
    np.testing.assert_array_equal(found, wanted)
    assert not found[item_BK >= NUM_ITEMS].any()
    allowed = rng.random(NUM_ITEMS + 9) < 0.5
    lists = (
        source.candidates(new, 9, allowed=allowed),
        source.candidates(unknown, 9, allowed=allowed[:NUM_ITEMS]),
    )
    np.testing.assert_array_equal(lists[0][0], lists[1][0])
    np.testing.assert_array_equal(lists[0][1], lists[1][1])
