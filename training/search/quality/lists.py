"""The lists of every system of an evaluation of search, from one scoring of each query."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from recsys.arrays import Bools
from recsys.errors import RequestError
from recsys.history import History
from recsys.metrics import Grades
from recsys.search import (
    LEXICAL,
    POPULARITY,
    EncodedQuery,
    QueryScores,
    Searcher,
    SearchResults,
    Stopwatch,
)
from training.search.quality.results import DENSE, HYBRID, PERSONAL, Milliseconds


@dataclass(frozen=True, kw_only=True)
class GradedQuery:
    """A query, and the grades of the items that answer it."""

    query: EncodedQuery
    grades: Grades  # empty, or none above 0: no item of the catalogue answers it
    group: str  # queries of one group, of a user say, are one cluster
    history: History | None = None  # None: the list is impersonal
    allowed: Bools | None = None  # [N], the items that may be in the list; None: all

    @property
    def is_answerable(self) -> bool:
        return any(grade > 0 for grade in self.grades.values())


@dataclass(frozen=True, kw_only=True)
class ListsOfQuery:
    """The lists of one query, as `Searcher.search` gives them."""

    by_system: Mapping[str, SearchResults | None]  # whole lists; None where the system cannot answer
    ended: SearchResults | None  # as long as relevance allows; None without a calibration


class ListMaker:
    """Asks every system: each leg alone, the dense legs together, all together, and the personal order."""

    def __init__(self, searcher: Searcher, length: int, personal: float | None) -> None:
        self.systems = systems_of(searcher)
        self.watch = Watch()  # of the hybrid
        self._searcher, self._length, self._personal = searcher, length, personal
        self._plain = searcher.with_settings(searcher.settings.model_copy(update={"fusion": {}}))

    def lists(self, judged: GradedQuery) -> ListsOfQuery:
        """The lists for `judged`; of a query without an answer the end alone is measured.

        Raises `RequestError` for a query that the catalogue cannot answer.
        """
        searcher, query, clock = self._searcher, judged.query, Stopwatch()
        start = time.perf_counter()
        scores = searcher.scorer.score(query, searcher.settings.num_candidates, judged.allowed, clock)
        found: dict[str, SearchResults | None] = {}
        if judged.is_answerable:
            hybrid = self._whole(searcher, scores, query, watch=clock)
            self.watch.add(clock.milliseconds, 1000 * (time.perf_counter() - start))
            found = {name: self._alone(scores, query, off) for name, off in self.systems.items()}
            found[HYBRID], found[PERSONAL] = hybrid, None
            if judged.history is not None:
                found[PERSONAL] = self._whole(
                    searcher, scores, query, history=judged.history, personal=self._personal
                )
        ended = None
        if searcher.settings.calibration:
            ended = searcher.ranked(scores, query, self._length, personal=0.0, explain=False)
        return ListsOfQuery(by_system=found, ended=ended)

    def _alone(self, scores: QueryScores, query: EncodedQuery, off: tuple[str, ...]) -> SearchResults | None:
        """The list without the legs `off`, by evidence where several are left."""
        weights = {**query.modality_weights, **dict.fromkeys(off, 0.0)}
        asked = replace(query, modality_weights=weights)
        try:
            return self._whole(self._plain, scores.of_legs(asked), asked)
        except RequestError:
            return None

    def _whole(
        self,
        searcher: Searcher,
        scores: QueryScores,
        query: EncodedQuery,
        *,
        history: History | None = None,
        personal: float | None = 0.0,
        watch: Stopwatch | None = None,
    ) -> SearchResults:
        """The list with no end by relevance."""
        return searcher.ranked(
            scores, query, self._length, min_relevance=0.0, history=history, personal=personal,
            explain=False, watch=watch,
        )  # fmt: skip


def systems_of(searcher: Searcher) -> dict[str, tuple[str, ...]]:
    """Name -> the legs that are off, of all systems but the hybrid."""
    names = searcher.scorer.leg_names
    dense = [name for name in names if name not in (LEXICAL, POPULARITY)]
    alone = [LEXICAL, *dense] if LEXICAL in names else dense
    systems = {name: tuple(other for other in names if other != name) for name in alone}
    if len(dense) > 1:
        systems[DENSE] = tuple(other for other in names if other not in dense)
    return systems


class Watch:
    """Milliseconds of every search by stage, and of the whole call."""

    def __init__(self) -> None:
        self._by_stage: dict[str, list[float]] = {}

    def add(self, stages: Mapping[str, float], whole: float) -> None:
        """One more search."""
        for stage, value in {**stages, "whole": whole}.items():
            self._by_stage.setdefault(stage, []).append(value)

    def summary(self) -> dict[str, Milliseconds]:
        """Median and 95th percentile by stage."""
        return {
            stage: Milliseconds(median=float(np.median(values)), p95=float(np.quantile(values, 0.95)))
            for stage, values in self._by_stage.items()
        }
