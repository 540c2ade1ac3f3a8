"""Evaluation of search: each leg alone, the dense legs together, all together, and the personal order.

Every list comes from `Searcher.search`, as in serving. A leg alone is asked by setting the weights of all
others to 0, by reciprocal rank fusion where several are left. Accuracy is measured on whole lists, their
ends separately.

Shape suffixes: Q queries, K ranks, M metrics.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from recsys.arrays import Bools, Ints
from recsys.errors import RequestError
from recsys.history import History
from recsys.metrics import Doubles, Estimate, Grades, clustered_means, graded_at_k
from recsys.progress import Progress, silent
from recsys.search import (
    LEXICAL,
    POPULARITY,
    EncodedQuery,
    Searcher,
    SearchResults,
    padded,
)
from training.search.known_item import LabelledQuery
from training.search.quality.reliability import reliability_of
from training.search.quality.results import (
    DENSE,
    HYBRID,
    MAIN_METRIC,
    PERSONAL,
    Endings,
    Milliseconds,
    SearchEvaluation,
)

KS = (10, 100)
SEARCH_METRICS: Final = ("ndcg@10", "recall@10", "recall@100", "mrr@100")
FIRST = 10  # ranks in which a reader looks for an answer


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


def graded(queries: Iterable[LabelledQuery]) -> list[GradedQuery]:
    """Queries whose answers are all equally good."""
    return [
        GradedQuery(
            query=each.query,
            grades=dict.fromkeys(each.relevant.tolist(), 1.0),
            group=each.group,
            history=each.history,
        )
        for each in queries
    ]


def evaluate_search(
    searcher: Searcher,
    queries: Sequence[GradedQuery],
    *,
    description: str = "",
    personal: float | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> SearchEvaluation:
    """Measure every system on `queries`; intervals resample groups of queries.

    A system that cannot answer a query, such as words a picture, has no value for it. `personal` replaces the
    setting of the searcher. Systems and differences are empty where no query is answerable.
    """
    answerable = [each for each in queries if each.is_answerable]
    systems = _systems(searcher)
    plain = searcher.with_settings(searcher.settings.model_copy(update={"fusion": {}}))
    watch = _Watch()
    lists: dict[str, list[SearchResults | None]] = {}
    for name, weights in systems.items():
        progress("evaluate search", len(lists), len(systems) + 2, name)
        timed, asked = (watch, searcher) if name == HYBRID else (None, plain)
        lists[name] = [_answer(asked, each, weights, timed) for each in answerable]
    if any(each.history is not None for each in answerable):
        progress("evaluate search", len(systems), len(systems) + 2, PERSONAL)
        lists[PERSONAL] = [_personal_answer(searcher, each, personal) for each in answerable]
    progress("evaluate search", len(systems) + 1, len(systems) + 2, "ends of lists")
    clusters_Q = _clusters(answerable)
    values = {name: _values(each, answerable) for name, each in lists.items()}
    values = {name: value_QM for name, value_QM in values.items() if not np.isnan(value_QM).all()}
    legs = [name for name in values if name not in (HYBRID, PERSONAL)]
    results = {name: _means(value_QM, clusters_Q, seed) for name, value_QM in values.items()}
    hybrid = lists.get(HYBRID, [])
    return SearchEvaluation(
        description=description,
        num_queries=len(queries),
        num_unanswerable=len(queries) - len(answerable),
        num_clusters=int(clusters_Q.max(initial=-1)) + 1,
        systems=results,
        differences={leg: _means(values[HYBRID] - values[leg], clusters_Q, seed) for leg in legs},
        personal=_means(values[PERSONAL] - values[HYBRID], clusters_Q, seed) if PERSONAL in values else {},
        best_leg=max(legs, key=lambda leg: results[leg][MAIN_METRIC].value, default=None),
        reliability=reliability_of(hybrid, answerable, FIRST) if searcher.settings.calibration else None,
        endings=_endings(searcher, queries, seed) if searcher.settings.calibration else None,
        milliseconds=watch.summary(),
    )


def _systems(searcher: Searcher) -> dict[str, Mapping[str, float]]:
    """Name -> factors of the legs."""
    names = searcher.scorer.leg_names
    dense = [name for name in names if name not in (LEXICAL, POPULARITY)]
    alone = [LEXICAL, *dense] if LEXICAL in names else dense
    systems = {name: {other: 0.0 for other in names if other != name} for name in alone}
    if len(dense) > 1:
        systems[DENSE] = {other: 0.0 for other in names if other not in dense}
    return {**systems, HYBRID: {}}


def _answer(
    searcher: Searcher, judged: GradedQuery, weights: Mapping[str, float], watch: "_Watch | None"
) -> SearchResults | None:
    """The whole impersonal list, None where the legs that are left cannot answer."""
    query = replace(judged.query, modality_weights={**judged.query.modality_weights, **weights})
    start = time.perf_counter()
    try:
        found = searcher.search(
            query, _length(searcher), allowed=judged.allowed, min_relevance=0.0, personal=0.0, explain=False
        )
    except RequestError:
        if not weights:
            raise
        return None
    if watch is not None:
        watch.add(found.milliseconds, 1000 * (time.perf_counter() - start))
    return found


def _personal_answer(searcher: Searcher, judged: GradedQuery, personal: float | None) -> SearchResults | None:
    """The whole list for the query's user, None without one."""
    if judged.history is None:
        return None
    return searcher.search(
        judged.query,
        _length(searcher),
        allowed=judged.allowed,
        min_relevance=0.0,
        history=judged.history,
        personal=personal,
        explain=False,
    )


