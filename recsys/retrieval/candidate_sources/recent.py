"""Items that many users chose shortly before the request.

    score(i, t) = sum over events e of item i up to the time t of 2^(-(t - time(e)) / half-life)

divided by the mean of this sum over the items that have such an event. Of the events up to t the newest
`READ_EVENTS` are read. t is the time at which the user asks, `History.asked_at`, and the end of the events
where it is None; no later event is read.

Legend: B users, N items, E events, K candidates, C items with a score
for one user.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from recsys.arrays import Bools, Floats, Ints
from recsys.history import History
from recsys.retrieval.candidate_sources.contract import empty_lists, fitted_items
from recsys.retrieval.candidate_sources.popularity import PopularitySource
from recsys.retrieval.topk import top_k_of_lists

READ_EVENTS = 100_000
MICROSECONDS_A_DAY = 86_400e6


@dataclass(frozen=True, kw_only=True)
class RecentSource:
    """Events in order of time, which count half as much after `half_life_days`."""

    kind: ClassVar[str] = "recent"

    name: str
    item: npt.NDArray[np.int32]  # [E]
    time: Ints  # [E] microseconds, ascending
    half_life_days: float
    num_items: int  # N

    def candidates(
        self,
        histories: Sequence[History],
        k: int,
        *,
        excluded: Sequence[Ints] | None = None,
        allowed: Bools | None = None,
    ) -> tuple[Ints, Floats]:
        """As `CandidateSource.candidates`."""
        if all(history.asked_at is None for history in histories):
            return self.now.candidates(histories, k, excluded=excluded, allowed=allowed)
        found, score = empty_lists(len(histories), k)
        for row, history in enumerate(histories):
            score_N = self._scores_for(history)
            kept_N = score_N > 0 if allowed is None else (score_N > 0) & allowed[: self.num_items]
            item_C = np.flatnonzero(kept_N)
            own = None if excluded is None else [excluded[row]]
            found[row], score[row] = top_k_of_lists(item_C[None], score_N[item_C][None], k, excluded=own)
        return found, score

    def scores(self, histories: Sequence[History], item_BK: Ints) -> Floats:
        """As `CandidateSource.scores`."""
        if all(history.asked_at is None for history in histories):
            return self.now.scores(histories, item_BK)
        pairs = zip(histories, fitted_items(item_BK, self.num_items), strict=True)
        return np.stack([self._scores_for(history)[item_K] for history, item_K in pairs])

    def _scores_for(self, history: History) -> Floats:
        """Scores of all items. Shape [N]; made anew for each user who asks at a time of the past."""
        return self.now.score if history.asked_at is None else self._scores_at(history.asked_at)

    @cached_property
    def now(self) -> PopularitySource:
        """The source at the end of the events, which a bundle has: nobody there asks in the past."""
        end = int(self.time[-1]) if len(self.time) else 0
        return PopularitySource(name=self.name, score=self._scores_at(end))

    def _scores_at(self, time: int) -> Floats:
        stop = int(np.searchsorted(self.time, time, side="right"))
        read = slice(max(stop - READ_EVENTS, 0), stop)
        # Ages from the newest event that is read change all sums by one factor, which the mean removes.
        newest = self.time[stop - 1] if stop else time
        age_days = (newest - self.time[read]) / MICROSECONDS_A_DAY
        item_E = self.item[read]
        sum_N = np.bincount(item_E, np.exp2(-age_days / self.half_life_days), minlength=self.num_items)
        num = np.count_nonzero(np.bincount(item_E, minlength=self.num_items))
        score_N: Floats = (sum_N * (num / sum_N.sum() if num else 0.0)).astype(np.float32)
        return score_N

    def save(self, directory: Path) -> dict[str, Any]:
        """As `CandidateSource.save`."""
        np.save(directory / "item.npy", self.item, allow_pickle=False)
        np.save(directory / "time.npy", self.time, allow_pickle=False)
        return {"half_life_days": self.half_life_days, "num_items": self.num_items}

    @classmethod
    def load(cls, directory: Path, *, name: str, **settings: Any) -> Self:
        """As `CandidateSource.load`; the arrays are memory-mapped."""
        arrays = {
            each: np.load(directory / f"{each}.npy", mmap_mode="r", allow_pickle=False)
            for each in ("item", "time")
        }
        return cls(name=name, **arrays, **settings)
