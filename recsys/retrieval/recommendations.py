"""`Recommendations`: ranked items of users, with the attention weights that explain them.

Legend: B users, k ranks of a list, T tokens of an item, H past items.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from recsys.arrays import Floats, Ints
from recsys.retrieval.fallback import AnsweredBy


@dataclass(frozen=True, kw_only=True)
class Recommendations:
    """Ranked items of B users, best first. Attention is 0 for items that the ranker did not read."""

    items: Ints  # [B, k], 0 where there are fewer than k
    scores: Floats  # [B, k], -inf there
    retriever_scores: Floats  # [B, k], the part of the score that the towers give
    answered_by: tuple[AnsweredBy, ...]  # of each user
    token_attention: Floats | None = None  # [B, k, T]
    history_attention: Floats | None = None  # [B, k, H]
    history_items: Ints | None = None  # [B, H], right-aligned: the newest event is last

    def row(self, row: int) -> "Recommendations":
        """The list of one user."""
        one = slice(row, row + 1)

        def cut(array: Any) -> Any:
            return None if array is None else array[one]

        return Recommendations(
            items=self.items[one],
            scores=self.scores[one],
            retriever_scores=self.retriever_scores[one],
            answered_by=self.answered_by[one],
            token_attention=cut(self.token_attention),
            history_attention=cut(self.history_attention),
            history_items=cut(self.history_items),
        )


def interleave(parts: Sequence[tuple[Ints, Recommendations]], num_users: int) -> Recommendations:
    """The lists of all `parts` in the order of the users; each part is a pair of user rows and lists.

    Where only some parts have attention weights, the others get zeros, and padding as their past items.
    """
    assert parts, "no users at all"
    if len(parts) == 1:
        return parts[0][1]

    def put_together(name: str) -> Any:
        arrays: list[tuple[Ints, npt.NDArray[Any] | None]] = [
            (rows, getattr(each, name)) for rows, each in parts
        ]
        known = next((array for _, array in arrays if array is not None), None)
        if known is None:
            return None
        whole = np.zeros((num_users, *known.shape[1:]), known.dtype)
        for rows, array in arrays:
            if array is not None:
                whole[rows] = array
        return whole

    answered: dict[int, AnsweredBy] = {}
    for rows, each in parts:
        answered |= zip(rows.tolist(), each.answered_by, strict=True)
    return Recommendations(
        items=put_together("items"),
        scores=put_together("scores"),
        retriever_scores=put_together("retriever_scores"),
        answered_by=tuple(answered[row] for row in range(num_users)),
        token_attention=put_together("token_attention"),
        history_attention=put_together("history_attention"),
        history_items=put_together("history_items"),
    )


def attention_at(array_BKX: npt.NDArray[Any] | None, column_Bk: Ints) -> Floats | None:
    """Attention weights of the listed items; zeros where the ranker did not read the item. [B, k, X]."""
    if array_BKX is None:
        return None
    taken = np.take_along_axis(array_BKX, np.maximum(column_Bk, 0)[..., None], axis=1)
    return np.where(column_Bk[..., None] >= 0, taken, 0.0).astype(np.float32)