def _length(searcher: Searcher) -> int:
    return min(max(KS), searcher.settings.max_list_length)


def _values(lists: Sequence[SearchResults | None], queries: Sequence[GradedQuery]) -> Doubles:
    """Metrics of each query, NaN without a list. Shape [Q, M]."""
    value_QM = np.full((len(queries), len(SEARCH_METRICS)), np.nan)
    rows = [row for row, found in enumerate(lists) if found is not None]
    if rows:
        ranked_QK = np.stack([padded(found, max(KS)) for found in lists if found is not None])
        by_name = graded_at_k(ranked_QK, [queries[row].grades for row in rows], KS)
        value_QM[rows] = np.stack([by_name[metric] for metric in SEARCH_METRICS], axis=1)
    return value_QM


def _means(value_QM: Doubles, clusters_Q: Ints, seed: int) -> dict[str, Estimate]:
    return {
        metric: each.estimate()
        for metric, each in zip(SEARCH_METRICS, clustered_means(value_QM, clusters_Q, seed=seed), strict=True)
    }


def _clusters(queries: Sequence[GradedQuery]) -> Ints:
    """The number of each query's group. Shape [Q]."""
    number: dict[str, int] = {}
    return np.array([number.setdefault(each.group, len(number)) for each in queries], np.int64)


def _endings(searcher: Searcher, queries: Sequence[GradedQuery], seed: int) -> Endings:
    length = _length(searcher)
    lists = [
        searcher.search(each.query, length, allowed=each.allowed, personal=0.0, explain=False)
        for each in queries
    ]
    can = [(found, each) for found, each in zip(lists, queries, strict=True) if each.is_answerable]
    cannot = [(found, each) for found, each in zip(lists, queries, strict=True) if not each.is_answerable]

    def share(flags: list[bool], among: list[tuple[SearchResults, GradedQuery]]) -> Estimate | None:
        if not flags:
            return None
        clusters_Q = _clusters([each for _, each in among])
        return clustered_means(np.array(flags, np.float64)[:, None], clusters_Q, seed=seed)[0].estimate()

    return Endings(
        min_relevance=searcher.settings.min_relevance,
        mean_length=float(np.mean([len(found) for found, _ in can])) if can else 0.0,
        share_found=share(
            [
                any(each.grades.get(item, 0) > 0 for item in found.items[:FIRST].tolist())
                for found, each in can
            ],
            can,
        ),
        share_empty=share([not len(found) for found, _ in can], can),
        share_answered_wrongly=share([len(found) > 0 for found, _ in cannot], cannot),
    )


class _Watch:
    """Milliseconds of every search by stage, and of the whole call."""

    def __init__(self) -> None:
        self._by_stage: dict[str, list[float]] = {}

    def add(self, stages: Mapping[str, float], whole: float) -> None:
        for stage, value in {**stages, "whole": whole}.items():
            self._by_stage.setdefault(stage, []).append(value)

    def summary(self) -> dict[str, Milliseconds]:
        return {
            stage: Milliseconds(median=float(np.median(values)), p95=float(np.quantile(values, 0.95)))
            for stage, values in self._by_stage.items()
        }
