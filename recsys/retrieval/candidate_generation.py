"""Users to vectors, vectors to candidates, candidates to the inputs of the ranker.

Legend: B users, H past items that the ranker reads, K candidates, T tokens, D width, N items, S sources.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from recsys.arrays import Bools, Floats, Ints, unit
from recsys.history import History, SequenceSchema, collate
from recsys.ids import NUM_RESERVED, PAD
from recsys.item_features import ItemArrays
from recsys.retrieval.candidate_features import CandidateFeatures, Candidates, newest_items
from recsys.retrieval.candidate_sources import CandidateSource, merge
from recsys.retrieval.index.base import SearchIndex, nearest_unseen
from recsys.retrieval.index.exact import ExactIndex
from recsys.retrieval.item_lists import ItemLists, Query, Retrieved
from recsys.retrieval.settings import PAGE, RecommenderSettings
from recsys.retrieval.topk import top_k_of_lists

Arrays = Mapping[str, npt.NDArray[Any]]


class CandidateGenerator:
    """The retriever and the other candidate sources over one catalogue.

    `embed_users` takes the inputs of the user tower's graph by name; see docs/architecture.md, "Graphs".
    """

    def __init__(
        self,
        *,
        items: ItemArrays,
        schema: SequenceSchema,
        settings: RecommenderSettings,
        embed_users: Callable[[Arrays], Floats],
        index: SearchIndex,
        sources: Sequence[CandidateSource],
    ) -> None:
        self.items, self.schema, self.settings, self.index = items, schema, settings, index
        self._embed_users, self.sources = embed_users, tuple(sources)
        self._features = CandidateFeatures(items)
        real_N = np.arange(len(items.vectors)) >= NUM_RESERVED
        self._warm_N, self._cold_N = real_N & items.trained, real_N & ~items.trained

    def embed(self, histories: Sequence[History]) -> Floats:
        """Unit user vectors [B, D]."""
        batch = collate(histories, self.schema)
        event_BLD = self.items.vectors[batch.item]
        # The user tower reads vectors of unit length. Vectors of cold items have other lengths.
        inputs = {**batch.inputs, "event_vector": unit(event_BLD), "length": batch.length}
        return self._embed_users(inputs)

    def retrieve(
        self,
        user_BD: Floats,
        histories: Sequence[History],
        num: int,
        *,
        exclude_seen: bool = True,
        allowed: Bools | None = None,
    ) -> tuple[Ints, Floats]:
        """The `num` unseen warm items with the highest cosines, and the cosines. Shapes [B, num]."""
        seen = [history.seen for history in histories] if exclude_seen else None
        allowed_N = self._warm_N if allowed is None else self._warm_N & allowed
        return nearest_unseen(self.index, user_BD, num, allowed_N, seen)

    def candidates(
        self,
        user_BD: Floats,
        histories: Sequence[History],
        *,
        exclude_seen: bool = True,
        allowed: Bools | None = None,
    ) -> Candidates:
        """The candidates of the head of the lists, which the ranker orders."""
        found_BK, _ = self.retrieve(
            user_BD, histories, self.settings.num_candidates, exclude_seen=exclude_seen, allowed=allowed
        )
        query = Query(histories=histories, user_BD=user_BD, exclude_seen=exclude_seen, allowed=allowed)
        return self._with_sources(query, found_BK)

    def score_given(self, user_BD: Floats, histories: Sequence[History], candidate_BK: Ints) -> Candidates:
        """Cosines and the sources' scores of given candidates [B, K]."""
        source_BKS = np.zeros((*candidate_BK.shape, len(self.sources)), np.float32)
        for column, source in enumerate(self.sources):
            source_BKS[..., column] = source.scores(histories, candidate_BK)
        return Candidates(
            items=candidate_BK, cosines=self._cosines(user_BD, candidate_BK), source_scores=source_BKS
        )

    def rank_inputs(
        self,
        histories: Sequence[History],
        user_BD: Floats,
        candidates: Candidates,
    ) -> dict[str, npt.NDArray[Any]]:
        """The inputs of the ranker's graph for these lists, in training and serving."""
        history_BH, candidate_BK = self.history_items(histories), candidates.items
        length_B = np.array([len(history) for history in histories], np.int64)
        return {
            "user_vector": user_BD,
            "history_vector": unit(self.items.vectors[history_BH]),  # as the user tower reads them
            "history_mask": history_BH >= NUM_RESERVED,
            "candidate_vector": self.items.vectors[candidate_BK],
            "candidate_tokens": self.items.tokens[candidate_BK].astype(np.float32),
            "candidate_token_mask": self.items.token_mask[candidate_BK],
            **self._features.inputs(candidates, length_B),
        }

    def history_items(self, histories: Sequence[History]) -> Ints:
        """The newest H items of each history, right-aligned. Shape [B, H]."""
        return newest_items(histories, self.settings.history_length)

    def retriever_score(self, cosine_BK: Floats) -> Floats:
        """cosine / temperature."""
        return (cosine_BK / self.settings.temperature).astype(np.float32)

    def is_rankable(self, candidate_BK: Ints) -> Bools:
        """Which candidates a ranker orders: warm items. Shape [B, K]."""
        rankable: Bools = self._warm_N[candidate_BK]
        return rankable

    def similar(self, items: Ints, k: int, *, allowed: Bools | None = None) -> tuple[Ints, Floats]:
        """The `k` nearest other items of each of `items`, warm and cold alike, and their cosines.

        `allowed` [N] restricts the catalogue.
        Nearest first, ties by item id, 0 and -inf where there are fewer. Shapes [B, k].
        """
        query_BD = unit(self.items.vectors[items])
        # Vectors of warm items have unit length, so that the index has their cosines; cold items' have not.
        allowed_N = self._warm_N if allowed is None else self._warm_N & allowed
        found_BK, _ = self.index.search(query_BD, k + 1, allowed=allowed_N)
        if self._cold_N.any():
            cold = None if allowed is None else allowed[self._cold_N]
            cold_BK, _ = self._cold_by_cosine.search(query_BD, k + 1, allowed=cold)
            found_BK = np.concatenate([found_BK, cold_BK], axis=1)
        found_BK = np.where(found_BK == items[:, None], PAD, found_BK)
        cosine_BK = np.einsum("bd,bkd->bk", query_BD, unit(self.items.vectors[found_BK]))
        return top_k_of_lists(found_BK, cosine_BK, k)

    def _retrieve(self, query: Query, num: int) -> tuple[Ints, Floats]:
        return self.retrieve(
            query.user_BD, query.histories, num, exclude_seen=query.exclude_seen, allowed=query.allowed
        )

    def _with_sources(self, query: Query, found_BK: Ints) -> Candidates:
        """The retriever's candidates, then the items that the other sources add."""
        added = [
            source.candidates(
                query.histories,
                self.settings.source_candidates,
                excluded=query.excluded,
                allowed=query.allowed,
            )[0]
            for source in self.sources
        ]
        return self.score_given(query.user_BD, query.histories, merge(found_BK, added) if added else found_BK)

    def _retrieved(self, query: Query, num_ranks: int) -> Retrieved:
        """The nearest items: the head of a ranked list, and its tail where `num_ranks` is longer."""
        num_candidates, limit = self.settings.num_candidates, self._max_warm
        # Up to the number of candidates a list consists of the head only.
        is_head_enough = num_ranks <= num_candidates and self.index.is_exact
        items_BL, cosine_BL = self._retrieve(query, min(limit, num_candidates) if is_head_enough else limit)
        return Retrieved(
            items=items_BL, scores=self.retriever_score(cosine_BL), is_head_enough=is_head_enough
        )

    @property
    def _max_warm(self) -> int:
        """The largest number of warm items that a list can have."""
        return min(self.settings.max_list_length, len(self.items.vectors) - NUM_RESERVED)

    @property
    def _num_cold_candidates(self) -> int:
        """The first cold items of the lists, for which the ranker computes attention weights."""
        num_head = self.settings.num_candidates + len(self.sources) * self.settings.source_candidates
        return max(PAGE, len(self.settings.cold_ranks) * -(-num_head // PAGE))

    def _cold_candidates(self, query: Query, cold: ItemLists) -> Candidates:
        """The first cold items, for the ranker's attention to them."""
        num = self._num_cold_candidates
        items_BK = cold.items[:, :num]
        none_BKS = np.zeros((*items_BK.shape, len(self.sources)), np.float32)
        return Candidates(
            items=items_BK, cosines=self._cosines(query.user_BD, items_BK), source_scores=none_BKS
        )

    def _cosines(self, user_BD: Floats, candidate_BK: Ints) -> Floats:
        cosine_BK = np.einsum("bd,bkd->bk", user_BD, self.items.vectors[candidate_BK])
        return np.where(candidate_BK == PAD, -np.inf, cosine_BK).astype(np.float32)

    @cached_property
    def _cold_by_cosine(self) -> ExactIndex:
        """Cold items at unit length."""
        rows = np.flatnonzero(self._cold_N)
        return ExactIndex.build(unit(self.items.vectors[rows]), rows)
