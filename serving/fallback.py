"""What stands in for the model where nothing is known of a user: the most popular items."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from recsys.arrays import Bools, Floats, Ints
from recsys.history import History
from recsys.ids import NUM_RESERVED, PAD
from recsys.retrieval.recommender import Recommendations


class Popularity:
    """Lists by training events, ties by id; the count is the score."""

    def __init__(self, popularity_N: Floats) -> None:
        self._count_N = popularity_N
        order = np.argsort(-popularity_N[NUM_RESERVED:], kind="stable")
        self._order: Ints = order.astype(np.int64) + NUM_RESERVED

    def recommend(
        self, histories: Sequence[History | None], k: int, *, exclude_seen: bool, allowed: Bools | None
    ) -> Recommendations:
        """The `k` most popular items, but for those that a history has seen."""
        items = self._order if allowed is None else self._order[allowed[self._order]]
        items_BK = np.full((len(histories), min(k, len(self._order))), PAD, np.int64)
        for row, history in enumerate(histories):
            unseen = items
            if exclude_seen and history is not None and len(history.seen):
                head = items[: k + len(history.seen)]
                unseen = head[~np.isin(head, history.seen)]
            items_BK[row, : len(unseen)] = unseen[: items_BK.shape[1]]
        return self._scored(items_BK)

    def rank(self, candidates: Ints) -> Recommendations:
        """Candidates [B, K] by popularity, ties in the order given."""
        order_BK = np.argsort(-self._count_N[candidates], axis=1, kind="stable")
        return self._scored(np.take_along_axis(candidates, order_BK, 1))

    def _scored(self, items_BK: Ints) -> Recommendations:
        score_BK = np.where(items_BK == PAD, -np.inf, self._count_N[items_BK]).astype(np.float32)
        return Recommendations(items=items_BK, scores=score_BK, retriever_scores=score_BK)


def interleave(
    is_known: Bools, known: Recommendations | None, others: Recommendations | None
) -> Recommendations:
    """One table of lists: rows of `known` where `is_known` [B], rows of `others` elsewhere.

    Attentions of `others`, which has none, are zeros, and its history is padding.
    """
    if known is None or others is None:
        whole = known or others
        assert whole is not None, "no lists at all"
        return whole

    def weave(here: npt.NDArray[Any] | None, there: npt.NDArray[Any] | None) -> Any:
        if here is None:
            return None
        rows = np.zeros((len(is_known), *here.shape[1:]), here.dtype)
        rows[is_known] = here
        if there is not None:
            rows[~is_known] = there
        return rows

    return Recommendations(
        items=weave(known.items, others.items),
        scores=weave(known.scores, others.scores),
        retriever_scores=weave(known.retriever_scores, others.retriever_scores),
        token_attention=weave(known.token_attention, None),
        history_attention=weave(known.history_attention, None),
        history_items=weave(known.history_items, None),
    )
