"""Choices on validation that take the standard error into account.

The rule of one standard error (Breiman, Friedman, Olshen and Stone 1984, section 3.4.3): of the options whose
result is within one standard error of the best, the simplest is taken. Here the error is that of the paired
difference over users.
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


def simplest_within_error(value_U: Mapping[Option, Doubles]) -> Option:
    """The first of the options, from the simplest on, that the best one is not clearly better than.

    `value_U` has the results of each option for the same users, higher is better.
    """
    best = max(value_U, key=lambda option: float(value_U[option].mean()) if len(value_U[option]) else 0.0)
    return next(option for option in value_U if not is_clear(value_U[best] - value_U[option]))
