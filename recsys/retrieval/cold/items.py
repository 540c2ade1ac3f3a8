"""`ColdItems`: the cold items of a catalogue in a user's order, by the cold ranker or by the retriever.

Legend: B users, K candidates, L ranks of a list, N items, D width.
"""

from functools import cached_property
from typing import Final

import numpy as np

from recsys.arrays import Bools, Floats, Ints
from recsys.ids import NUM_RESERVED, PAD
from recsys.item_features import ItemArrays
from recsys.retrieval.candidate_features import CosineSpread
from recsys.retrieval.candidate_sources import merge
from recsys.retrieval.cold.ranker import ColdRanker
from recsys.retrieval.fallback import AnsweredBy
from recsys.retrieval.index.base import nearest_unseen
from recsys.retrieval.index.exact import ExactIndex
from recsys.retrieval.item_lists import ItemLists, Query, head_and_tail, nearest_lists, sorted_lists
from recsys.retrieval.settings import RecommenderSettings

# Candidates of the cold ranker: the cold items nearest to the user, and those of each content source. The
# other cold items follow in the retriever's order.
CANDIDATES: Final = 200
SOURCE_CANDIDATES: Final = 50


class ColdItems:
    """Items without training events. `ranker` None: they are ordered by the retriever."""

    def __init__(self, items: ItemArrays, ranker: ColdRanker | None) -> None:
        self.ranker, self._vectors = ranker, items.vectors
        is_cold_N = ~items.trained
        is_cold_N[:NUM_RESERVED] = False
        self._rows = np.flatnonzero(is_cold_N)
        # [N] with content. An item without content is never listed: its vector is that of all such items.
        self.listed_N: Bools = is_cold_N & np.any(items.token_mask, axis=1)

    def has_ranker(self, by: AnsweredBy) -> bool:
        """Whether the cold ranker orders the items of these users: it reads their histories."""
        return self.ranker is not None and by is AnsweredBy.HISTORY

    def lists(self, by: AnsweredBy, query: Query, need: int, settings: RecommenderSettings) -> ItemLists:
        """At least `need` items, at most `max_list_length`: a prefix of the lists for a larger `need`."""
        listed: Bools = self.listed_N[self._rows]
        limit = min(settings.max_list_length, int(listed.sum()))
        if not limit:
            none_BL = np.empty((len(query.histories), 0), np.float32)
            return sorted_lists(none_BL.astype(np.int64), none_BL, none_BL)
        allowed = listed if query.allowed is None else listed & query.allowed[self._rows]

        def search(num: int) -> tuple[Ints, Floats]:
            return nearest_unseen(self._index, query.user_BD, num, allowed, query.excluded)

        def nearest(need: int) -> ItemLists:
            return nearest_lists(search, settings.temperature, need=need, limit=limit)

        if not self.has_ranker(by):
            return nearest(need)
        head = self._head(query, search(min(CANDIDATES, limit))[0], settings.temperature)
        if need <= CANDIDATES:
            return head
        tail = nearest(limit)
        in_head = np.stack([np.isin(*rows) for rows in zip(tail.items, head.items, strict=True)])
        left = sorted_lists(tail.items, tail.scores, tail.retriever_scores, keep_BK=~in_head)
        return head_and_tail(head, left).first(limit)

    def scores(
        self, by: AnsweredBy, query: Query, item_BK: Ints, cosine_BK: Floats, settings: RecommenderSettings
    ) -> Floats:
        """The scores by which given cold items are ordered. Shape [B, K]."""
        if self.ranker is None or not self.has_ranker(by):
            return (cosine_BK / settings.temperature).astype(np.float32)
        evidence = self.ranker.read(query.histories)
        return evidence.scores(self._standardized(query.user_BD, cosine_BK), item_BK)

    def _head(self, query: Query, found_BK: Ints, temperature: float) -> ItemLists:
        """The nearest items and those that the content sources add, in the order of the cold ranker."""
        assert self.ranker is not None
        allowed_N = self.listed_N if query.allowed is None else self.listed_N & query.allowed
        evidence = self.ranker.read(query.histories)
        added = evidence.candidates(SOURCE_CANDIDATES, excluded=query.excluded, allowed=allowed_N)
        item_BK = merge(found_BK, added) if added else found_BK
        cosine_BK = np.einsum("bd,bkd->bk", query.user_BD, self._vectors[item_BK])
        cosine_BK = np.where(item_BK == PAD, -np.inf, cosine_BK).astype(np.float32)
        score_BK = evidence.scores(self._standardized(query.user_BD, cosine_BK), item_BK)
        return sorted_lists(item_BK, score_BK, (cosine_BK / temperature).astype(np.float32))

    def _standardized(self, user_BD: Floats, cosine_BK: Floats) -> Floats:
        """(cosine - mean) / deviation over the listed items; 0 at padding and where all are equal. [B, K]."""
        mean_B, deviation_B = self._spread.of(user_BD)
        with np.errstate(divide="ignore", invalid="ignore"):
            standard_BK = (cosine_BK - mean_B[:, None]) / deviation_B[:, None]
        known_BK = (deviation_B[:, None] > 0) & np.isfinite(cosine_BK)
        return np.where(known_BK, standard_BK, 0.0).astype(np.float32)

    @cached_property
    def _index(self) -> ExactIndex:
        """By inner product: vectors of cold items do not have unit length."""
        return ExactIndex.build(self._vectors[self._rows], self._rows)

    @cached_property
    def _spread(self) -> CosineSpread:
        return CosineSpread(self._vectors, np.flatnonzero(self.listed_N))
