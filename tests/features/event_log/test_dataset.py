"""Statistics of an event log, read a partition at a time."""

from collections.abc import Iterator

import numpy as np
import pytest

from features.event_log.dataset import nth_smallest


@pytest.mark.parametrize("spread", [1, 3, 10_000_000_000])
def test_the_value_in_a_place_is_that_of_the_sorted_whole(spread: int) -> None:
    rng = np.random.default_rng(0)
    values = rng.integers(-5, 40, 300) * spread

    def parts() -> Iterator[np.ndarray]:
        return iter(np.split(values, [0, 17, 200]))

    for place in (0, 1, 150, 298, 299):
        found = nth_smallest(parts, place, int(values.min()), int(values.max()))
        assert found == np.sort(values)[place]
