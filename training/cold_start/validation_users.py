"""Validation users, and the same users before some items existed.

A popular item is bought by its users long before validation; a cold item has no events yet. Where the warm
items of a fold take the part of cold items (the choice of the content regression's settings), the users'
events on these items are therefore removed from their histories, and their items join the ground truth.

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
    ordered: Ints | None = (
        None  # [U, K], warm items as the whole system ranks them; None: by the towers alone
    )
    past: PastInteractions | None = None  # needed by `before`

    def only(self, users: Sequence[int] | Ints, ordered: Ints | None = None) -> "ValidationUsers":
        """The users at these places, with lists `ordered` of the whole system."""
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

    def before(self, new_N: Bools) -> "ValidationUsers":
        """The same users before anybody had an event on the items `new_N`.

        Their ground truth is every one of these items that they chose, before or in validation. Without past
        interactions the users are returned as they are.
        """
        if self.past is None:
            return self
        parts = zip(self.past.chosen, self.ground_truth, strict=True)
        return ValidationUsers(
            user_UD=self.past.embed([history.without_items(new_N) for history in self.past.histories]),
            ground_truth=[np.unique(both[new_N[both]]) for both in map(np.concatenate, parts)],
            seen=[seen[~new_N[seen]] for seen in self.seen],
        )
