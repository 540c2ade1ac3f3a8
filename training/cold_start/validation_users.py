"""Validation users as judges of where new items stand, and as if some known items were new to everybody.

What is popular its lovers have had long before validation, unlike a new item, which is still before all of
them. So where known items of a fold play new ones, in the choice of penalty and pull, the judges' events on
them are taken out of what is read, and are what is to be found. The calibration asks them as they are.

Legend: U users, N items, D width, K places of a list.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from recsys.arrays import Bools, Floats, Ints
from recsys.history import History


@dataclass(frozen=True, kw_only=True)
class Past:
    """What the judges did before validation."""

    histories: Sequence[History]
    chosen: Sequence[Ints]  # items of positive events
    embed: Callable[[Sequence[History]], Floats]  # users [., D]


@dataclass(frozen=True, kw_only=True)
class Judges:
    """Validation users: what they are to the towers, what they chose next, what they are not shown again."""

    user_UD: Floats
    truth: Sequence[Ints]
    seen: Sequence[Ints]  # items left out of their lists; empty where repeats may be recommended
    ordered: Ints | None = None  # [U, K], known items as the whole system ranks them; None: as the towers do
    past: Past | None = None  # None: it cannot be told who they were before

    def only(self, users: Sequence[int] | Ints, ordered: Ints | None = None) -> "Judges":
        """Those of them, with the lists that they were given."""
        past = self.past
        return Judges(
            user_UD=self.user_UD[users],
            truth=[self.truth[user] for user in users],
            seen=[self.seen[user] for user in users],
            ordered=ordered,
            past=past
            and Past(
                histories=[past.histories[user] for user in users],
                chosen=[past.chosen[user] for user in users],
                embed=past.embed,
            ),
        )

    def before(self, new_N: Bools) -> "Judges":
        """The same users before anybody had an event on the items `new_N`, all of which they chose is truth.

        Without a past they stay who they are, and what they chose next is truth.
        """
        if self.past is None:
            return self
        parts = zip(self.past.chosen, self.truth, strict=True)
        return Judges(
            user_UD=self.past.embed([history.without_items(new_N) for history in self.past.histories]),
            truth=[np.unique(both[new_N[both]]) for both in map(np.concatenate, parts)],
            seen=[seen[~new_N[seen]] for seen in self.seen],
        )
