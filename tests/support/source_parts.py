"""Small and random candidate sources, and scores of the whole catalogue as a slow reference."""

import numpy as np

from recsys.arrays import Floats
from recsys.history import History
from recsys.ids import NUM_RESERVED
from recsys.retrieval.candidate_sources import (
    CandidateSource,
    FactorSource,
    ItemNeighborSource,
    PopularitySource,
)
from recsys.retrieval.candidate_sources.item_neighbors import MIN_EVENT_WEIGHT
from recsys.retrieval.index.build import build_index


def history_of(*items: int) -> History:
    """A history of these items, oldest first; all of them are seen."""
    num = len(items)
    return History(
        item=np.array(items, np.int64),
        timestamp=np.arange(num),
        event=np.full(num, 2),
        value=np.full(num, np.nan, np.float32),
        seen=np.array(sorted(set(items)), np.int64),
    )


def random_source(name: str, num_items: int, *, seed: int = 0, index_kind: str = "exact") -> CandidateSource:
    """A source over `num_items` ids, the reserved ones included; weights and scores have many ties."""
    rng = np.random.default_rng(seed)
    if name == "popularity":
        score = rng.integers(0, 6, num_items) / 5
        score[:NUM_RESERVED] = 0
        return PopularitySource(name=name, score=score.astype(np.float32))
    if name == "als":
        factor = rng.integers(-2, 3, (num_items, 8)).astype(np.float32)
        factor[:NUM_RESERVED] = 0
        index = build_index(index_kind, factor)
        return FactorSource(name=name, index=index, regularization=0.5, alpha=2.0)
    neighbor = rng.integers(0, num_items, (num_items, 12)).astype(np.int32)
    neighbor[neighbor < NUM_RESERVED] = 0
    weight = np.where(neighbor > 0, rng.integers(0, 4, neighbor.shape), 0).astype(np.float32)
    return ItemNeighborSource(
        name=name, neighbor=neighbor, weight=weight, decay=1.0 if name == "item_item" else 0.8
    )


def dense_scores(source: CandidateSource, history: History) -> Floats:
    """Scores of the whole catalogue, by an array of its size. Shape [N]."""
    if isinstance(source, PopularitySource):
        return source.score.copy()
    if isinstance(source, FactorSource):
        factor = source.factor.astype(np.float64)
        left = factor.T @ factor + source.regularization * np.eye(factor.shape[1])
        right = np.zeros(factor.shape[1])
        for item in set(history.item.tolist()):
            confidence = source.alpha * (history.item == item).sum()
            if factor[item].any():
                left += (confidence - 1) * np.outer(factor[item], factor[item])
                right += confidence * factor[item]
        return np.maximum(factor @ np.linalg.solve(left, right), 0).astype(np.float32)
    assert isinstance(source, ItemNeighborSource)
    score, total = np.zeros(len(source.neighbor)), 0.0
    for age, item in enumerate(history.item[::-1]):
        weight = source.decay**age
        if weight >= MIN_EVENT_WEIGHT:
            np.add.at(score, source.neighbor[item], weight * source.weight[item])
            total += weight
    score[:NUM_RESERVED] = 0
    return (score / max(total, 1e-12)).astype(np.float32)
