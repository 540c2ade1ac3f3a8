"""Validation users, and the same users before some items existed.

The settings of the content regression are chosen on warm items that are treated as cold items. Users have
events on these warm items before validation, but none on cold items. The events on the warm items are
therefore removed from the users' histories, and the items of the removed events join the ground truth.

Legend: U users, N items, D width, K ranks of a list.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from recsys.arrays import Bools, Floats, Ints
from recsys.history import History


@dataclass(frozen=True, kw_only=True)
class PastInteractions:
    """Interactions of the validation users before validation."""

    histories: Sequence[History]
    chosen: Sequence[Ints]  # items of positive events
    embed: Callable[[Sequence[History]], Floats]  # user vectors [., D]


@dataclass(frozen=True, kw_only=True)
class ValidationUsers:
    """Vectors, ground truth and seen items of validation users."""

    user_UD: Floats
    ground_truth: Sequence[Ints]
    seen: Sequence[Ints]  # items excluded from their lists; empty where repeats may be recommended
    # [U, K]: warm items in the order of the full system; None: lists of the towers alone are used.
    ordered: Ints | None = None
    past: PastInteractions | None = None  # needed by `before`

    def only(self, users: Sequence[int] | Ints, ordered: Ints | None = None) -> "ValidationUsers":
        """The users at the indices `users`, with the lists `ordered` of the full system."""
        past = self.past
        return ValidationUsers(
            user_UD=self.user_UD[users],
            ground_truth=[self.ground_truth[user] for user in users],
            seen=[self.seen[user] for user in users],
            ordered=ordered,
            past=past
            and PastInteractions(
                histories=[past.histories[user] for user in users],
                chosen=[past.chosen[user] for user in users],
                embed=past.embed,
            ),
        )

    def before(self, removed_N: Bools) -> "ValidationUsers":
        """The same users without their events on the items `removed_N`.

        A user's ground truth is the set of the items of `removed_N` that the user chose before validation or
        in it. Without past interactions the users are returned unchanged.
        """
        if self.past is None:
            return self
        parts = zip(self.past.chosen, self.ground_truth, strict=True)
        histories = [history.without_items(removed_N) for history in self.past.histories]
        return ValidationUsers(
            user_UD=self.past.embed(histories),
            ground_truth=[np.unique(both[removed_N[both]]) for both in map(np.concatenate, parts)],
            seen=[seen[~removed_N[seen]] for seen in self.seen],
            past=PastInteractions(
                histories=histories,
                chosen=[chosen[~removed_N[chosen]] for chosen in self.past.chosen],
                embed=self.past.embed,
            ),
        )
