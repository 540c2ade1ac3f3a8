"""Neighbours of items by who met them, weighted by BM25."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix

from features.splits.split import Split
from recsys.arrays import Floats
from recsys.item_features import ItemFeatures
from training.baselines.known import Known, Scored, Seen, TrainCounts


@dataclass(frozen=True, kw_only=True)
class ItemItemSettings:
    """`neighbours` kept of an item, itself among them; `k1` and `b` of BM25, a user as the term."""

    neighbours: int = 100
    k1: float = 1.2
    b: float = 0.25


class ItemItem(Scored):
    """implicit's `BM25Recommender`: a user's items vote for their neighbours.

    The similarity of two items is the dot product of their BM25-weighted columns of training positives;
    a score is the sum of it over the user's positives. Items that are no item's neighbour are never
    recommended; items without a training event are among them.
    """

    name = "item-item"

    def __init__(
        self,
        split: Split,
        items: ItemFeatures,
        *,
        seen: Seen,
        settings: ItemItemSettings = ItemItemSettings(),
        num_threads: int = 0,
    ) -> None:
        from implicit.nearest_neighbours import ItemItemRecommender, bm25_weight

        self.settings = settings
        self._known = Known.of(split, items, seen=seen)
        train = TrainCounts.of(split, items)
        self._known_N = train.known_N
        self.columns = np.flatnonzero(train.known_N)  # the catalogue's other items would count as documents
        counts_UK = train.counts_UN[:, self.columns]
        weighted_UK = bm25_weight(counts_UK.T, settings.k1, settings.b).T.tocsr()
        model = ItemItemRecommender(K=settings.neighbours, num_threads=num_threads)
        model.fit(weighted_UK, show_progress=False)
        self.similarity: csr_matrix = model.similarity.astype(np.float32)  # [K, K] of items with training

    def score(self, users: Sequence[str]) -> Floats:
        """Shape [U, N]."""
        history_UK = self._known.events(users, keep_N=self._known_N)[:, self.columns]
        votes_UK = (history_UK @ self.similarity).toarray()
        score_UN = np.full((len(users), self._known.num_items), -np.inf, np.float32)
        score_UN[:, self.columns] = np.where(votes_UK == 0, -np.inf, votes_UK)
        return score_UN
