"""Evaluation of search: each leg alone, the dense legs together, all together, and the personal order.

Every list is that of `Searcher.search`, as in serving. A leg alone is asked by setting the weights of all
others to 0, by evidence where several are left. Accuracy is measured on whole lists, their
ends separately.

Shape suffixes: Q queries, K ranks, M metrics.
"""

from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np

from recsys.arrays import Ints
from recsys.metrics import Doubles, Estimate, clustered_means, graded_at_k
from recsys.progress import Progress, silent
from recsys.search import (
    Searcher,
    SearchResults,
    padded,
)
from training.search.known_item import LabelledQuery
from training.search.quality.lists import GradedQuery, ListMaker
from training.search.quality.reliability import reliability_of
from training.search.quality.results import (
    HYBRID,
    MAIN_METRIC,
    PERSONAL,
    Endings,
    SearchEvaluation,
)

KS = (10, 100)
SEARCH_METRICS: Final = ("ndcg@10", "recall@10", "recall@100", "mrr@100")
FIRST = 10  # ranks in which a reader looks for an answer


def graded(queries: Iterable[LabelledQuery]) -> list[GradedQuery]:
    """Queries whose answers are all equally good."""
    return [
        GradedQuery(
            query=each.query,
            grades=dict.fromkeys(each.relevant.tolist(), 1.0),
            group=each.group,
            history=each.history,
            allowed=each.allowed,
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
    maker = ListMaker(searcher, min(max(KS), searcher.settings.max_list_length), personal)
    made = []
    for at, each in enumerate(queries):
        progress("evaluate search", at, len(queries))
        made.append(maker.lists(each))
    progress("evaluate search", len(queries), len(queries))
    answerable = [each for each in queries if each.is_answerable]
    of_answerable = [each.by_system for each in made if each.by_system]
    lists = {name: [each[name] for each in of_answerable] for name in (*maker.systems, HYBRID, PERSONAL)}
    clusters_Q = _clusters(answerable)
    values = {name: _values(each, answerable) for name, each in lists.items()}
    values = {name: value_QM for name, value_QM in values.items() if not np.isnan(value_QM).all()}
    legs = [name for name in values if name not in (HYBRID, PERSONAL)]
    results = {name: _means(value_QM, clusters_Q, seed) for name, value_QM in values.items()}
    ended = [each.ended for each in made if each.ended is not None]
    return SearchEvaluation(
        description=description,
        num_queries=len(queries),
        num_unanswerable=len(queries) - len(answerable),
        num_clusters=int(clusters_Q.max(initial=-1)) + 1,
        systems=results,
        differences={leg: _means(values[HYBRID] - values[leg], clusters_Q, seed) for leg in legs},
        personal=_means(values[PERSONAL] - values[HYBRID], clusters_Q, seed) if PERSONAL in values else {},
        best_leg=max(legs, key=lambda leg: results[leg][MAIN_METRIC].value, default=None),
        reliability=reliability_of(lists[HYBRID], answerable, FIRST) if ended else None,
        endings=_endings(ended, queries, searcher.settings.min_relevance, seed) if ended else None,
        milliseconds=maker.watch.summary(),
    )


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


def _endings(
    lists: Sequence[SearchResults], queries: Sequence[GradedQuery], min_relevance: float, seed: int
) -> Endings:
    can = [(found, each) for found, each in zip(lists, queries, strict=True) if each.is_answerable]
    cannot = [(found, each) for found, each in zip(lists, queries, strict=True) if not each.is_answerable]

    def share(flags: list[bool], among: list[tuple[SearchResults, GradedQuery]]) -> Estimate | None:
        if not flags:
            return None
        clusters_Q = _clusters([each for _, each in among])
        return clustered_means(np.array(flags, np.float64)[:, None], clusters_Q, seed=seed)[0].estimate()

    return Endings(
        min_relevance=min_relevance,
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
