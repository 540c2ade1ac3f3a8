"""`ExtendedLeg`: the vectors of one modality, and beside them those that came or changed since.

Legend: N items, K items of a question, R rows that came or changed, D width.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from recsys.arrays import Bools, Floats, Ints
from recsys.retrieval import ExtendedIndex, SearchIndex
from recsys.search.legs.dense import DenseLeg, LegQuery, Space


@dataclass(frozen=True, kw_only=True)
class ChangedRows:
    """Rows of a leg in place of, or after, those of the leg that it extends."""

    rows: Ints  # [R] ids, ascending; all ids from the first new one on are among them
    leg: DenseLeg  # of R rows, of the same modality

    def place(self, items: Ints) -> tuple[Ints, Bools]:
        """Where `items` [K] are among `rows`, and which are."""
        place = np.minimum(np.searchsorted(self.rows, items), max(len(self.rows) - 1, 0))
        found: Bools = self.rows[place] == items if len(self.rows) else np.zeros(len(items), np.bool_)
        return place, found


class ExtendedLeg(DenseLeg):
    """`main` with `changed`. Only the changed rows are converted anew; scores are those of one leg of all."""

    def __init__(self, main: DenseLeg, changed: ChangedRows, num_items: int) -> None:
        self._main, self._changed, self._num_items = main, changed, num_items
        super().__init__(
            name=main.name,
            kind=main.kind,
            vectors=main.vectors,
            present=main.present,
            shared=main.shared,
            imputed=main.imputed,
        )
        self.present = self._joined(main.present, changed.leg.present)
        self.imputed = self._joined(main.imputed, changed.leg.imputed)

    @cached_property
    def _extended_index(self) -> SearchIndex | None:
        index, changed = self._main.main_index, self._changed
        if index is None:
            return None
        return ExtendedIndex(
            index,
            len(self._main.vectors),
            rows=changed.rows,
            vectors=changed.leg.vectors.astype(np.float32),
            num_items=self._num_items,
        )

    @property
    def index(self) -> SearchIndex | None:
        return self._extended_index

    def scores(self, query: LegQuery, items: Ints | None = None) -> Floats:
        num_main = len(self._main.vectors)
        if items is None:
            score_N = np.zeros(self._num_items, np.float32)
            score_N[:num_main] = self._main.scores(query)
            score_N[self._changed.rows] = self._changed.leg.scores(query)
            return score_N
        score_K = self._main.scores(query, np.where(items < num_main, items, 0))
        place, found = self._changed.place(items)
        if found.any():
            score_K[found] = self._changed.leg.scores(query, place[found])
        return score_K

    def _taken(self, space: Space, items: Ints) -> Floats:
        taken_KD = self._main._taken(space, np.where(items < len(self._main.vectors), items, 0))
        place, found = self._changed.place(items)
        if found.any():
            taken_KD[found] = self._changed.leg._taken(space, place[found])
        return taken_KD

    def _joined(self, main: Bools, changed: Bools) -> Bools:
        joined = np.zeros(self._num_items, np.bool_)
        joined[: len(main)] = main
        joined[self._changed.rows] = changed
        return joined
