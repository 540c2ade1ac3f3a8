"""Parts of a test: by the popularity of the held-out items, and by the length of the user's history.

Shape suffixes: N items, P pairs of the ground truth.
"""

import numpy as np

from recsys.arrays import Floats, Ints
from training.evaluation.ground_truth import GroundTruth, Part

# Users with fewer known items are in the slice "new". A constant, so that slices of different runs compare.
FEW_ITEMS = 5


def slices_of(ground_truth: GroundTruth, popularity_N: Floats) -> dict[str, dict[str, Part]]:
    """`{"items": {"hot", "warm", "tail", "cold"}, "users": {"no history", "new", "light", "heavy"}}`."""
    return {"items": by_item(ground_truth, popularity_N), "users": by_user(ground_truth)}


def by_item(ground_truth: GroundTruth, popularity_N: Floats) -> dict[str, Part]:
    """The pairs on warm items in thirds by the training popularity of the item, then the pairs on cold items.

    Items of equal popularity are in the same third, so the thirds have only about the same size. Where most
    pairs are on items of one popularity, a third can be empty.
    """
    value_P = popularity_N[ground_truth.item]
    is_cold_P = ground_truth.is_cold
    lower, upper = _thirds(value_P[~is_cold_P].astype(np.int64))
    parts = {
        "hot": (value_P > upper, f"items with more than {upper:,} positive training events"),
        "warm": ((value_P > lower) & (value_P <= upper), f"items with {_span(lower + 1, upper)} of them"),
        "tail": (value_P <= lower, f"other warm items, with at most {lower:,} of them"),
    }
    found = {name: ground_truth.part(words, keep & ~is_cold_P) for name, (keep, words) in parts.items()}
    return found | {"cold": ground_truth.part("items without a training or validation event", is_cold_P)}


def by_user(ground_truth: GroundTruth) -> dict[str, Part]:
    """Users by number of known items: none, below `FEW_ITEMS`, up to the median of the rest, above it.

    Only pairs on warm items count, or pairs on cold items where the test has no others.
    """
    keep_P = ground_truth.is_cold if ground_truth.is_cold.all() else ~ground_truth.is_cold
    known_P = ground_truth.num_seen[ground_truth.row]
    rest = ground_truth.num_seen[np.unique(ground_truth.row[keep_P & (known_P >= FEW_ITEMS)])]
    middle = int(np.median(rest)) if len(rest) else FEW_ITEMS
    parts = {
        "no history": (known_P == 0, "users without a known item"),
        "new": ((known_P > 0) & (known_P < FEW_ITEMS), f"users with {_span(1, FEW_ITEMS - 1)} known items"),
        "light": ((known_P >= FEW_ITEMS) & (known_P <= middle), f"users with {_span(FEW_ITEMS, middle)}"),
        "heavy": ((known_P >= FEW_ITEMS) & (known_P > middle), f"users with more than {middle:,}"),
    }
    return {name: ground_truth.part(words, keep & keep_P) for name, (keep, words) in parts.items()}


def _thirds(value_P: Ints) -> tuple[int, int]:
    """The largest value of the lowest third, and of the lowest two thirds."""
    if not len(value_P):
        return 0, 0
    in_order = np.sort(value_P)
    lower, upper = (int(in_order[-(-len(in_order) * third // 3) - 1]) for third in (1, 2))
    return lower, upper


def _span(low: int, high: int) -> str:
    return f"{low:,}" if low >= high else f"{low:,} to {high:,}"
