"""Owners of items: an item with an owner is visible to that user alone, every other item to everybody.

Visibility is a mask of allowed items, which retrieval takes like every other restriction.

Legend: B users, N items.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from recsys.arrays import Bools, Ints
from recsys.history import History
from recsys.ids import NUM_RESERVED
from recsys.retrieval.recommendations import Recommendations, interleave
from recsys.retrieval.recommender import IsLate, Recommender

_NOBODY, _HIDDEN = 0, -1


class Owners:
    """Which items of a catalogue a user may see. Owners have the ids of users; all characters count."""

    def __init__(self, owners: Sequence[str | None], removed: Bools | None = None) -> None:
        """`owners` of the items by ascending id, without the reserved ids; None is no owner.

        The items `removed`, in the same order, are visible to no user.
        """
        self.names = tuple(owners)
        names = dict.fromkeys(name for name in owners if name is not None)
        self._number_of = {name: number for number, name in enumerate(names, _NOBODY + 1)}
        numbers = [_NOBODY if name is None else self._number_of[name] for name in owners]
        self._owner_N: Ints = np.array([_HIDDEN] * NUM_RESERVED + numbers, np.int64)
        self._any_removed = removed is not None and bool(removed.any())
        if removed is not None:
            self._owner_N[NUM_RESERVED:][removed] = _HIDDEN

    @property
    def has_owners(self) -> bool:
        """Whether any item has an owner."""
        return bool(self._number_of)

    def __bool__(self) -> bool:
        """Whether any item is hidden from any user."""
        return self.has_owners or self._any_removed

    def visible(self, user: str | None) -> Bools | None:
        """The items that `user` may see [N]; None: all of them. A user of None owns nothing."""
        return self._visible(self._number(user)) if self else None

    def owner_of(self, item: int) -> str | None:
        """Who owns the item, None where nobody does."""
        return self.names[item - NUM_RESERVED]

    def visible_history(self, user: str | None, history: History) -> History:
        """`history` without the items that `user` may not see."""
        visible_N = self.visible(user)
        if visible_N is None:
            return history
        hidden_N = ~visible_N
        hidden_N[:NUM_RESERVED] = False  # unknown items and padding are nobody's
        return history.without_items(hidden_N)

    def by_visibility(
        self, users: Sequence[str | None], allowed: Bools | None
    ) -> Iterator[tuple[Ints, Bools | None]]:
        """Rows of `users` that may see the same items, and these items of `allowed` [N]."""
        if not self:
            yield np.arange(len(users)), allowed
            return
        number_B = np.array([self._number(user) for user in users], np.int64)
        for number in np.unique(number_B).tolist():
            visible_N = self._visible(number)
            yield np.flatnonzero(number_B == number), visible_N if allowed is None else visible_N & allowed

    def _number(self, user: str | None) -> int:
        return _NOBODY if user is None else self._number_of.get(user, _NOBODY)

    def _visible(self, number: int) -> Bools:
        visible_N: Bools = (self._owner_N == _NOBODY) | (self._owner_N == number)
        return visible_N


def recommend_visible(
    recommender: Recommender,
    owners: Owners,
    users: Sequence[str | None],
    histories: Sequence[History | None],
    k: int,
    *,
    exclude_seen: bool = True,
    allowed: Bools | None = None,
    diversity: float = 0.0,
    is_late: IsLate | None = None,
) -> Recommendations:
    """`Recommender.recommend` for `users` [B] and their histories, of the items that each of them may see."""

    def of_rows(rows: Ints) -> IsLate | None:
        return None if is_late is None else lambda own: is_late(rows[own])

    parts = [
        (
            rows,
            recommender.recommend(
                [histories[row] for row in rows],
                k,
                exclude_seen=exclude_seen,
                allowed=visible_N,
                diversity=diversity,
                is_late=of_rows(rows),
            ),
        )
        for rows, visible_N in owners.by_visibility(users, allowed)
    ]
    return interleave(parts, len(users))
