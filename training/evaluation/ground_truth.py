"""What is to be found in a test, and the parts of it that are counted.

Shape suffixes: U users of the test, P pairs of a user and an item sought, N items.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from features.splits.split import Split
from recsys.arrays import Bools, Ints
from recsys.columns import Columns
from recsys.errors import DataError
from recsys.ids import NUM_RESERVED, UNKNOWN
from recsys.item_features import ItemFeatures
from recsys.metrics.ranking import IdLists
from training.evaluation.predictions import Predictions


@dataclass(frozen=True, kw_only=True)
class Part:
    """Users with something to find here, and what that is."""

    description: str
    rows: Ints  # of the test's users
    truth: IdLists  # by place in `rows`; no list is empty
    num_ranked: int  # items that could be recommended


@dataclass(frozen=True, kw_only=True)
class Truth:
    """Pairs to be found, repeats already out."""

    users: tuple[str, ...]
    row: Ints  # [P] of `users`
    item: Ints  # [P]
    cold: Bools  # [N] items of the catalogue without a training or validation event
    seen: IdLists | None  # by row of `users`; None: the seen may be recommended
    num_seen: Ints  # [U] items known of each user
    counts: dict[str, int]

    @property
    def is_cold(self) -> Bools:
        """Whether the item of each pair is cold. Shape [P]."""
        return self.cold[self.item]

    def part(self, description: str, keep: Bools, *, num_ranked: int | None = None) -> Part:
        """The pairs where `keep` [P] is true; the whole catalogue is ranked unless `num_ranked` is given."""
        rows, row = np.unique(self.row[keep], return_inverse=True)
        return Part(
            description=description,
            rows=rows,
            truth=IdLists.from_pairs(row, self.item[keep], len(rows)),
            num_ranked=self.counts["catalogue_items"] if num_ranked is None else num_ranked,
        )

    def answered(self, models: Mapping[str, Ints]) -> Predictions:
        """What the models answered over the whole catalogue beside what was sought."""
        warm, cold = (
            IdLists.from_pairs(self.row[keep], self.item[keep], len(self.users))
            for keep in (~self.is_cold, self.is_cold)
        )
        return Predictions(users=self.users, num_seen=self.num_seen, warm=warm, cold=cold, models=models)


def truth_of(split: Split, items: ItemFeatures, seen: Mapping[str, Ints], exclude_seen: bool) -> Truth:
    """The test positives of `split`; pairs that the user has seen are counted, out with `exclude_seen`."""
    positives = split.test.filter(Columns.POSITIVE).select(Columns.USER, Columns.ITEM).unique()
    users = sorted(set(positives[Columns.USER].to_list()))
    row_of = {user: row for row, user in enumerate(users)}
    row = np.array([row_of[user] for user in positives[Columns.USER]], np.int64)
    item = items.item_ids.encode(positives[Columns.ITEM])
    if (item == UNKNOWN).any():
        name = positives[Columns.ITEM][int((item == UNKNOWN).argmax())]
        raise DataError(f"test item {name!r} is not in the catalogue; take it into the items or set it aside")
    lists = seen_lists(seen, users)
    repeated = lists.contain_pairs(row, item)
    keep = ~repeated if exclude_seen else np.ones_like(repeated)
    kept_rows, kept_row = np.unique(row[keep], return_inverse=True)
    kept_users = [users[at] for at in kept_rows]
    cold = np.ones(items.size, np.bool_)
    # What validation holds was known before the test: such an item is hardly trained, yet not new.
    cold[split.known_items(items.item_ids)] = False
    cold[:NUM_RESERVED] = False
    kept_seen = seen_lists(seen, kept_users)
    return Truth(
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
            "catalogue_items": len(items.item_ids),
            "cold_items": int(cold.sum()),
        },
    )


def seen_lists(seen: Mapping[str, Ints], users: Iterable[str]) -> IdLists:
    """The seen items of `users`, in their order; none for a user without an entry."""
    return IdLists.from_lists([seen.get(user, np.empty(0, np.int64)) for user in users])
