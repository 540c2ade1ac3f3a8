"""Padding, cutting and masks, worked out by hand."""

from dataclasses import fields

import numpy as np
import pytest

from recsys.history import EVENT_FIELDS, REVIEW_FIELDS, History, SequenceSchema, collate
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
        "number_scales": {"value": (3.0, 2.0)},
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


def full() -> History:
    """Five events with every field, reviews of two kinds, a seen item without an event at hand, a profile."""
    return history(
        [3, 5, 4, 7, 5],
        event=np.array([2, 3, 2, 3, 2]),
        value=np.array([1.0, NAN, 3.0, 4.0, 5.0], np.float32),
        review_text={at: np.full(2, at, np.float32) for at in (0, 1, 2, 4)},
        review_audio={3: np.ones(3, np.float32)},
        seen=np.array([3, 4, 5, 7, 9]),
        profile={"job": np.array([2]), "town": np.empty(0, np.int64)},
    )


def test_a_slice_keeps_the_users_seen_items_and_profile_and_copies_nothing() -> None:
    whole = full()
    cut = whole.slice(1, 4)
    assert cut.item.tolist() == [5, 4, 7]
    assert {at: vector[0] for at, vector in cut.review_text.items()} == {0: 1, 1: 2}
    assert list(cut.review_audio) == [2]
    assert cut.seen is whole.seen
    assert cut.profile is whole.profile
    for name in EVENT_FIELDS:
        assert np.shares_memory(cut.events[name], whole.events[name]), name
        np.testing.assert_array_equal(cut.events[name], whole.events[name][1:4])


def test_slice_last_and_take_are_the_same_cut() -> None:
    mask = np.array([False, False, True, True, True])
    cuts = [full().slice(2, 5), full().last(3), full().take(mask), full().take(np.array([2, 3, 4]))]
    arrays = [cut.to_arrays() for cut in cuts]
    for other in arrays[1:]:
        assert other.keys() == arrays[0].keys()
        for name, array in other.items():
            np.testing.assert_array_equal(array, arrays[0][name])


def test_items_that_are_taken_out_leave_events_reviews_and_seen() -> None:
    whole = full()
    left = whole.without_items(np.isin(np.arange(30), [5, 7]))
    for name in EVENT_FIELDS:
        np.testing.assert_array_equal(left.events[name], whole.events[name][[0, 2]])
    assert {at: vector[0] for at, vector in left.review_text.items()} == {0: 0, 1: 2}
    assert left.review_audio == {}
    assert left.seen.tolist() == [3, 4, 9]
    assert left.profile == whole.profile


def test_an_empty_history_has_every_field_and_keeps_the_profile() -> None:
    nobody = History.empty({"job": np.array([4])})
    assert len(nobody) == len(nobody.seen) == 0
    assert {name: array.dtype.name for name, array in nobody.events.items()} == {
        "item": "int64", "event": "int64", "timestamp": "int64", "value": "float32"
    }  # fmt: skip
    assert nobody.profile["job"].tolist() == [4]
    assert History.empty().profile == {}


def test_arrays_come_back_as_the_same_history() -> None:
    for whole in (full(), History.empty({"job": np.array([4])}), full().slice(1, 1)):
        arrays = whole.to_arrays()
        again = History.from_arrays(arrays).to_arrays()
        assert again.keys() == arrays.keys()
        for name, array in again.items():
            np.testing.assert_array_equal(array, arrays[name])
            assert array.dtype == arrays[name].dtype


def test_every_event_field_is_an_attribute_of_its_own() -> None:
    assert set(EVENT_FIELDS) < {field.name for field in fields(History)}
    assert set(REVIEW_FIELDS) < {field.name for field in fields(History)}
