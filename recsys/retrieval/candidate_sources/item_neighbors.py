"""Neighbors of the history's items: item-item similarity, transitions.

Legend: B users, N items, M neighbors of an item, H events of a history, K candidates, C items with a score.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from recsys.arrays import Bools, Floats, Ints
from recsys.history import History
from recsys.ids import NUM_RESERVED
from recsys.retrieval.candidate_sources.contract import empty_lists, fitted_items
from recsys.retrieval.topk import top_k_of_lists

# An event whose weight decay ** age is below this is not read: it cannot move a score by more than that.
MIN_EVENT_WEIGHT = 1e-3


@dataclass(frozen=True, kw_only=True)
class ItemNeighborSource:
    """Weighted mean of the neighbor weights of the history's events.

    score(i) = sum over events e of share(e) * weight(item(e), i), where share(e) is decay ** age(e) divided
    by its sum over all events. The newest event has age 0, the event before it age 1.
    """

    kind: ClassVar[str] = "item_neighbors"

    name: str
    neighbor: npt.NDArray[np.int32]  # [N, M] item ids, 0 where there are fewer
    weight: Floats  # [N, M] at least 0, 0 where there are fewer
    decay: float  # in (0, 1]; 1: all events count alike

    def candidates(
        self,
        histories: Sequence[History],
        k: int,
        *,
        excluded: Sequence[Ints] | None = None,
        allowed: Bools | None = None,
    ) -> tuple[Ints, Floats]:
        """As `CandidateSource.candidates`."""
        found, score = empty_lists(len(histories), k)
        for row, history in enumerate(histories):
            item_C, score_C = self.scored(history)
            keep_C = score_C > 0 if allowed is None else (score_C > 0) & allowed[item_C]
            found[row], score[row] = top_k_of_lists(
                item_C[keep_C][None],
                score_C[keep_C][None],
                k,
                excluded=None if excluded is None else [excluded[row]],
            )
        return found, score

    def scores(self, histories: Sequence[History], item_BK: Ints) -> Floats:
        """As `CandidateSource.scores`."""
        score_BK = np.zeros(item_BK.shape, np.float32)
        for row, history in enumerate(histories):
            item_C, score_C = self.scored(history)
            if len(item_C):
                place_K = np.minimum(np.searchsorted(item_C, item_BK[row]), len(item_C) - 1)
                score_BK[row] = np.where(item_C[place_K] == item_BK[row], score_C[place_K], 0.0)
        return score_BK

    def scored(self, history: History) -> tuple[Ints, Floats]:
        """Ids, ascending, and scores of the items that neighbor any item of the history. Shapes [C], [C]."""
        item_H = fitted_items(self._read_items(history.item), len(self.neighbor))
        age_H = np.arange(len(item_H))[::-1]
        share_H = self.decay**age_H / (self.decay**age_H).sum()
        near = self.neighbor[item_H].ravel()
        vote = (self.weight[item_H] * share_H[:, None]).ravel()
        real = near >= NUM_RESERVED
        item_C, place = np.unique(near[real], return_inverse=True)
        score_C = np.bincount(place, vote[real], minlength=len(item_C)).astype(np.float32)
        return item_C.astype(np.int64), score_C

    def _read_items(self, item_H: Ints) -> Ints:
        if self.decay == 1.0:
            return item_H
        return item_H[-int(np.log(MIN_EVENT_WEIGHT) / np.log(self.decay)) - 1 :]

    def save(self, directory: Path) -> dict[str, Any]:
        """As `CandidateSource.save`."""
        np.save(directory / "neighbor.npy", self.neighbor, allow_pickle=False)
        np.save(directory / "weight.npy", self.weight, allow_pickle=False)
        return {"decay": self.decay}

    @classmethod
    def load(cls, directory: Path, *, name: str, **settings: Any) -> Self:
        """As `CandidateSource.load`; the arrays are memory-mapped."""
        neighbor, weight = (
            np.asarray(np.load(directory / f"{array}.npy", mmap_mode="r", allow_pickle=False))
            for array in ("neighbor", "weight")
        )
        return cls(name=name, neighbor=neighbor, weight=weight, **settings)
