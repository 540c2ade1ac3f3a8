"""Fitting of the candidate sources beside the towers, on the training events that the audit is shown."""

import logging
from collections.abc import Callable, Mapping

import numpy as np
import polars as pl
from scipy.sparse import csr_matrix

from features.splits.split import InMemorySplit, Split
from recsys.config import RankerConfig
from recsys.item_features import ItemFeatures
from recsys.retrieval.candidate_sources import (
    Factors,
    Neighbours,
    Popular,
    Source,
)
from training.baselines import ALS, ALSSettings, ItemItem
from training.sequences import Sequence

logger = logging.getLogger(__name__)
NUM_NEIGHBOURS = 100
REACH, GAP_DECAY = 5, 0.7  # how far apart two events may stand to count as a transition, and what that costs
EVENT_DECAY = 0.8  # what an event of the history counts beside the one after it


def source_events(split: Split, config: RankerConfig) -> dict[str, pl.DataFrame]:
    """By name the events of each source that `config` names: for the audit, and for `fit_sources`.

    None for a streamed log, since sources hold all events in memory. Transitions are read off the training
    sequences, which the audit looks at by themselves.
    """
    if not config.enabled:
        return {}
    if not split.is_in_memory:
        if config.sources:
            logger.warning("an event log has no candidate sources beside the towers")
        return {}
    return dict.fromkeys(config.sources, split.train)


def fit_sources(
    events: Mapping[str, pl.DataFrame],
    features: ItemFeatures,
    sequences: Mapping[str, Sequence],
    *,
    num_threads: int = 0,
) -> tuple[Source, ...]:
    """One source a name, fitted on its `events` and no others. `num_threads`: 0 takes all cores."""
    fits: dict[str, Callable[[pl.DataFrame], Source]] = {
        "als": lambda frame: _als(_train_alone(frame), features, num_threads),
        "item_item": lambda frame: _item_item(_train_alone(frame), features, num_threads),
        "transitions": lambda _: transitions(sequences, features.size),
        "popularity": lambda _: popular(features),
    }
    return tuple(fits[name](frame) for name, frame in events.items())


def _train_alone(events: pl.DataFrame) -> InMemorySplit:
    """A split that holds nothing but these, as training."""
    none = events.clear()
    return InMemorySplit(
        protocol="source",
        description="",
        train=events,
        validation=none,
        test=none,
        context=none,
        reviews=none,
    )


def _als(split: Split, features: ItemFeatures, num_threads: int) -> Factors:
    settings = ALSSettings(factors=64, regularization=1.0)
    model = ALS(split, features, seen=None, settings=settings, num_threads=num_threads)
    return Factors(
        name="als",
        factor=model.item_factors,
        regularization=settings.regularization,
        alpha=settings.alpha,
    )


def _item_item(split: Split, features: ItemFeatures, num_threads: int) -> Neighbours:
    model = ItemItem(split, features, seen=None, num_threads=num_threads)
    similarity = model.similarity.tocoo()
    column, apart = model.columns, similarity.row != similarity.col
    whole = csr_matrix(
        (similarity.data[apart], (column[similarity.row[apart]], column[similarity.col[apart]])),
        shape=(features.size, features.size),
    )
    return _table("item_item", whole, decay=1.0)


def transitions(sequences: Mapping[str, Sequence], num_items: int) -> Neighbours:
    """How often an item was chosen soon after another, as a share of all that followed that one."""
    first, second, weight = [], [], []
    for sequence in sequences.values():
        items = sequence.history.item[sequence.target]
        for gap in range(1, min(REACH, len(items) - 1) + 1):
            first.append(items[:-gap])
            second.append(items[gap:])
            weight.append(np.full(len(items) - gap, GAP_DECAY ** (gap - 1)))
    if not first:
        return _table("transitions", csr_matrix((num_items, num_items)), decay=EVENT_DECAY)
    pairs = (np.concatenate(first), np.concatenate(second))
    counts = csr_matrix((np.concatenate(weight), pairs), shape=(num_items, num_items))
    followed = np.asarray(counts.sum(1)).ravel()
    counts.data /= np.repeat(followed, np.diff(counts.indptr))
    return _table("transitions", counts, decay=EVENT_DECAY)


def popular(features: ItemFeatures) -> Popular:
    """By training events, as a share of those of the most popular item."""
    most = max(float(features.popularity.max()), 1.0)
    return Popular(name="popularity", score=(features.popularity / most).astype(np.float32))


def _table(name: str, weights: csr_matrix, *, decay: float) -> Neighbours:
    """The `NUM_NEIGHBOURS` of largest weight in each row, scaled so that a row's best is 1 on average."""
    num_items = weights.shape[0]
    width = min(NUM_NEIGHBOURS, num_items)
    neighbour = np.zeros((num_items, width), np.int32)
    weight = np.zeros((num_items, width), np.float32)
    for row in range(num_items):
        span = slice(weights.indptr[row], weights.indptr[row + 1])
        ids, values = weights.indices[span], weights.data[span]
        best = np.lexsort((ids, -values))[:width]
        neighbour[row, : len(best)], weight[row, : len(best)] = ids[best], values[best]
    best_N = weight[:, 0][weight[:, 0] > 0]
    scale = float(best_N.mean()) if len(best_N) else 1.0
    return Neighbours(name=name, neighbour=neighbour, weight=(weight / scale).astype(np.float32), decay=decay)
