"""Each user's items in order of time: positive training events without their kinds and values.

Legend: U users, E events.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from features.splits import PositiveEvents
from recsys.arrays import Ints


@dataclass(frozen=True, kw_only=True, eq=False)
class UserItems:
    """Items of each user's events, oldest first: 4 bytes an event and 8 a user; with times 12 an event."""

    offsets: Ints  # [U + 1] of the users of `PositiveEvents.user`: u has events offsets[u] to offsets[u + 1]
    item: npt.NDArray[np.int32]  # [E] ids of the item map
    time: Ints | None = None  # [E] microseconds; None where no candidate source reads times

    @classmethod
    def of(cls, blocks: Iterable[PositiveEvents], *, with_times: bool = False) -> "UserItems":
        """From all blocks of `Split.positive_training`."""
        users, items, times = [np.empty(0, np.int32)], [np.empty(0, np.int32)], [np.empty(0, np.int64)]
        for block in blocks:
            users.append(block.user.astype(np.int32))
            items.append(block.item.astype(np.int32))
            if with_times:
                times.append(block.timestamp)
        user = np.concatenate(users)
        order = np.argsort(user, kind="stable")
        return cls(
            offsets=np.concatenate([[0], np.cumsum(np.bincount(user))]).astype(np.int64),
            item=np.concatenate(items)[order],
            time=np.concatenate(times)[order] if with_times else None,
        )

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def user_of_event(self) -> npt.NDArray[np.int32]:
        """Shape [E]."""
        return np.repeat(np.arange(len(self), dtype=np.int32), np.diff(self.offsets))
