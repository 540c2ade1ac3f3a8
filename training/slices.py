"""Figures of parts of a test: by how popular what was sought is, and by how much is known of a user.

Shape suffixes: U users, N items, K ranks.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from recsys.batches import Bools, Floats, Ints
from recsys.metrics import IdLists, at_k
from training.answers import Answers
from training.evaluation import Estimate, estimate

NEW_BELOW = 5  # items known of a user who counts as new
FEW_USERS = 30  # below them an interval says little
DIFFERENCE = "difference"


@dataclass(frozen=True, kw_only=True)
class Slice:
    """One part of the test: whom it counts, and every model's estimates."""

    name: str
    description: str
    num_users: int
    num_pairs: int
    models: Mapping[str, Mapping[str, Estimate]] = field(default_factory=dict)  # empty without users

    @property
    def is_small(self) -> bool:
        return self.num_users < FEW_USERS


def differences(
    answers: Answers, truth: IdLists, ours: str, k: int, metric: str, others: Iterable[str] | None = None
) -> dict[str, Estimate]:
    """How much more of `metric` our model has than each other one, over the users with truth.

    Differences are taken user by user, so that their interval is that of a paired comparison. Empty
    where nobody has truth.
    """
    rows = np.flatnonzero(truth.counts)
    names = [name for name in others or answers.models if name != ours]
    if not len(rows):
        return {}
    values = _values(answers, _rows_of(truth, rows), rows, [ours, *names], k)
    gaps = {name: {metric: values[ours][metric] - values[name][metric]} for name in names}
    return {name: by[metric] for name, by in estimate(gaps).items()}


def by_popularity(answers: Answers, popularity_N: Floats, models: Sequence[str], k: int) -> tuple[Slice, ...]:
    """The warm truth in thirds of its items by training popularity, then the new items.

    Items of one popularity stay together, so the thirds are only about that. All rank the whole catalogue.
    """
    truth = answers.warm
    counts = popularity_N[np.unique(truth.ids)]
    slices = []
    if len(counts):
        lower, upper = (int(np.sort(counts)[-(-len(counts) * third // 3) - 1]) for third in (1, 2))
        value = popularity_N[truth.ids]
        parts = {
            "popular": (value > upper, f"items with more than {upper:,} positive training events"),
            "middle": ((value > lower) & (value <= upper), f"items with {_span(lower + 1, upper)} of them"),
            "rare": (value <= lower, f"items with at most {lower:,}"),
        }
        slices = [
            _slice(name, words, answers, _only(truth, keep), models, k)
            for name, (keep, words) in parts.items()
        ]
    words = "items without a training or validation event"
    return (*slices, _slice("new", words, answers, answers.cold, models, k))


def by_history(answers: Answers, truth: IdLists, models: Sequence[str], k: int) -> tuple[Slice, ...]:
    """The users with truth by how many items are known of them; the middle splits light from heavy."""
    known = answers.num_seen
    rest = known[(truth.counts > 0) & (known >= NEW_BELOW)]
    middle = int(np.median(rest)) if len(rest) else NEW_BELOW
    parts = {
        "new": (known < NEW_BELOW, f"users with fewer than {NEW_BELOW} known items"),
        "light": ((known >= NEW_BELOW) & (known <= middle), f"users with {_span(NEW_BELOW, middle)}"),
        "heavy": ((known >= NEW_BELOW) & (known > middle), f"users with more than {middle:,}"),
    }
    row = np.repeat(np.arange(len(truth)), truth.counts)
    return tuple(
        _slice(name, words, answers, _only(truth, keep[row]), models, k)
        for name, (keep, words) in parts.items()
    )


def _slice(
    name: str, description: str, answers: Answers, truth: IdLists, models: Sequence[str], k: int
) -> Slice:
    rows = np.flatnonzero(truth.counts)
    counted = Slice(name=name, description=description, num_users=len(rows), num_pairs=len(truth.ids))
    if not len(rows):
        return counted
    values = _values(answers, _rows_of(truth, rows), rows, models, k)
    if len(models) == 2:
        ours, other = (values[model] for model in models)
        values[DIFFERENCE] = {metric: ours[metric] - other[metric] for metric in ours}
    return Slice(**vars(counted) | {"models": estimate(values)})


def _values(
    answers: Answers, truth: IdLists, rows: Ints, models: Iterable[str], k: int
) -> dict[str, dict[str, Floats]]:
    """Metrics at `k` of every user in `rows`; a model's shorter lists miss what they lack."""
    values = {}
    for name in models:
        ranked_UK = answers.models[name][rows]
        missing = max(k - ranked_UK.shape[1], 0)
        values[name] = at_k(np.pad(ranked_UK, ((0, 0), (0, missing))), truth, [k])
    return values


def _only(lists: IdLists, keep: Bools) -> IdLists:
    """The entries where `keep` is true; as many lists."""
    row = np.repeat(np.arange(len(lists)), lists.counts)
    return IdLists.from_pairs(row[keep], lists.ids[keep], len(lists))


def _rows_of(lists: IdLists, rows: Ints) -> IdLists:
    return IdLists.from_lists([lists.ids[lists.offsets[row] : lists.offsets[row + 1]] for row in rows])


def _span(low: int, high: int) -> str:
    return f"{low:,}" if low >= high else f"{low:,} to {high:,}"
