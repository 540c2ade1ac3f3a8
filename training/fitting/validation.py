"""Validation users and metrics for the choices of the towers, the ranker and the cold-start head.

Legend: U users, D width of their vectors.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from recsys.arrays import Floats, Ints
from recsys.history import History
from recsys.metrics import IdLists
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
    users, config = list(inputs.ground_truth), inputs.config
    lists = IdLists.from_lists([inputs.ground_truth[user] for user in users])
    exclude_seen = config.evaluate.exclude_seen
    histories = [inputs.before[user] for user in users]

    def validate(model: Retriever) -> float:
        recommender = make_recommender(model, config)
        found = [
            recommender.retrieve(recommender.embed(some), some, SELECTION_K, exclude_seen=exclude_seen)[0]
            for some in _batches(histories)
        ]
        return selection_ndcg(np.concatenate(found), lists)

    return validate


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
