"""Scores without single past items, against scores that are computed by hand."""

from typing import Any

import numpy as np
import pytest
from model_parts import tiny_history, tiny_schema

from recsys.ids import NUM_RESERVED
from recsys.item_features import ItemArrays
from recsys.retrieval import Recommender, RecommenderSettings, build_index, by_leave_one_out, score_drops

NUM, DIM, NUM_COLD = 60, 5, 10
HISTORY = tiny_history([3, 4, 5, 4, 9])


def rank(inputs: Any) -> dict[str, Any]:
    """Attends to the newest event alone, and scores by the sum of the history."""
    past = inputs["history_vector"].sum(1)
    attention = np.zeros(
        (*inputs["candidate_vector"].shape[:2], inputs["history_vector"].shape[1]), np.float32
    )
    attention[..., :] = np.linspace(0.1, 0.5, attention.shape[-1])
    return {
        "score": np.einsum("bkd,bd->bk", inputs["candidate_vector"], past).astype(np.float32),
        "token_attention": inputs["candidate_token_mask"] / 3.0,
        "history_attention": attention * inputs["history_mask"][:, None],
    }


@pytest.fixture(scope="module")
def recommender() -> Recommender:
    draw = np.random.default_rng(0)
    vectors = draw.standard_normal((NUM, DIM)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[:NUM_RESERVED] = 0
    items = ItemArrays(
        vectors=vectors,
        tokens=draw.standard_normal((NUM, 3, DIM)).astype(np.float16),
        token_mask=np.ones((NUM, 3), np.bool_),
        trained=(np.arange(NUM) >= NUM_RESERVED) & (np.arange(NUM) < NUM - NUM_COLD),
        popularity=np.arange(NUM, dtype=np.float32),
    )

    def embed(inputs: Any) -> Any:
        mean = inputs["event_vector"].sum(1)
        return (mean / np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), 1e-6)).astype(np.float32)

    return Recommender(
        items=items,
        schema=tiny_schema(),
        settings=RecommenderSettings(temperature=0.1, num_candidates=50, history_length=5, cold_ranks=(2,)),
        embed_users=embed,
        rank=rank,
        index=build_index("exact", vectors),
    )


def score(recommender: Recommender, past: list[int], item: int) -> float:
    vectors = recommender.items.vectors.astype(np.float64)
    mean = vectors[past].sum(0)
    tower = float(mean @ vectors[item]) / float(np.linalg.norm(mean)) / 0.1
    return tower + (float(vectors[past].sum(0) @ vectors[item]) if item < NUM - NUM_COLD else 0.0)


def test_own_scores_of_warm_and_cold_items(recommender: Recommender) -> None:
    items = np.array([[7, 8, NUM - 1], [20, NUM - 2, 3]])
    found = recommender.item_scores([HISTORY, tiny_history([12, 13])], items)
    expected = [
        [score(recommender, past, item) for item in row]
        for past, row in zip(([3, 4, 5, 4, 9], [12, 13]), items.tolist(), strict=True)
    ]
    np.testing.assert_allclose(found, expected, atol=1e-4)
    popular = recommender.item_scores([None, HISTORY], np.array([[10, 30], [7, 8]]))
    assert popular[0, 1] > popular[0, 0]
    np.testing.assert_allclose(popular[1], expected[0][:2], atol=1e-4)


def test_drops_are_differences_of_scores(recommender: Recommender) -> None:
    items, past = np.array([7, 30, NUM - 1]), np.array([3, 4, 9])
    found = score_drops(recommender, HISTORY, items, past)
    for row, left_out in enumerate(past.tolist()):
        rest = [item for item in (3, 4, 5, 4, 9) if item != left_out]
        for column, item in enumerate(items.tolist()):
            expected = score(recommender, [3, 4, 5, 4, 9], item) - score(recommender, rest, item)
            assert found[row, column] == pytest.approx(expected, abs=1e-4)
    assert np.isnan(score_drops(recommender, tiny_history([3, 3]), items, np.array([3]))).all()


def test_a_list_is_explained_by_what_its_scores_are_owed_to(recommender: Recommender) -> None:
    listed = recommender.recommend([HISTORY, HISTORY], 6)
    found = by_leave_one_out(recommender, HISTORY, listed, 1)
    np.testing.assert_array_equal(found.items, listed.items[1:])
    assert found.history_attention is not None
    assert found.history_items is not None
    drops = np.maximum(score_drops(recommender, HISTORY, found.items[0], np.array([3, 4, 5, 9])), 0.0)
    named = np.zeros((6, 4))
    for column, item in enumerate((3, 4, 5, 9)):
        named[:, column] = found.history_attention[0][:, found.history_items[0] == item].sum(1)
    np.testing.assert_allclose(named, drops.T, atol=1e-6)
    few = by_leave_one_out(recommender, HISTORY, listed, 0, num=1)
    assert few.history_attention is not None
    assert (few.history_attention[0] > 0).any(0).sum() <= 1, "one past item was left out"


def test_the_only_past_item_and_a_list_without_attention_stay(recommender: Recommender) -> None:
    one = tiny_history([3])
    listed = recommender.recommend([one], 5)
    found = by_leave_one_out(recommender, one, listed)
    np.testing.assert_array_equal(found.history_attention, listed.history_attention)
    alone = recommender.without_ranker().recommend([HISTORY], 5)
    assert by_leave_one_out(recommender, HISTORY, alone).history_attention is None
