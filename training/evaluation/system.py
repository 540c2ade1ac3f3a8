"""A fitted system as a competitor in the table: with its ranker, or its towers alone.

The same `Recommender` answers here and in serving, for every kind of user.
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
# Our names in the table.
MODEL, TOWERS, ID_ONLY = "recsys", "recsys, towers alone", "id-only model"
LATER = "recsys, towers alone, validation learned"


class System:
    """Recommends for users from their histories at test time; `empty` gives that of a user without events."""

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
        answer = np.full((len(users), k), PAD, np.int64)
        for start in range(0, len(users), USERS_AT_ONCE):
            names = users[start : start + USERS_AT_ONCE]
            histories = [history_of(user, self._histories, self._empty) for user in names]
            found = self._recommender.recommend(
                histories, k, exclude_seen=self._exclude_seen, allowed=allowed
            ).items
            answer[start : start + len(names), : found.shape[1]] = found
        return answer


def history_of(user: str, histories: Mapping[str, History], empty: Callable[[str], History]) -> History:
    """The user's history at test time; where there is none, `empty` of the user, with the known fields."""
    return histories[user] if user in histories else empty(user)


def full_and_towers(
    fitted: Fitted, histories: Mapping[str, History], full: str, towers: str | None, settings: EvaluateConfig
) -> list[System]:
    """The system under its name, and its towers alone under theirs where a ranker makes a difference."""
    systems = {full: fitted.recommender}
    if fitted.ranker is not None and towers is not None:
        systems[towers] = fitted.recommender.without_ranker()
    return [
        System(name, recommender, histories, empty=fitted.builder.empty, exclude_seen=settings.exclude_seen)
        for name, recommender in systems.items()
    ]


def id_only(config: Config) -> Config:
    """The same model without any content: ids and behaviour alone."""
    item = config.model.item.model_copy(update={"use_content": False, "use_id": True, "id_dropout": 0.0})
    return config.model_copy(update={"model": config.model.model_copy(update={"item": item})})
