"""Choices on validation that take the standard error into account.

As the rule of one standard error (Breiman, Friedman, Olshen and Stone 1984, section 3.4.3), with the error of
the paired difference over users: the simplest option is taken unless the best one is better by more than it.
benchmarks/robust_choice.py compares it with other rules.
"""

from collections.abc import Mapping
from typing import TypeVar

import numpy as np

from recsys.metrics.ranking import Doubles

Option = TypeVar("Option")


def standard_error(difference_U: Doubles) -> float:
    """Of the mean of `difference_U`; infinite with fewer than two users."""
    if len(difference_U) < 2:
        return float("inf")
    return float(difference_U.std(ddof=1) / np.sqrt(len(difference_U)))


def is_clear(gain_U: Doubles) -> bool:
    """Whether the mean of the paired differences is above its standard error."""
    return len(gain_U) >= 2 and float(gain_U.mean()) > standard_error(gain_U)


def best_if_clear(value_U: Mapping[Option, Doubles]) -> Option:
    """The option with the highest mean, if it is clearly better than the first one, the simplest."""
    simplest = next(iter(value_U))
    best = max(value_U, key=lambda option: float(value_U[option].mean()) if len(value_U[option]) else 0.0)
    return best if is_clear(value_U[best] - value_U[simplest]) else simplest
