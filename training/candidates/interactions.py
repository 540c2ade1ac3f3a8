"""What every candidate source is fitted on: the positive training events, as a matrix of users and items.

Legend: U users, N items, E events.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.sparse import csr_matrix

from features.inputs import UserItems
from recsys.arrays import Bools, Ints
from recsys.ids import NUM_RESERVED
from recsys.item_features import ItemFeatures


@dataclass(frozen=True, kw_only=True, eq=False)
class Interactions:
    """Positive training events, as each user's items in order of time and as a sparse matrix of counts."""

    user_items: UserItems
    num_items: int  # N, the reserved ids included

    @cached_property
    def counts_UN(self) -> csr_matrix:
        """Number of events of each user on each item, float32. Memory grows with the events, not U * N."""
        item = self.user_items.item
        known = item >= NUM_RESERVED
        ones = np.ones(int(known.sum()), np.float32)
        places = (self.user_items.user_of_event[known], item[known])
        return csr_matrix((ones, places), shape=(len(self.user_items), self.num_items))

    @cached_property
    def events_N(self) -> Ints:
        """Number of events of each item. Shape [N]; 0 for the reserved ids."""
        return np.bincount(self.user_items.item, minlength=self.num_items) * self.known_N

    @cached_property
    def known_N(self) -> Bools:
        """Which items have an event. Shape [N]; False for the reserved ids."""
        known_N = np.zeros(self.num_items, np.bool_)
        known_N[self.user_items.item] = True
        known_N[:NUM_RESERVED] = False
        return known_N


@dataclass(frozen=True, kw_only=True)
class FitOptions:
    """What every fit of a source is given beside its own section of the configuration."""

    index_kind: str = "exact"  # as `index.kind`
    seed: int = 0
    num_threads: int = 0  # 0 takes all cores
    items: ItemFeatures | None = None  # the content of the items; None: no source reads any
