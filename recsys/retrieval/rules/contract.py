"""The rules, over the items of one catalogue.

Legend: N items.
"""

from dataclasses import dataclass, field

import numpy as np

from recsys.arrays import Bools, Ints


@dataclass(frozen=True, kw_only=True)
class Boost:
    """`add` is added to the scores of some items; it may be negative."""

    name: str
    items: Bools  # [N]
    add: float


@dataclass(frozen=True, kw_only=True)
class Cap:
    """At most `at_most` items with the same value in every page of `within` ranks.

    The values of item i are `values[starts[i] : starts[i + 1]]`. An item with several values counts for each.
    """

    name: str
    starts: Ints  # [N + 1]
    values: Ints
    at_most: int
    within: int

    def of(self, item: int) -> list[int]:
        """The values of `item`."""
        return [int(value) for value in self.values[self.starts[item] : self.starts[item + 1]]]


@dataclass(frozen=True, kw_only=True)
class Pin:
    """One item at a fixed rank, from 1, wherever it may be recommended at all."""

    name: str
    item: int
    rank: int


@dataclass(frozen=True, kw_only=True)
class Exploration:
    """With probability `rate` a rank has a uniform draw of the next `pool` items in place of the next one."""

    rate: float = 0.0
    pool: int = 100


@dataclass(frozen=True, kw_only=True)
class Rules:
    """All rules; by default none."""

    excluded: Bools | None = None  # [N], never listed
    boosts: tuple[Boost, ...] = ()
    caps: tuple[Cap, ...] = ()
    pins: tuple[Pin, ...] = ()  # by ascending rank
    exploration: Exploration = field(default_factory=Exploration)
    diversity: float | None = None  # weight of maximal marginal relevance; None: the request's

    @property
    def is_empty(self) -> bool:
        """Whether lists are as without rules."""
        return (
            self.excluded is None
            and not (self.boosts or self.caps or self.pins or self.exploration.rate)
            and self.diversity is None
        )

    def allowed(self, allowed: Bools | None) -> Bools | None:
        """`allowed` [N] without the excluded items."""
        if self.excluded is None:
            return allowed
        return ~self.excluded if allowed is None else allowed & ~self.excluded

    def boost_of(self, items: Ints) -> tuple[np.ndarray, list[list[str]]]:
        """The sum of the boosts of each item, and the names of the boosts. Shape [K]."""
        total = np.zeros(len(items), np.float32)
        names: list[list[str]] = [[] for _ in items]
        for boost in self.boosts:
            for at in np.flatnonzero(boost.items[items]).tolist():
                total[at] += boost.add
                names[at].append(boost.name)
        return total, names
