"""The share of the recommender in the order of a list's head, chosen on queries of known users."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from recsys.arrays import Floats, Ints
from recsys.history import History
from recsys.search import Searcher, fuse, personal_order
from training.search.fusion_fit import RankedQuery, ndcg_of

Doubles = npt.NDArray[np.float64]
GRID: Final = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5)
MIN_QUERIES: Final = 50


@dataclass(frozen=True, kw_only=True)
class PersonalChoice:
    """The chosen share, the reason, and the mean NDCG@10 by share."""

    personal: float
    reason: str
    ndcg: dict[float, float]


@dataclass(frozen=True, kw_only=True)
class _Head:
    """The first items of an impersonal list: their positions among the candidates, and both scores."""

    place: Ints
    items: Ints
    fused: Doubles
    recommended: Floats
    score_K: Doubles  # of all candidates


def choose_personal(searcher: Searcher, queries: Sequence[tuple[RankedQuery, History]]) -> PersonalChoice:
    """The share of `GRID` with the highest NDCG@10; 0 where it is within one standard error of 0's.

    The recommender must not have learned the answers: where its ranker has read validation events, give users
    whom it has not learned from.
    """
    ndcg_GQ: list[list[float]] = [[] for _ in GRID]
    for query, history in queries:
        head = _head(searcher, query, history)
        if head is not None:
            for values, share in zip(ndcg_GQ, GRID, strict=True):
                values.append(ndcg_of(_reordered(head, share), query))
    ndcg = np.array(ndcg_GQ)
    if ndcg.shape[1] < MIN_QUERIES:
        reason = f"0: {ndcg.shape[1]} validation queries of known users, fewer than {MIN_QUERIES}"
        return PersonalChoice(personal=0.0, reason=reason, ndcg={})
    means = dict(zip(GRID, ndcg.mean(axis=1).tolist(), strict=True))
    best = max(GRID, key=lambda share: means[share])
    gain = ndcg[GRID.index(best)] - ndcg[0]
    error = float(gain.std() / np.sqrt(len(gain)))
    chosen = best if gain.mean() > error else 0.0
    shown = ", ".join(f"{share:g} {value:.3f}" for share, value in means.items())
    reason = f"{chosen:g} of {len(gain)} validation queries of known users; NDCG@10 by share: {shown}"
    return PersonalChoice(personal=chosen, reason=reason, ndcg=means)


def _head(searcher: Searcher, query: RankedQuery, history: History) -> _Head | None:
    """None for a user of whom the recommender knows nothing."""
    score_K, _ = fuse(query.scores, searcher.settings)
    place = np.lexsort((query.scores.items, -score_K))[: searcher.settings.personal_head]
    items = query.scores.items[place]
    if searcher.personalizer is None or not len(items):
        return None
    found = searcher.personalizer(history, items)
    if found is None:
        return None
    return _Head(place=place, items=items, fused=score_K[place], recommended=found.scores, score_K=score_K)


def _reordered(head: _Head, share: float) -> Doubles:
    """Scores of all candidates in whose order the head is personal."""
    score_K = head.score_K.copy()
    order, final = personal_order(head.items, head.fused, head.recommended, share)
    score_K[head.place[order]] = head.score_K.max() + 1.0 + final - final.min()
    return score_K
