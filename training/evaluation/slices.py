"""Parts of a test: by how popular what is sought is, and by how much is known of the user.

Shape suffixes: N items, P pairs sought.
"""

import numpy as np

from recsys.arrays import Floats, Ints
from training.evaluation.ground_truth import Part, Truth

NEW_BELOW = 5  # items known of a user who counts as new


def slices_of(truth: Truth, popularity_N: Floats) -> dict[str, dict[str, Part]]:
    """`{"items": {"hot": ..., "warm", "tail", "cold"}, "users": {"new": ..., "light", "heavy"}}`."""
    return {"items": by_item(truth, popularity_N), "users": by_user(truth)}


def by_item(truth: Truth, popularity_N: Floats) -> dict[str, Part]:
    """The pairs on items with a past in thirds by the items' training popularity, then the cold items'.

    Items of one popularity stay together, so the thirds are only about that; where most pairs are on
    items of one popularity, a third can be empty.
    """
    value_P = popularity_N[truth.item]
    lower, upper = _thirds(value_P[~truth.is_cold].astype(np.int64))
    parts = {
        "hot": (value_P > upper, f"items with more than {upper:,} positive training events"),
        "warm": ((value_P > lower) & (value_P <= upper), f"items with {_span(lower + 1, upper)} of them"),
        "tail": (value_P <= lower, f"other items with a past, with at most {lower:,} of them"),
    }
    found = {name: truth.part(words, keep & ~truth.is_cold) for name, (keep, words) in parts.items()}
    return found | {"cold": truth.part("items without a training or validation event", truth.is_cold)}


def by_user(truth: Truth) -> dict[str, Part]:
    """The users by how many items are known of them; the middle of the others splits light from heavy.

    They seek what the first view counts: items with a past, or cold ones where nobody seeks others.
    """
    keep_P = truth.is_cold if truth.is_cold.all() else ~truth.is_cold
    known_P = truth.num_seen[truth.row]
    rest = truth.num_seen[np.unique(truth.row[keep_P & (known_P >= NEW_BELOW)])]
    middle = int(np.median(rest)) if len(rest) else NEW_BELOW
    parts = {
        "new": (known_P < NEW_BELOW, f"users with fewer than {NEW_BELOW} known items"),
        "light": ((known_P >= NEW_BELOW) & (known_P <= middle), f"users with {_span(NEW_BELOW, middle)}"),
        "heavy": ((known_P >= NEW_BELOW) & (known_P > middle), f"users with more than {middle:,}"),
    }
    return {name: truth.part(words, keep & keep_P) for name, (keep, words) in parts.items()}


def _thirds(value_P: Ints) -> tuple[int, int]:
    """The values up to which the lowest third and the lowest two thirds reach."""
    if not len(value_P):
        return 0, 0
    in_order = np.sort(value_P)
    lower, upper = (int(in_order[-(-len(in_order) * third // 3) - 1]) for third in (1, 2))
    return lower, upper


def _span(low: int, high: int) -> str:
    return f"{low:,}" if low >= high else f"{low:,} to {high:,}"
