"""Choices within the standard error."""

import numpy as np
import pytest

from recsys.metrics import best_if_clear, is_clear, standard_error


def test_the_standard_error_of_a_mean() -> None:
    assert standard_error(np.array([0.0, 1.0, 2.0, 3.0])) == pytest.approx(np.sqrt(5 / 3) / 2)
    assert standard_error(np.array([1.0])) == np.inf


@pytest.mark.parametrize(
    ("gain", "expected"),
    [
        ([1.0, 1.0], True),
        ([0.0, 0.0], False),
        ([0.0, 2.0], False),
        ([0.1, 2.0], True),
        ([1.0], False),
        ([], False),
    ],
)
def test_a_gain_is_clear_above_its_standard_error(gain: list[float], expected: bool) -> None:
    assert is_clear(np.array(gain)) is expected


def test_the_first_option_is_kept_within_the_error_of_the_best() -> None:
    simple, noisy, clear = np.array([0.5, 0.5, 0.5]), np.array([0.0, 0.5, 1.3]), np.array([0.7, 0.7, 0.8])
    assert best_if_clear({"simple": simple, "noisy": noisy}) == "simple"
    assert best_if_clear({"simple": simple, "noisy": noisy, "clear": clear}) == "clear"
    assert best_if_clear({"simple": simple, "worse": simple - 0.1}) == "simple"
