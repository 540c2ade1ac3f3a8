"""A fitted system as a model of the evaluation: with its ranker, or its towers alone.

Evaluation and serving use the same `Recommender`, for every kind of user.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from features.dataset import Dataset
from features.leakage import Audit, audit_test
from features.splits import Split
from recsys.arrays import Bools, Ints
from recsys.config import Config, EvaluateConfig
from recsys.files import replacing
from recsys.history import History
from recsys.ids import PAD
from recsys.retrieval import Owners, Recommender, recommend_visible
from training.evaluation.predictions import Predictions
from training.fitting import Fitted

USERS_AT_ONCE = 256
# Names of the system and its variants in tables.
MODEL, TOWERS, ID_ONLY = "recsys", "recsys, towers alone", "id-only model"
WITH_VALIDATION = "recsys, towers alone, trained on validation too"


class System:
    """Recommends from histories at test time; `empty` makes the history of a user without events.

    `owners` are those of the items: as in serving, a user is shown and known by the items that they may see.
    """

    def __init__(
        self,
        name: str,
        recommender: Recommender,
        histories: Mapping[str, History],
        *,
        empty: Callable[[str], History] = lambda user: History.empty(),
        exclude_seen: bool = True,
        owners: Sequence[str | None] = (),
    ) -> None:
        self.name = name
        self._owners = Owners(owners)
        self._recommender, self._histories, self._empty = recommender, histories, empty
        self._exclude_seen = exclude_seen

    @classmethod
    def of(
        cls,
        fitted: Fitted,
        name: str,
        recommender: Recommender,
        histories: Mapping[str, History],
        settings: EvaluateConfig,
    ) -> "System":
        """`recommender` over the items and the fields of users of `fitted`."""
        return cls(
            name,
            recommender,
            histories,
            empty=fitted.builder.empty,
            exclude_seen=settings.exclude_seen,
            owners=fitted.features.owners,
        )

    def recommend(self, users: Sequence[str], k: int, *, allowed: Bools | None) -> Ints:
        """The best `k` items for each user, 0 where there are fewer. Shape [U, k]."""
        ranked_UK = np.full((len(users), k), PAD, np.int64)
        for start in range(0, len(users), USERS_AT_ONCE):
            names = users[start : start + USERS_AT_ONCE]
            histories = [
                self._owners.visible_history(user, history_of(user, self._histories, self._empty))
                for user in names
            ]
            found = recommend_visible(
                self._recommender,
                self._owners,
                names,
                histories,
                k,
                exclude_seen=self._exclude_seen,
                allowed=allowed,
            ).items
            ranked_UK[start : start + len(names), : found.shape[1]] = found
        return ranked_UK


class KeptLists:
    """A model whose lists are kept in a folder, so that an interrupted evaluation asks it only once.

    `key` changes with everything that the lists depend on beside the users, `k` and `allowed`.
    """

    def __init__(self, model: System, folder: Path, key: str) -> None:
        self.name = model.name
        self._model, self._folder, self._key = model, folder, key

    def recommend(self, users: Sequence[str], k: int, *, allowed: Bools | None) -> Ints:
        """As `System.recommend`. A damaged file is made again."""
        asked = (self._key, self.name, list(users), k, None if allowed is None else allowed.tobytes())
        path = self._folder / f"{hashlib.sha256(repr(asked).encode()).hexdigest()}.npy"
        try:
            found: Ints = np.load(path, allow_pickle=False)
            if found.shape == (len(users), k):
                return found
        except (OSError, ValueError, EOFError):
            pass
        found = self._model.recommend(users, k, allowed=allowed)
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.save(file, found, allow_pickle=False)
            file.flush()
        return found


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
        System.of(fitted, name, recommender, histories, settings) for name, recommender in systems.items()
    ]


def id_only(config: Config) -> Config:
    """The configuration of the id-only model: the same model without content, from ids and events alone.

    Nothing is searched by it, so that its ranker is not cross-fitted.
    """
    item = config.model.item.model_copy(update={"use_content": False, "use_id": True, "id_dropout": 0.0})
    model = config.model.model_copy(update={"item": item})
    search = config.search.model_copy(update={"enabled": False})
    return config.model_copy(update={"model": model, "search": search})


def audit_predictions(
    predictions: Predictions,
    fitted: Fitted,
    dataset: Dataset,
    split: Split,
    histories: Mapping[str, History],
    settings: EvaluateConfig,
) -> Audit:
    """Audit what models read at test time, and the ground truth; raises `LeakError`."""
    return audit_test(
        dataset,
        split,
        features=fitted.features,
        builder=fitted.builder,
        histories=histories,
        ground_truth=predictions.ground_truth(),
        exclude_seen=settings.exclude_seen,
    )
