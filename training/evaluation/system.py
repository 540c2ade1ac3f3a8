"""A fitted system as a model of the evaluation: with its ranker, or its towers alone.

Evaluation and serving use the same `Recommender`, for every kind of user.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from recsys.arrays import Bools, Ints
from recsys.config import Config, EvaluateConfig
from recsys.history import History
from recsys.ids import PAD
from recsys.retrieval import Recommender
from training.fitting import Fitted

USERS_AT_ONCE = 256
# Names of the system and its variants in tables.
MODEL, TOWERS, ID_ONLY = "recsys", "recsys, towers alone", "id-only model"
WITH_VALIDATION = "recsys, towers alone, trained on validation too"


class System:
    """Recommends from histories at test time; `empty` makes the history of a user without events."""

    def __init__(
        self,
        name: str,
        recommender: Recommender,
        histories: Mapping[str, History],
        *,
        empty: Callable[[str], History] = lambda user: History.empty(),
        exclude_seen: bool = True,
    ) -> None:
        self.name = name
        self._recommender, self._histories, self._empty = recommender, histories, empty
        self._exclude_seen = exclude_seen

    def recommend(self, users: Sequence[str], k: int, *, allowed: Bools | None) -> Ints:
        """The best `k` items for each user, 0 where there are fewer. Shape [U, k]."""
        ranked_UK = np.full((len(users), k), PAD, np.int64)
        for start in range(0, len(users), USERS_AT_ONCE):
            names = users[start : start + USERS_AT_ONCE]
            histories = [history_of(user, self._histories, self._empty) for user in names]
            found = self._recommender.recommend(
                histories, k, exclude_seen=self._exclude_seen, allowed=allowed
            ).items
            ranked_UK[start : start + len(names), : found.shape[1]] = found
        return ranked_UK


def history_of(user: str, histories: Mapping[str, History], empty: Callable[[str], History]) -> History:
    """The user's history at test time; without one, `empty(user)`, which has the user's known fields."""
    return histories[user] if user in histories else empty(user)


def full_and_towers(
    fitted: Fitted, histories: Mapping[str, History], full: str, towers: str | None, settings: EvaluateConfig
) -> list[System]:
    """The system as `full`, and its towers alone as `towers` where it has a ranker."""
    systems = {full: fitted.recommender}
    if fitted.ranker is not None and towers is not None:
        systems[towers] = fitted.recommender.without_ranker()
    return [
        System(name, recommender, histories, empty=fitted.builder.empty, exclude_seen=settings.exclude_seen)
        for name, recommender in systems.items()
    ]


def id_only(config: Config) -> Config:
    """The configuration of the id-only model: the same model without content, from ids and events alone."""
    item = config.model.item.model_copy(update={"use_content": False, "use_id": True, "id_dropout": 0.0})
    return config.model_copy(update={"model": config.model.model_copy(update={"item": item})})
