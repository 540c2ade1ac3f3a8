"""Popularity with a half-life: by hand, chosen where it helps, and the order for users without events."""

import numpy as np
import pytest
from model_parts import tiny_history, tiny_schema

from recsys.history import History
from recsys.ids import NUM_RESERVED
from recsys.item_features import ItemArrays
from recsys.retrieval import Recommender, RecommenderSettings, build_index
from training.fitting.recent_popularity import choose_half_life, decayed_counts
from training.sequences import TrainingSequence

DAY = 86_400_000_000
NUM = 12


def sequence(items: list[int], days: list[float], target: list[bool] | None = None) -> TrainingSequence:
    history = tiny_history(items)
    times = {"timestamp": np.array([int(day * DAY) for day in days], np.int64)}
    arrays = {**{name: getattr(history, name) for name in ("item", "event", "value")}, **times}
    return TrainingSequence(
        history=History.of(arrays, seen=np.unique(items)),
        target=np.ones(len(items), np.bool_) if target is None else np.array(target),
    )


def items_of(popularity: np.ndarray, recent: np.ndarray | None = None) -> ItemArrays:
    vectors = np.eye(NUM, 4, dtype=np.float32) + 0.1
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[:NUM_RESERVED] = 0
    return ItemArrays(
        vectors=vectors,
        tokens=np.zeros((NUM, 1, 4), np.float16),
        token_mask=np.ones((NUM, 1), np.bool_),
        trained=np.arange(NUM) >= NUM_RESERVED,
        popularity=popularity.astype(np.float32),
        recent_popularity=recent,
    )


def test_events_lose_half_of_their_weight_in_a_half_life() -> None:
    sequences = {
        "a": sequence([3, 4, 3], [0.0, 10.0, 20.0]),
        "b": sequence([4, 5], [15.0, 20.0], target=[True, False]),
    }
    found = decayed_counts(sequences, NUM, 5.0)
    expected = np.zeros(NUM)
    expected[3], expected[4] = 2.0**-4 + 1.0, 2.0**-2 + 2.0**-1
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert decayed_counts({}, NUM, 5.0).tolist() == [0.0] * NUM


@pytest.mark.parametrize("recent_matters", [True, False])
def test_a_half_life_is_chosen_where_it_is_clearly_better(recent_matters: bool) -> None:
    draw = np.random.default_rng(0)
    old, new = np.arange(2, 7), np.arange(7, 12)
    sequences = {
        f"u{at}": sequence(
            [*draw.choice(old, 4).tolist(), *draw.choice(new, 2).tolist()], [1, 2, 3, 4, 99, 100]
        )
        for at in range(60)
    }
    counts = decayed_counts(sequences, NUM, 1e9)
    wanted = new if recent_matters else old
    truth = [draw.choice(wanted, 2, replace=False) for _ in range(40)]
    seen = [draw.choice(np.setdiff1d(np.arange(2, 12), each), 1) for each in truth]
    found = choose_half_life(items_of(counts), sequences, truth, seen, (1000.0, 20.0))
    assert found.days == (20.0 if recent_matters else None)
    assert "half-life of" in found.reason
    few = choose_half_life(items_of(counts), sequences, truth[:20], seen[:20], (20.0,))
    assert (few.days, "30 are needed" in few.reason) == (None, True)
    assert choose_half_life(items_of(counts), sequences, truth, seen, ()).days is None


def test_users_without_events_get_the_items_of_now() -> None:
    counts, recent = np.arange(NUM, dtype=np.float32), np.arange(NUM, dtype=np.float32)[::-1].copy()
    settings = RecommenderSettings(temperature=0.1, num_candidates=5, history_length=3, cold_ranks=())

    def listed(items: ItemArrays) -> list[int]:
        recommender = Recommender(
            items=items,
            schema=tiny_schema(),
            settings=settings,
            embed_users=lambda inputs: np.ones((len(inputs["length"]), 4), np.float32),
            rank=None,
            index=build_index("exact", items.vectors),
        )
        found: list[int] = recommender.recommend([None], 4).items[0].tolist()
        return found

    assert listed(items_of(counts)) == [11, 10, 9, 8]
    assert listed(items_of(counts, recent)) == [2, 3, 4, 5]
