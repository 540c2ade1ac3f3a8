"""Item neighbours by common users, weighted by BM25."""

from collections.abc import Sequence

import numpy as np

from features.splits import Split
from recsys.arrays import Floats
from recsys.config import ItemItemConfig
from recsys.item_features import ItemFeatures
from training.baselines.known import KnownEvents, ScoringModel, Seen, train_interactions
from training.candidates import bm25_similarity


class ItemItem(ScoringModel):
    """implicit's `BM25Recommender`.

    The similarity of two items is the dot product of their BM25-weighted columns of training positives. The
    score of an item is the sum of its similarities to the user's positives. Items that are neighbours of no
    item, such as items without a training event, are never recommended.
    """

    name = "item_item"

    def __init__(
        self,
        split: Split,
        items: ItemFeatures,
        *,
        seen: Seen,
        settings: ItemItemConfig,
        num_threads: int = 0,
    ) -> None:
        self.settings = settings
        self._known = KnownEvents.of(split, items, seen=seen)
        train = train_interactions(split, items)
        self._known_N = train.known_N
        self.similarity, self.columns = bm25_similarity(train, settings, num_threads=num_threads)

    def score(self, users: Sequence[str]) -> Floats:
        """Sums of similarities; -inf where the sum is 0. Shape [U, N]."""
        history_UK = self._known.events(users, keep_N=self._known_N)[:, self.columns]
        votes_UK = (history_UK @ self.similarity).toarray()
        score_UN = np.full((len(users), self._known.num_items), -np.inf, np.float32)
        score_UN[:, self.columns] = np.where(votes_UK == 0, -np.inf, votes_UK)
        return score_UN
