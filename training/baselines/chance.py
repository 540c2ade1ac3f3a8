"""Random lists: the lower end of the scale."""

import zlib
from collections.abc import Sequence

import numpy as np

from recsys.arrays import Bools, Ints
from recsys.item_features import ItemFeatures
from recsys.retrieval import top_k
from training.baselines.known import Seen
from training.evaluation import seen_lists


class Random:
    """A seeded random order for each user, the same in every batch of users."""

    name = "random"

    def __init__(self, items: ItemFeatures, *, seen: Seen, seed: int = 0) -> None:
        self._num_items = items.size
        self._seen = seen
        self._seed = seed

    def recommend(self, users: Sequence[str], k: int, *, allowed: Bools | None) -> Ints:
        score_UN = np.empty((len(users), self._num_items), np.float32)
        for row, user in enumerate(users):
            rng = np.random.default_rng([self._seed, zlib.crc32(user.encode())])
            score_UN[row] = rng.random(self._num_items, np.float32)
        lists = None if self._seen is None else seen_lists(self._seen, users)
        return top_k(score_UN, k, allowed=allowed, excluded=lists)[0]
