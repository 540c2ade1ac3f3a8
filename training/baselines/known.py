"""The known events of users at test time, and the base class of baselines that score the catalogue."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import polars as pl
from scipy.sparse import csr_matrix

from features.dataset import encode
from features.inputs import UserItems
from features.splits import Split
from recsys.arrays import Bools, Floats, Ints
from recsys.columns import Columns
from recsys.errors import DataError
from recsys.item_features import ItemFeatures
from recsys.retrieval import top_k
from training.candidates import Interactions
from training.evaluation import seen_lists

Seen = Mapping[str, Ints] | None  # items to leave out by user; None leaves nothing out


@dataclass(frozen=True, kw_only=True, eq=False)
class KnownEvents:
    """The positive training and validation events of every user, oldest first.

    The last row has no events; users who are not in `row_of` get that row.
    """

    row_of: Mapping[str, int]
    offsets: Ints  # [U + 2]
    item: Ints  # [E] item ids
    time: Ints  # [E]
    is_validation: Bools  # [E]; no model was fitted on validation events
    num_items: int  # N
    seen: Seen

    @classmethod
    def of(cls, split: Split, items: ItemFeatures, *, seen: Seen) -> "KnownEvents":
        """The events before the test of `split`; items of `seen` are left out of the lists."""
        columns = [Columns.USER, Columns.ITEM, Columns.TIMESTAMP, Columns.ROW]
        events = pl.concat(
            part.filter(Columns.POSITIVE).select(*columns, pl.lit(is_validation).alias("is_validation"))
            for part, is_validation in ((split.train, False), (split.validation, True))
        ).sort(Columns.USER, Columns.TIMESTAMP, Columns.ROW)
        counts = events.group_by(Columns.USER, maintain_order=True).len()
        ends = np.cumsum(counts["len"].to_numpy()).astype(np.int64)
        return cls(
            row_of={user: row for row, user in enumerate(counts[Columns.USER])},
            offsets=np.concatenate([[0], ends, ends[-1:] if len(ends) else [0]]).astype(np.int64),
            item=encode(events[Columns.ITEM], items.item_ids),
            time=events[Columns.TIMESTAMP].to_numpy(),
            is_validation=events["is_validation"].to_numpy(),
            num_items=items.size,
            seen=seen,
        )

    def without(self, hidden_N: Bools) -> "KnownEvents":
        """The same users without their events on the items `hidden_N`; `seen` is unchanged."""
        keep = ~hidden_N[self.item]
        kept_before = np.concatenate([[0], np.cumsum(keep)])
        return replace(
            self,
            offsets=kept_before[self.offsets],
            item=self.item[keep],
            time=self.time[keep],
            is_validation=self.is_validation[keep],
        )

    def rows(self, users: Sequence[str]) -> Ints:
        without_events = len(self.row_of)
        return np.array([self.row_of.get(user, without_events) for user in users], np.int64)

    def events(self, users: Sequence[str], *, keep_N: Bools, last: int | None = None) -> csr_matrix:
        """Counts of each user's events on the items `keep_N`, of the newest `last` of them. Shape [U, N]."""
        rows = self.rows(users)
        length = self.offsets[rows + 1] - self.offsets[rows]
        user = np.repeat(np.arange(len(users)), length)
        place = np.arange(len(user)) - np.repeat(np.cumsum(length) - length, length)
        event = np.repeat(self.offsets[rows], length) + place
        keep = keep_N[self.item[event]]
        user, event = user[keep], event[keep]
        if last is not None:
            kept = np.bincount(user, minlength=len(users))
            from_end = np.repeat(np.cumsum(kept), kept) - np.arange(len(user))
            user, event = user[from_end <= last], event[from_end <= last]
        ones = np.ones(len(user), np.float32)
        return csr_matrix((ones, (user, self.item[event])), shape=(len(users), self.num_items))

    def last_time(self, users: Sequence[str]) -> tuple[Ints, Bools]:
        """Time of each user's newest event, 0 without events, and whether there is one. Shapes [U], [U]."""
        rows = self.rows(users)
        has_any = self.offsets[rows + 1] > self.offsets[rows]
        times = np.append(self.time, 0)  # so that the index -1 is valid without any event
        return np.where(has_any, times[self.offsets[rows + 1] - 1], 0), has_any


class ScoringModel(ABC):
    """A `TopK` that scores the whole catalogue; items with the score -inf are never recommended."""

    name: str
    _known: KnownEvents

    @abstractmethod
    def score(self, users: Sequence[str]) -> Floats:
        """Scores of all items. Shape [U, N]; the caller may overwrite them."""

    def recommend(self, users: Sequence[str], k: int, *, allowed: Bools | None) -> Ints:
        seen = self._known.seen
        lists = None if seen is None else seen_lists(seen, users)
        return top_k(self.score(users), k, allowed=allowed, excluded=lists)[0]

    def with_known_events(self, known: KnownEvents) -> Self:
        """The same parameters of items with other known events of users."""
        other = copy.copy(self)
        other._known = known
        return other


def train_interactions(split: Split, items: ItemFeatures) -> Interactions:
    """Positive training events, on which matrix models are fitted; raises `DataError` without any."""
    user_items = UserItems.of(split.positive_training(items.item_ids))
    if not len(user_items):
        raise DataError("no positive training event: there is nothing to factorise")
    return Interactions(user_items=user_items, num_items=items.size)


def train_rows(split: Split) -> dict[str, int]:
    """Row of each user in `Interactions.counts_UN`."""
    users = split.train.filter(Columns.POSITIVE)[Columns.USER].unique().sort()
    return {user: row for row, user in enumerate(users)}
