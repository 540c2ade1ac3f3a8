"""Users without a history: the choice between the towers and popularity, and items by popularity.

Legend: B users, N items, L ranks of a list.
"""

from collections.abc import Sequence
from enum import StrEnum

import numpy as np

from recsys.arrays import Bools, Floats, Ints
from recsys.history import History
from recsys.ids import NUM_RESERVED, PAD
from recsys.item_features import ItemArrays
from recsys.retrieval.settings import RecommenderSettings


class AnsweredBy(StrEnum):
    """The model that ordered the warm items of a list."""

    HISTORY = "history"  # retriever and ranker, from the user's events
    RETRIEVAL = "retrieval"  # the retriever alone, from the user's events, since the time had run out
    PROFILE = "profile"  # the retriever alone, from the user's own fields
    POPULARITY = "popularity"  # of items, the same for every user; recent events may count more


def answered_by(history: History, settings: RecommenderSettings) -> AnsweredBy:
    """The model for this user. Events on items outside the catalogue do not count as a history."""
    if (history.item >= NUM_RESERVED).any():
        return AnsweredBy.HISTORY
    if settings.without_events == "towers" and has_profile(history):
        return AnsweredBy.PROFILE
    return AnsweredBy.POPULARITY


def has_profile(history: History) -> bool:
    """Whether any field of the user has a value of the training vocabulary."""
    return any((ids >= NUM_RESERVED).any() for ids in history.profile.values())


class Popularity:
    """Warm items by `ItemArrays.popularity_now`, ties by id.

    The score is log(1 + popularity) / (its maximum * temperature). It has the range of the retriever's score,
    cosine / temperature, so that the diversity weight has the same effect on both.
    """

    def __init__(self, items: ItemArrays, temperature: float) -> None:
        self._score_N = items.log_popularity_now / np.float32(temperature)
        order = np.argsort(-items.popularity_now, kind="stable")
        self._order: Ints = order[items.trained[order] & (order >= NUM_RESERVED)].astype(np.int64)
        self._place_N = np.full(len(items.popularity), len(order), np.int64)
        self._place_N[self._order] = np.arange(len(self._order))

    def top(
        self, num_users: int, length: int, *, excluded: Sequence[Ints] | None, allowed: Bools | None
    ) -> Ints:
        """The `length` most popular items for each user, without `excluded` items. Shape [B, length]."""
        items = self._order if allowed is None else self._order[allowed[self._order]]
        items_BL = np.full((num_users, length), PAD, np.int64)
        for row in range(num_users):
            unseen = items
            if excluded is not None:
                head = items[: length + len(excluded[row])]
                unseen = head[~np.isin(head, excluded[row])]
            items_BL[row, : len(unseen)] = unseen[:length]
        return items_BL

    def sorted(self, item_BK: Ints) -> Ints:
        """Columns of the warm candidates by popularity, then those of all other candidates. Shape [B, K]."""
        return np.argsort(self._place_N[item_BK], axis=1, kind="stable")

    def scores(self, item_BL: Ints) -> Floats:
        """Scores of the items; -inf for padding. Shape [B, L]."""
        score_BL: Floats = np.where(item_BL == PAD, -np.inf, self._score_N[item_BL]).astype(np.float32)
        return score_BL
