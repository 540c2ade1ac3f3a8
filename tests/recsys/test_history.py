"""Padding, cutting and masks, worked out by hand."""

import numpy as np
import pytest

from recsys.history import History, SequenceSchema, collate
from recsys.ids import PAD, UNKNOWN, IdMap
from recsys.item_features import ItemFeatures

NAN = float("nan")


def history(items: list[int], **changes: object) -> History:
    count = len(items)
    fields: dict[str, object] = {
        "item": np.array(items, np.int64),
        "timestamp": np.arange(count, dtype=np.int64) * 2_500_000 + 10_000_000,
        "event": np.full(count, 2, np.int64),
        "value": np.full(count, NAN, np.float32),
    }
    return History(**(fields | changes))  # type: ignore[arg-type]


def schema(**changes: object) -> SequenceSchema:
    fields: dict[str, object] = {
        "max_length": 3,
        "has_clock": True,
        "num_event_kinds": 3,
        "value_mean": 3.0,
        "value_std": 2.0,
        "review_text_dim": 0,
        "review_audio_dim": 0,
        "profile_sizes": {},
    }
    return SequenceSchema(**(fields | changes))  # type: ignore[arg-type]


@pytest.fixture
def features() -> ItemFeatures:
    return ItemFeatures(
        item_ids=IdMap(["a", "b"]),
        dense={"title": np.arange(8, dtype=np.float32).reshape(4, 2)},
        present={"title": np.array([False, False, True, False])},
        categories={"genre": np.array([[0, 0], [0, 0], [2, 3], [2, 0]])},
        category_ids={"genre": IdMap(["x", "y"])},
        trained=np.array([False, False, True, False]),
        popularity=np.array([0, 0, 5, 0], np.float32),
    )


def test_an_untrained_item_has_the_unknown_id_row(features: ItemFeatures) -> None:
    assert features.id_rows().tolist() == [PAD, UNKNOWN, 2, UNKNOWN]
    assert features.size == 4


def test_graph_inputs_pick_the_rows(features: ItemFeatures) -> None:
    inputs = features.graph_inputs(np.array([3, 2]))
    assert {name: array.tolist() for name, array in inputs.items()} == {
        "dense_title": [[6.0, 7.0], [4.0, 5.0]],
        "has_title": [False, True],
        "cat_genre": [[2, 0], [2, 3]],
    }


def test_batches_are_padded_on_the_right() -> None:
    batch = collate([history([5, 6]), history([7])], schema())
    assert batch.item.tolist() == [[5, 6], [7, 0]]
    assert batch.length.tolist() == [2, 1]
    assert batch.inputs["event_kind"].tolist() == [[2, 2], [2, 0]]


def test_the_newest_events_are_kept() -> None:
    batch = collate([history([5, 6, 7, 8, 9])], schema())
    assert batch.item.tolist() == [[7, 8, 9]]
    assert batch.length.tolist() == [3]


def test_time_is_whole_seconds_since_the_first_event_of_the_window() -> None:
    assert collate([history([5, 6, 7, 8])], schema()).inputs["event_time"].tolist() == [[0, 2, 5]]


def test_positions_give_no_time() -> None:
    batch = collate([history([5, 6])], schema(has_clock=False))
    assert batch.inputs["event_time"].tolist() == [[0, 0]]


def test_values_are_scaled_and_missing_ones_masked() -> None:
    inputs = collate([history([5, 6], value=np.array([7.0, NAN], np.float32))], schema()).inputs
    assert inputs["event_value"].tolist() == [[2.0, 0.0]]
    assert inputs["has_value"].tolist() == [[True, False]]


def test_reviews_move_with_their_events_when_the_window_is_cut() -> None:
    vectors = {at: np.full(2, at, np.float32) for at in (0, 2, 4)}
    inputs = collate([history([5, 6, 7, 8, 9], review_text=vectors)], schema(review_text_dim=2)).inputs
    assert inputs["has_review_text"].tolist() == [[True, False, True]]
    assert inputs["review_text"].tolist() == [[[2, 2], [0, 0], [4, 4]]]
    assert "review_audio" not in inputs


def test_profiles_are_cut_and_padded() -> None:
    people = [history([5], profile={"job": np.array([2, 3, 4])}), history([5])]
    inputs = collate(people, schema(profile_sizes={"job": 6}, profile_width=2)).inputs
    assert inputs["profile_job"].tolist() == [[2, 3], [0, 0]]


def test_empty_histories_still_have_a_shape() -> None:
    batch = collate([history([]), history([])], schema(review_audio_dim=4))
    assert batch.item.shape == (2, 1)
    assert batch.length.tolist() == [0, 0]
    assert batch.inputs["review_audio"].shape == (2, 1, 4)


def test_the_dtypes_are_those_of_the_graph() -> None:
    inputs = collate([history([5])], schema(review_text_dim=2, profile_sizes={"job": 3})).inputs
    assert {name: array.dtype.name for name, array in inputs.items()} == {
        "event_kind": "int64",
        "event_time": "int64",
        "event_value": "float32",
        "has_value": "bool",
        "review_text": "float32",
        "has_review_text": "bool",
        "profile_job": "int64",
    }


def test_last_keeps_seen_and_profile_whole() -> None:
    whole = history([5, 6, 7], seen=np.array([3, 5, 6, 7]), profile={"job": np.array([2])})
    last = whole.last(1)
    assert (last.item.tolist(), last.seen.tolist()) == ([7], [3, 5, 6, 7])
    assert last.profile["job"].tolist() == [2]
    assert whole.last(9).item.tolist() == [5, 6, 7]
    assert len(whole.last(0)) == 0
