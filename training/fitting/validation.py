"""Validation users and metrics for the choices of the towers, the ranker and the cold-start head.

Legend: U users, D width of their vectors.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from recsys.arrays import Floats, Ints
from recsys.config import Config
from recsys.history import History
from recsys.ids import PAD
from recsys.metrics import Doubles, IdLists, at_k
from recsys.models import Retriever
from training.cold_start import PastInteractions, ValidationUsers
from training.fitting.inputs import FitInputs
from training.fitting.torch_recommender import make_recommender
from training.ranker import SELECTION_K, FittedRanker, RankingTask, selection_ndcg

USERS_AT_ONCE = 512  # embedded and searched in one call; bounds the memory, changes no result


def is_ranker_user(user: str, share: float) -> bool:
    """Whether the ranker is trained on the user's newest events. A hash decides, the same in every run."""
    digest = hashlib.sha256(user.encode()).digest()
    return int.from_bytes(digest[:4], "big") < share * 2**32


def ranking_task(inputs: FitInputs, users: Sequence[str]) -> RankingTask:
    """The histories of `users` before validation, and their validation items."""
    return RankingTask(
        histories=[inputs.before[user] for user in users],
        ground_truth=[inputs.ground_truth[user] for user in users],
        exclude_seen=inputs.config.evaluate.exclude_seen,
    )


def tower_validation(inputs: FitInputs) -> Callable[[Retriever], float]:
    """The metric of early stopping: mean NDCG@10 of the towers alone over all validation users.

    Only warm items are ranked, because cold items have fixed ranks. Seen items are left out if
    `evaluate.exclude_seen` is true.
    """
    lists = IdLists.from_lists(list(inputs.ground_truth.values()))
    histories = [inputs.before[user] for user in inputs.ground_truth]
    return lambda model: selection_ndcg(_tower_lists(model, histories, inputs.config), lists)


def tower_ndcg(model: Retriever, inputs: FitInputs) -> Doubles:
    """The metric of `tower_validation` for each user of `inputs.ground_truth`, in their order. Shape [U]."""
    histories = [inputs.before[user] for user in inputs.ground_truth]
    ranked_UK = _tower_lists(model, histories, inputs.config)
    return at_k(ranked_UK, list(inputs.ground_truth.values()), [SELECTION_K])[f"ndcg@{SELECTION_K}"]


def _tower_lists(model: Retriever, histories: Sequence[History], config: Config) -> Ints:
    """The towers' first `SELECTION_K` warm items, filled up with the padding id. Shape [U, K]."""
    recommender = make_recommender(model, config)
    exclude_seen = config.evaluate.exclude_seen
    found = [
        recommender.retrieve(recommender.embed(some), some, SELECTION_K, exclude_seen=exclude_seen)[0]
        for some in _batches(histories)
    ]
    ranked_UK = np.concatenate(found)
    return np.pad(ranked_UK, ((0, 0), (0, SELECTION_K - ranked_UK.shape[1])), constant_values=PAD)


def validation_users(model: Retriever, inputs: FitInputs) -> ValidationUsers:
    """The users with validation items, embedded by `model`, for the choices of the cold-start head."""
    recommender, users = make_recommender(model, inputs.config), list(inputs.ground_truth)

    def embed(histories: Sequence[History]) -> Floats:
        return np.concatenate([recommender.embed(some) for some in _batches(histories)])

    histories = [inputs.before[user] for user in users]
    nothing = np.empty(0, np.int64)
    exclude_seen = inputs.config.evaluate.exclude_seen
    return ValidationUsers(
        user_UD=embed(histories),
        ground_truth=[inputs.ground_truth[user] for user in users],
        seen=[history.seen if exclude_seen else nothing for history in histories],
        past=PastInteractions(
            histories=histories, chosen=[_training_positives(inputs, user) for user in users], embed=embed
        ),
    )


def without_ranker_users(users: ValidationUsers, inputs: FitInputs, ranker: FittedRanker) -> ValidationUsers:
    """The users on whom the ranker's epoch was chosen, with the ranker's lists from before the final fit."""
    share = inputs.config.model.ranker.target_users
    rows = [row for row, user in enumerate(inputs.ground_truth) if not is_ranker_user(user, share)]
    return users.only(rows, ordered=ranker.validation_BK)


def _training_positives(inputs: FitInputs, user: str) -> Ints:
    """Items of the user's positive training events."""
    if user not in inputs.sequences:
        return np.empty(0, np.int64)
    sequence = inputs.sequences[user]
    return sequence.history.item[sequence.target]


def _batches(histories: Sequence[History]) -> Iterator[Sequence[History]]:
    return (histories[start : start + USERS_AT_ONCE] for start in range(0, len(histories), USERS_AT_ONCE))
