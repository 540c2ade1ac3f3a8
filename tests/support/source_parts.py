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
    RecentSource,
)
from recsys.retrieval.candidate_sources.item_neighbors import MIN_EVENT_WEIGHT
from recsys.retrieval.index.build import build_index

DAY = 86_400_000_000  # microseconds


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
    if name == "recent":
        return RecentSource(
            name=name,
            item=rng.integers(NUM_RESERVED, num_items - 5, 200).astype(np.int32),
            time=np.sort(rng.integers(0, 100, 200)) * DAY,
            half_life_days=20.0,
            num_items=num_items,
        )
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
    if isinstance(source, RecentSource):
        return recent_scores(source, history.asked_at)
    assert isinstance(source, ItemNeighborSource)
    score, total = np.zeros(len(source.neighbor)), 0.0
    for age, item in enumerate(history.item[::-1]):
        weight = source.decay**age
        if weight >= MIN_EVENT_WEIGHT:
            np.add.at(score, source.neighbor[item], weight * source.weight[item])
            total += weight
    score[:NUM_RESERVED] = 0
    return (score / max(total, 1e-12)).astype(np.float32)


def recent_scores(source: RecentSource, asked_at: int | None) -> Floats:
    """The formula of `RecentSource`, an event at a time. Shape [N]."""
    now = int(source.time[-1]) if asked_at is None else asked_at
    total = np.zeros(source.num_items)
    for item, time in zip(source.item.tolist(), source.time.tolist(), strict=True):
        if time <= now:
            total[item] += 2 ** (-(now - time) / DAY / source.half_life_days)
    return (total / max(total[total > 0].mean(), 1e-300) if total.any() else total).astype(np.float32)
