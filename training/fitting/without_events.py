"""Lists for users who have fields but no events: by the towers or by popularity, chosen on validation.

Legend: U users.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from recsys.arrays import Ints
from recsys.history import History
from recsys.metrics import IdLists, at_k, is_clear, standard_error
from recsys.retrieval import PAGE, Recommender, has_profile
from training.ranker import SELECTION_K, selection_ndcg_by_user

logger = logging.getLogger(__name__)

MIN_USERS = 30  # with fewer validation users the difference of both is unreliable
USERS_AT_ONCE = 512


@dataclass(frozen=True, kw_only=True)
class WithoutEvents:
    """The choice and its reason; NDCG@10 of both on validation, None where it was not measured."""

    answer: Literal["towers", "popularity"]
    reason: str
    num_users: int = 0
    towers_ndcg: float | None = None
    popularity_ndcg: float | None = None
    half_life_days: float | None = None  # of popularity; None: every event counts the same
    half_life_reason: str = ""
    has_cold_ranks: bool = True  # of users who get popular items; False: cold items follow all warm ones
    cold_reason: str = ""


POPULARITY = WithoutEvents(answer="popularity", reason="not measured")


def choose_without_events(
    recommender: Recommender, histories: Mapping[str, History], ground_truth: Mapping[str, Ints]
) -> WithoutEvents:
    """Popularity, unless the towers are better in NDCG@10 on validation users without an event before it.

    Better is by more than the standard error of the paired difference.
    `histories` have these users' fields, `ground_truth` their validation items. Warm items alone are
    compared: cold items have the same ranks either way. Popularity answers where fewer than `MIN_USERS` users
    have fields.
    """
    users = [user for user, history in histories.items() if has_profile(history) and user in ground_truth]
    if len(users) < MIN_USERS:
        reason = (
            f"{len(users)} validation users have fields and no event before validation; "
            f"{MIN_USERS} are needed to compare towers and popularity"
        )
        return WithoutEvents(answer="popularity", reason=reason, num_users=len(users))
    lists = IdLists.from_lists([ground_truth[user] for user in users])
    ndcg = {}
    for answer in ("towers", "popularity"):
        configured = recommender.with_settings(without_events=answer, cold_ranks=())
        found_UK = _lists(configured, [histories[user] for user in users], SELECTION_K)
        ndcg[answer] = selection_ndcg_by_user(found_UK, lists)
    gain_U = ndcg["towers"] - ndcg["popularity"]
    better: Literal["towers", "popularity"] = "towers" if is_clear(gain_U) else "popularity"
    towers, popularity = float(ndcg["towers"].mean()), float(ndcg["popularity"].mean())
    reason = (
        f"NDCG@{SELECTION_K} of {len(users)} validation users with fields and no event before validation: "
        f"towers {towers:.4f}, popularity {popularity:.4f}, standard error {standard_error(gain_U):.4f}"
    )
    logger.info("users without events: %s answers; %s", better, reason)
    return WithoutEvents(
        answer=better,
        reason=reason,
        num_users=len(users),
        towers_ndcg=towers,
        popularity_ndcg=popularity,
    )


def choose_cold_ranks(
    recommender: Recommender, histories: Mapping[str, History], ground_truth: Mapping[str, Ints]
) -> tuple[bool, str]:
    """Whether users who get popular items have the cold ranks of `recommender`, and the reason in words.

    They have unless NDCG@20 of validation users without an event before validation, their cold items
    included, is higher without cold ranks by more than the standard error. Nothing is known of these users,
    so their cold items are in an order that is nobody's own.
    """
    if not recommender.settings.cold_ranks or len(ground_truth) < MIN_USERS:
        return True, f"{len(ground_truth)} validation users without an event; {MIN_USERS} are needed"
    truth, users = IdLists.from_lists(list(ground_truth.values())), list(ground_truth)
    ndcg, k = [], min(PAGE, recommender.settings.max_list_length)
    for has_ranks in (True, False):
        configured = recommender.with_settings(without_events="popularity", cold_without_events=has_ranks)
        found_UK = _lists(configured, [histories[user] for user in users], k)
        ndcg.append(at_k(found_UK, truth, [k])[f"ndcg@{k}"])
    gain_U = ndcg[1] - ndcg[0]
    reason = (
        f"NDCG@{k} of {len(users)} validation users without an event before validation: "
        f"{ndcg[0].mean():.4f} with cold ranks, {ndcg[1].mean():.4f} without "
        f"(standard error {standard_error(gain_U):.4f})"
    )
    logger.info("users without events: %s", reason)
    return not is_clear(gain_U), reason


def _lists(recommender: Recommender, histories: Sequence[History], k: int) -> Ints:
    """The first `k` items for each user. Shape [U, k]."""
    parts = [histories[start : start + USERS_AT_ONCE] for start in range(0, len(histories), USERS_AT_ONCE)]
    return np.concatenate([recommender.recommend(part, k).items for part in parts])
