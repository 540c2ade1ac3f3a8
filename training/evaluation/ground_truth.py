"""The ground truth of a test, and the parts of it for which results are given.

Shape suffixes: U users of the test, P pairs of a user and a held-out item, N items.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from features.splits import Split
from recsys.arrays import Bools, Ints
from recsys.columns import Columns
from recsys.errors import DataError
from recsys.ids import NUM_RESERVED, UNKNOWN
from recsys.item_features import ItemFeatures
from recsys.metrics import IdLists
from training.evaluation.predictions import Predictions


@dataclass(frozen=True, kw_only=True)
class EvaluationSet:
    """The data of an evaluation: a split, the catalogue, and the seen items."""

    split: Split
    items: ItemFeatures
    seen: Mapping[
        str, Ints
    ]  # user -> items of events of any kind before the test; no entry without a history


@dataclass(frozen=True, kw_only=True)
class Part:
    """Some pairs of the ground truth, grouped by user."""

    description: str
    rows: Ints  # of the test users: the users with a pair in this part
    ground_truth: IdLists  # by place in `rows`; no list is empty
    num_ranked: int  # items that could be recommended


@dataclass(frozen=True, kw_only=True)
class GroundTruth:
    """The held-out pairs; without repeats where seen items are left out of every list."""

    users: tuple[str, ...]
    row: Ints  # [P] of `users`
    item: Ints  # [P]
    cold: Bools  # [N] items of the catalogue without a training or validation event
    seen: IdLists | None  # by row of `users`; None: seen items may be recommended
    num_seen: Ints  # [U] known items of each user; 0: a user without a history
    counts: dict[str, int]

    @classmethod
    def of(cls, data: EvaluationSet, *, exclude_seen: bool) -> "GroundTruth":
        """The test positives of the split. With `exclude_seen`, repeats are counted and left out."""
        split, items = data.split, data.items
        positives = split.test.filter(Columns.POSITIVE).select(Columns.USER, Columns.ITEM).unique()
        users = sorted(set(positives[Columns.USER].to_list()))
        row_of = {user: row for row, user in enumerate(users)}
        row = np.array([row_of[user] for user in positives[Columns.USER]], np.int64)
        item = _items_before_test(positives[Columns.ITEM].to_list(), items)
        repeated = seen_lists(data.seen, users).contain_pairs(row, item)
        keep = ~repeated if exclude_seen else np.ones_like(repeated)
        kept_rows, kept_row = np.unique(row[keep], return_inverse=True)
        kept_users = [users[at] for at in kept_rows]
        cold = _cold_items(split, items)
        kept_seen = seen_lists(data.seen, kept_users)
        return cls(
            users=tuple(kept_users),
            row=kept_row.astype(np.int64),
            item=item[keep],
            cold=cold,
            seen=kept_seen if exclude_seen else None,
            num_seen=kept_seen.counts,
            counts={
                "test_events": split.test.height,
                "test_pairs": len(row),
                "repeats": int(repeated.sum()),
                "repeats_dropped": int((~keep).sum()),
                "users_in_test": len(users),
                "users_counted": len(kept_users),
                "users_without_history": int((kept_seen.counts == 0).sum()),
                "catalogue_items": len(items.item_ids),
                "cold_items": int(cold.sum()),
            },
        )

    @property
    def is_cold(self) -> Bools:
        """Whether the item of each pair is cold. Shape [P]."""
        return self.cold[self.item]

    @property
    def not_measured(self) -> str:
        """The reason why the test has no user to measure on; empty where it has one."""
        counts = self.counts
        if self.users:
            return ""
        if not counts["test_events"]:
            return "the split has no test event: no user has enough events for one to be held out"
        if not counts["test_pairs"]:
            return f"none of the {counts['test_events']:,} test events is positive"
        return (
            f"all {counts['repeats_dropped']:,} test pairs are repeats of items that their users had seen, "
            "which evaluate.exclude_seen = true leaves out of every list"
        )

    def part(self, description: str, keep: Bools, *, num_ranked: int | None = None) -> Part:
        """The pairs where `keep` [P] is true; the whole catalogue is ranked unless `num_ranked` is given."""
        rows, row = np.unique(self.row[keep], return_inverse=True)
        return Part(
            description=description,
            rows=rows,
            ground_truth=IdLists.from_pairs(row, self.item[keep], len(rows)),
            num_ranked=self.counts["catalogue_items"] if num_ranked is None else num_ranked,
        )

    def with_lists(self, models: Mapping[str, Ints]) -> Predictions:
        """The lists [U, K] of each model over the whole catalogue, beside the ground truth."""
        warm, cold = (
            IdLists.from_pairs(self.row[keep], self.item[keep], len(self.users))
            for keep in (~self.is_cold, self.is_cold)
        )
        return Predictions(users=self.users, num_seen=self.num_seen, warm=warm, cold=cold, models=models)


def seen_lists(seen: Mapping[str, Ints], users: Iterable[str]) -> IdLists:
    """The seen items of each of `users`, in order; none for a user without an entry."""
    return IdLists.from_lists([seen.get(user, np.empty(0, np.int64)) for user in users])


def _items_before_test(names: list[str], items: ItemFeatures) -> Ints:
    item = items.item_ids.encode(names)
    if (item == UNKNOWN).any():
        name = names[int((item == UNKNOWN).argmax())]
        raise DataError(
            f"test item {name!r} is not in the catalogue; add it to the items, or drop its events"
        )
    return item


def _cold_items(split: Split, items: ItemFeatures) -> Bools:
    """Items without a training or validation event; both come before the test. Shape [N]."""
    cold = np.ones(items.size, np.bool_)
    cold[split.items_before_test(items.item_ids)] = False
    cold[:NUM_RESERVED] = False
    return cold
