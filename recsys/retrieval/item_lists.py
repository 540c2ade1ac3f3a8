"""Intermediate lists of items: candidates sorted by score, the nearest items, and a head with its tail.

The nearest items are searched only as deep as the asked-for length needs.

Legend: B users, K candidates, L ranks of a list, D width, N items.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from recsys.arrays import Bools, Floats, Ints
from recsys.history import History
from recsys.ids import PAD
from recsys.retrieval.reranking import best_first, tie_groups

GAP = 0.002  # least difference of the lowest score of a head and the highest score of its tail


@dataclass(frozen=True, kw_only=True)
class ItemLists:
    """Lists of B users, best first; scores never rise from one rank to the next."""

    items: Ints  # [B, L], 0 after the last
    scores: Floats  # [B, L], -inf there
    retriever_scores: Floats  # [B, L], the part of the score that the towers give
    column: (
        Ints  # [B, L], the item's column among the ranker's candidates, -1 where the ranker did not read it
    )

    def at(self, place_Bk: Ints) -> "ItemLists":
        """The entries at the positions `place_Bk` of each list, in this order."""
        take = np.take_along_axis
        return ItemLists(
            items=take(self.items, place_Bk, 1),
            scores=take(self.scores, place_Bk, 1),
            retriever_scores=take(self.retriever_scores, place_Bk, 1),
            column=take(self.column, place_Bk, 1),
        )

    def read_at(self, columns: Ints) -> "ItemLists":
        """A copy in which the first entries have the columns `columns` of the ranker's candidates."""
        column = np.full(self.items.shape[1], -1, np.int64)
        column[: len(columns)] = columns
        return replace(self, column=np.tile(column, (len(self.items), 1)))

    def first(self, length: int) -> "ItemLists":
        """The first `length` ranks, padded where the lists are shorter."""
        missing = max(length - self.items.shape[1], 0)

        def cut(array: Any, fill: float) -> Any:
            shorter = array[:, :length]
            return np.pad(shorter, ((0, 0), (0, missing)), constant_values=fill) if missing else shorter

        return ItemLists(
            items=cut(self.items, PAD),
            scores=cut(self.scores, -np.inf),
            retriever_scores=cut(self.retriever_scores, -np.inf),
            column=cut(self.column, -1),
        )


def sorted_lists(
    item_BK: Ints, score_BK: Floats, retriever_BK: Floats, *, keep_BK: Bools | None = None
) -> ItemLists:
    """Candidates sorted by score; with `keep_BK` only the candidates with a true mask."""
    if keep_BK is not None:
        item_BK = np.where(keep_BK, item_BK, PAD)
    score_BK, retriever_BK = (
        np.where(item_BK == PAD, -np.inf, each).astype(np.float32) for each in (score_BK, retriever_BK)
    )
    order_BK = best_first(score_BK, item_BK)
    take = np.take_along_axis
    return ItemLists(
        items=take(item_BK, order_BK, 1),
        # Ties are ordered by id. The running minimum keeps scores descending.
        scores=np.minimum.accumulate(take(score_BK, order_BK, 1), axis=1),
        retriever_scores=take(retriever_BK, order_BK, 1),
        column=order_BK,
    )


def head_and_tail(head: ItemLists, tail: ItemLists) -> ItemLists:
    """The head followed by the tail. The tail's scores are lowered to be below the head's by `GAP`."""
    lowest_B = np.where(head.items != PAD, head.scores, np.inf).min(1, initial=np.inf)
    highest_B = tail.scores.max(1, initial=-np.inf)
    with np.errstate(invalid="ignore"):  # inf - inf where either is empty
        down_B = np.nan_to_num(np.maximum(highest_B - lowest_B + GAP, 0.0), nan=0.0, posinf=0.0, neginf=0.0)
    both = ItemLists(
        items=np.concatenate([head.items, tail.items], axis=1),
        scores=np.concatenate([head.scores, tail.scores - down_B[:, None]], axis=1).astype(np.float32),
        retriever_scores=np.concatenate([head.retriever_scores, tail.retriever_scores], axis=1),
        column=np.concatenate([head.column, np.full_like(tail.column, -1)], axis=1),
    )
    return both.at(np.argsort(both.items == PAD, axis=1, kind="stable"))


@dataclass(frozen=True, kw_only=True)
class Query:
    """Users whose lists are ordered by the same model, and the items that may be recommended to them."""

    histories: Sequence[History]
    user_BD: Floats
    exclude_seen: bool
    allowed: Bools | None  # [N], None: the whole catalogue

    def of(self, rows: Ints) -> "Query":
        """The users in `rows`."""
        histories = [self.histories[row] for row in rows]
        return replace(self, histories=histories, user_BD=self.user_BD[rows])

    @property
    def excluded(self) -> list[Ints] | None:
        """The seen items of each user; None where seen items may be recommended."""
        return [history.seen for history in self.histories] if self.exclude_seen else None


@dataclass(frozen=True, kw_only=True)
class Retrieved:
    """The nearest warm items of B users."""

    items: Ints  # [B, L], nearest first, 0 after the last
    scores: Floats  # [B, L], the retriever's
    is_head_enough: bool  # whether they are the head of a ranked list alone

    def of(self, rows: Ints) -> "Retrieved":
        """Those of the users in `rows`."""
        return replace(self, items=self.items[rows], scores=self.scores[rows])


def nearest_lists(
    search: Callable[[int], tuple[Ints, Floats]], temperature: float, *, need: int, limit: int
) -> ItemLists:
    """The `limit` nearest items in the order of a list, of which at least the first `need` are returned.

    `search` gives that many nearest items and their cosines, best first, and a search for fewer items must
    give the first of a longer one. Twice `need` are searched for. Ties are ordered by id, so where an item
    that was not found could tie with the item at `need`, all `limit` are searched for.
    """
    depth = min(2 * need, limit)
    found_BL, score_BL = _scored(search, depth, temperature)
    if depth < limit:
        tie_BL = tie_groups(score_BL)
        if not ((tie_BL[:, need - 1] < tie_BL[:, -1]) | (found_BL[:, -1] == PAD)).all():
            found_BL, score_BL = _scored(search, limit, temperature)
    return sorted_lists(found_BL, score_BL, score_BL)


def _scored(
    search: Callable[[int], tuple[Ints, Floats]], num: int, temperature: float
) -> tuple[Ints, Floats]:
    found_BL, cosine_BL = search(num)
    return found_BL, (cosine_BL / temperature).astype(np.float32)
