"""The contract of a candidate source, and how the lists of several sources are merged.

A source is fitted on training events alone (training/candidates/). It reads the items of a history and the
time at which its user asks (`History.asked_at`), and nothing else. An item without training events has
score 0 in every source, so no source proposes it. This holds for an item that came after the fit, whose id is
beyond the source's arrays.

No method allocates an array of the catalogue's size for a user: memory grows with the number of users times
the candidates asked for and the items that their histories hold.

Legend: B users, N items, K candidates, C items that a source scores for one user.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self

import numpy as np

from recsys.arrays import Bools, Floats, Ints
from recsys.history import History
from recsys.ids import PAD, UNKNOWN


class CandidateSource(Protocol):
    """Proposes items for histories, and scores given items; higher is better, 0 where nothing is known."""

    kind: ClassVar[str]  # how it scores; `sources.json` of a bundle names it

    @property
    def name(self) -> str: ...

    def candidates(
        self,
        histories: Sequence[History],
        k: int,
        *,
        excluded: Sequence[Ints] | None = None,
        allowed: Bools | None = None,
    ) -> tuple[Ints, Floats]:
        """Ids and scores of the `k` items of highest score above 0 of each history, best first.

        Ties are ordered by lowest id. Left out are the items of `excluded`, one array a history, and those
        where `allowed` [N] is False. Where fewer than k items remain, the rest is id 0 with score -inf.
        Shapes [B, k].
        """
        ...

    def scores(self, histories: Sequence[History], item_BK: Ints) -> Floats:
        """Scores of the given items of each history, at least 0, 0 for padding. Shape [B, K]."""
        ...

    def save(self, directory: Path) -> dict[str, Any]:
        """Write the arrays into `directory`, which exists; returns the settings that `load` is given."""
        ...

    @classmethod
    def load(cls, directory: Path, *, name: str, **settings: Any) -> Self:
        """Read what `save` wrote; raises `OSError`, `ValueError` or `TypeError` for anything else."""
        ...


def empty_lists(num_users: int, k: int) -> tuple[Ints, Floats]:
    """Lists of padding alone. Shapes [B, k]."""
    return np.full((num_users, k), PAD, np.int64), np.full((num_users, k), -np.inf, np.float32)


def fitted_items(items: Ints, num_items: int) -> Ints:
    """`items` with `UNKNOWN` in place of ids from `num_items` on, which came after the fit."""
    return np.where(items < num_items, items, UNKNOWN)


def most_excluded(excluded: Sequence[Ints] | None) -> int:
    """The largest number of items that one history leaves out."""
    return max((len(items) for items in excluded or ()), default=0)


def merge(first_BK: Ints, others: Sequence[Ints]) -> Ints:
    """`first_BK`, then the items that the other lists add, in their order, each item once.

    The first list keeps its columns; the added items follow without gaps, then 0 in the columns left.
    Shape [B, K + the widths of the other lists].
    """
    merged_BK = np.concatenate([first_BK, *others], axis=1)
    for row in merged_BK:
        _, first_column = np.unique(row, return_index=True)
        repeated = np.ones(len(row), np.bool_)
        repeated[first_column] = False
        row[repeated] = PAD
    width = first_BK.shape[1]
    added = merged_BK[:, width:]
    order = np.argsort(added == PAD, axis=1, kind="stable")
    merged_BK[:, width:] = np.take_along_axis(added, order, 1)
    return merged_BK
