"""Batches by length: every item once, limits kept, no padding where none is wanted."""

import numpy as np
import pytest

from features.encoders.batching import length_batches


def test_batches_by_length_stay_within_both_limits() -> None:
    batches = length_batches([5, 1, 9, 2, 2, 30], max_items=3, max_length=18)
    assert batches == [[1, 3, 4], [0, 2], [5]]


def test_items_of_equal_length_alone() -> None:
    batches = length_batches([2, 1, 2, 1, 2, 2], max_items=9, max_length=6, equal=True)
    assert batches == [[1, 3], [0, 2, 4], [5]]


@pytest.mark.parametrize("equal", [False, True])
def test_every_item_once(equal: bool) -> None:
    lengths = np.random.default_rng(0).integers(1, 20, 200).tolist()
    batches = length_batches(lengths, max_items=7, max_length=40, equal=equal)
    assert sorted(at for batch in batches for at in batch) == list(range(200))
    for batch in batches:
        assert len(batch) <= 7
        assert len(batch) == 1 or len(batch) * max(lengths[at] for at in batch) <= 40


def test_nothing_is_no_batch() -> None:
    assert length_batches([], max_items=0, max_length=9) == []
