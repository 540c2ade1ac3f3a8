"""EASE, the linear model of items in closed form."""

from collections.abc import Sequence

import numpy as np

from features.splits import Split
from recsys.arrays import Floats
from recsys.config import EASEConfig
from recsys.item_features import ItemFeatures
from training.baselines.known import KnownEvents, ScoringModel, Seen, train_interactions
from training.candidates import ease_weights


class EASE(ScoringModel):
    """EASE (Steck 2019): the sum of the weights of the user's positives, all of them, negative ones too.

    Items without a training event, and the rarest ones of a catalogue above `settings.max_items`, are never
    recommended. A user without a positive on the other items gets no items.
    """

    name = "ease"

    def __init__(self, split: Split, items: ItemFeatures, *, seen: Seen, settings: EASEConfig) -> None:
        self.settings = settings
        self._known = KnownEvents.of(split, items, seen=seen)
        train = train_interactions(split, items)
        self._known_N = train.known_N
        self.weight, self.columns = ease_weights(train, settings)

    def score(self, users: Sequence[str]) -> Floats:
        """Sums of weights; -inf for items that are never recommended. Shape [U, N]."""
        history_UK = self._known.events(users, keep_N=self._known_N)[:, self.columns].sign()
        score_UN = np.full((len(users), self._known.num_items), -np.inf, np.float32)
        score_UN[:, self.columns] = history_UK @ self.weight
        score_UN[np.diff(history_UK.indptr) == 0] = -np.inf
        return score_UN
