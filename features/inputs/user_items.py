"""Each user's items in order of time: positive training events without their times, kinds and values.

Legend: U users, E events.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from features.dataset.id_encoding import encode
from recsys.arrays import Ints
from recsys.columns import Columns
from recsys.ids import IdMap


@dataclass(frozen=True, kw_only=True, eq=False)
class UserItems:
    """Items of each user's events, oldest first: 4 bytes an event and 8 a user, beside the users' ids."""

    users: pl.Series  # [U] external ids, sorted; each has at least one event
    offsets: Ints  # [U + 1] the events of user u are offsets[u] to offsets[u + 1]
    item: npt.NDArray[np.int32]  # [E] ids of the item map

    @classmethod
    def of_frame(cls, events: pl.DataFrame, item_ids: IdMap) -> "UserItems":
        """From a frame with the columns of `Dataset.interactions`."""
        ordered = events.sort(Columns.USER, Columns.TIMESTAMP, Columns.ROW)
        counts = ordered.group_by(Columns.USER, maintain_order=True).len()
        return cls(
            users=counts[Columns.USER],
            offsets=_offsets(counts["len"].to_numpy()),
            item=encode(ordered[Columns.ITEM], item_ids).astype(np.int32),
        )

    @classmethod
    def of_blocks(cls, names: pl.Series, blocks: Iterable[tuple[Ints, npt.NDArray[np.int32]]]) -> "UserItems":
        """From blocks of events: the place in `names` (sorted) of each event's user, and its item.

        A block holds all events of its users, those of one user side by side, oldest first.
        """
        kept = list(blocks)
        user = np.concatenate([np.empty(0, np.int64), *(users for users, _ in kept)])
        item = np.concatenate([np.empty(0, np.int32), *(items for _, items in kept)])
        item = item[np.argsort(user, kind="stable")]
        counts = np.bincount(user, minlength=len(names))
        present = np.flatnonzero(counts)
        return cls(users=names.gather(present), offsets=_offsets(counts[present]), item=item)

    def __len__(self) -> int:
        return len(self.users)

    @property
    def user_of_event(self) -> npt.NDArray[np.int32]:
        """Place in `users` of each event's user. Shape [E]."""
        return np.repeat(np.arange(len(self), dtype=np.int32), np.diff(self.offsets))


def _offsets(counts: npt.NDArray[np.integer]) -> Ints:
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
