"""Embed user → retrieve → filter → rank → re-rank, composed from callables.

Evaluation passes torch callables, serving ONNX Runtime callables; all other code is shared.

A list has a head and a tail. The head has a fixed number of warm candidates: the nearest items of the
retriever and the candidates that the other sources add. The ranker orders the head. The tail has the next
items in the retriever's order. Cold items are ordered by the retriever and merged into the list at fixed
ranks. The candidates do not depend on the requested length k, so that a shorter list is a prefix of a longer
list. With an exact index the retriever searches only as many items as k needs, since a search for fewer items
returns a prefix of a search for more.

Legend: B users, L ranks of a list, H past items that the ranker reads, K candidates, T tokens, D width,
N items, S sources.
"""

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from recsys.arrays import Bools, Floats, Ints, unit
from recsys.errors import RequestError
from recsys.history import History, SequenceSchema, collate
from recsys.ids import NUM_RESERVED, PAD
from recsys.item_features import ItemArrays
from recsys.retrieval.candidate_features import CandidateFeatures, Candidates, newest_items
from recsys.retrieval.candidate_sources import CandidateSource, merge
from recsys.retrieval.cold_ranks import merge_by_rank
from recsys.retrieval.fallback import AnsweredBy, Popularity, answered_by
from recsys.retrieval.index.base import Index, nearest_unseen
from recsys.retrieval.index.exact import ExactIndex
from recsys.retrieval.item_lists import ItemLists, head_and_tail, sorted_lists
from recsys.retrieval.nearest_lists import Query, nearest_lists
from recsys.retrieval.recommendations import Recommendations, attention_at, interleave
from recsys.retrieval.reranking import diversify
from recsys.retrieval.settings import PAGE, RecommenderSettings
from recsys.retrieval.topk import top_k_of_lists

Arrays = Mapping[str, npt.NDArray[Any]]


class Recommender:
    """`embed_users` and `rank` take graph inputs by name; see docs/architecture.md, "Graphs"."""

    def __init__(
        self,
        *,
        items: ItemArrays,
        schema: SequenceSchema,
        settings: RecommenderSettings,
        embed_users: Callable[[Arrays], Floats],
        rank: Callable[[Arrays], Arrays] | None,
        index: Index,
        sources: Sequence[CandidateSource] = (),
    ) -> None:
        self.items, self.schema, self.settings, self.index = items, schema, settings, index
        self._embed_users, self._rank = embed_users, rank
        self.sources = tuple(sources)
        self._features = CandidateFeatures(items)
        self._popularity = Popularity(items, settings.temperature)
        real_N = np.arange(len(items.vectors)) >= NUM_RESERVED
        self._warm_N, self._cold_N = real_N & items.trained, real_N & ~items.trained

    def without_ranker(self) -> "Recommender":
        """A copy without ranker and candidate sources, over the same items and index."""
        alone = copy(self)
        alone._rank, alone.sources = None, ()
        return alone

    def with_settings(self, **changes: Any) -> "Recommender":
        """A copy with changed settings."""
        other = copy(self)
        other.settings = self.settings.model_copy(update=changes)
        return other

    def recommend(
        self,
        histories: Sequence[History | None],
        k: int,
        *,
        exclude_seen: bool = True,
        allowed: Bools | None = None,
        diversity: float = 0.0,
    ) -> Recommendations:
        """The best `k` items for each user; None is a user without events and fields.

        `allowed` [N] restricts the catalogue. A shorter list is a prefix of a longer list. Scores are in
        descending order; with `diversity` > 0 items keep the scores that they have without diversity.
        Raises `RequestError` for a k outside 1 to `settings.max_list_length`.
        """
        if not 1 <= k <= self.settings.max_list_length:
            raise RequestError("k", f"from 1 to {self.settings.max_list_length}", k)

        def answer(by: AnsweredBy, users: list[History], rows: Ints) -> Recommendations:
            query = Query(
                histories=users, user_BD=self.embed(users), exclude_seen=exclude_seen, allowed=allowed
            )
            length = self.settings.max_list_length
            # Diversity picks among all items that the longest list would have.
            lists = self._lists(by, query, num_ranks=length if diversity else k)
            return self._listed(by, query, lists, length=length, k=k, diversity=diversity)

        return self._by_kind_of_user(histories, answer)

    def rank(self, histories: Sequence[History | None], candidates: Ints) -> Recommendations:
        """All of the given candidates [B, K] of each user, in the order of a recommended list.

        Warm candidates are ordered as by `recommend`; cold candidates have the fixed cold ranks.
        """

        def answer(by: AnsweredBy, users: list[History], rows: Ints) -> Recommendations:
            query = Query(histories=users, user_BD=self.embed(users), exclude_seen=False, allowed=None)
            given = self.score_given(query.user_BD, users, candidates[rows])
            ranked: Arrays = {}
            if self._rank is not None and by is AnsweredBy.HISTORY:
                ranked = self._rank(self.rank_inputs(users, query.user_BD, given))
            retriever_BK = self.retriever_score(given.cosines)
            cold = sorted_lists(given.items, retriever_BK, retriever_BK, keep_BK=self._cold_N[given.items])
            lists, length = (self._given_warm(by, given, ranked), cold, ranked), given.items.shape[1]
            return self._listed(by, query, lists, length=length, k=length)

        return self._by_kind_of_user(histories, answer)

    def similar(self, items: Ints, k: int) -> tuple[Ints, Floats]:
        """The `k` nearest other items of each of `items`, warm and cold alike, and their cosines.

        Nearest first, ties by item id, 0 and -inf where there are fewer. Shapes [B, k].
        """
        query_BD = unit(self.items.vectors[items])
        # Vectors of warm items have unit length, so that the index has their cosines; cold items' have not.
        found_BK, _ = self.index.search(query_BD, k + 1, allowed=self._warm_N)
        if self._cold_N.any():
            cold_BK, _ = self._cold_by_cosine.search(query_BD, k + 1)
            found_BK = np.concatenate([found_BK, cold_BK], axis=1)
        found_BK = np.where(found_BK == items[:, None], PAD, found_BK)
        cosine_BK = np.einsum("bd,bkd->bk", query_BD, unit(self.items.vectors[found_BK]))
        return top_k_of_lists(found_BK, cosine_BK, k)

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

    def score_given(self, user_BD: Floats, histories: Sequence[History], candidate_BK: Ints) -> Candidates:
        """Cosines and the sources' scores of given candidates [B, K]."""
        source_BKS = np.zeros((*candidate_BK.shape, len(self.sources)), np.float32)
        for column, source in enumerate(self.sources):
            source_BKS[..., column] = source.scores(histories, candidate_BK)
        return Candidates(
            items=candidate_BK, cosines=self._cosines(user_BD, candidate_BK), source_scores=source_BKS
        )

    def _cosines(self, user_BD: Floats, candidate_BK: Ints) -> Floats:
        cosine_BK = np.einsum("bd,bkd->bk", user_BD, self.items.vectors[candidate_BK])
        return np.where(candidate_BK == PAD, -np.inf, cosine_BK).astype(np.float32)

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

    def _by_kind_of_user(
        self,
        histories: Sequence[History | None],
        answer: Callable[[AnsweredBy, list[History], Ints], Recommendations],
    ) -> Recommendations:
        """Calls `answer` for each group of users with the same `AnsweredBy`; results in the users' order."""
        users = [History.empty() if history is None else history for history in histories]
        kinds = np.array([answered_by(history, self.settings) for history in users], np.str_)
        parts = []
        for by in AnsweredBy:
            rows = np.flatnonzero(kinds == by)
            if len(rows):
                parts.append((rows, answer(by, [users[row] for row in rows], rows)))
        return interleave(parts, len(users))

    def _lists(self, by: AnsweredBy, query: Query, *, num_ranks: int) -> tuple[ItemLists, ItemLists, Arrays]:
        """Warm items in order, cold items in order, and the ranker's outputs where it ran.

        Of both at least the first `num_ranks`; longer lists begin alike.
        """
        length = self.settings.max_list_length
        if by is AnsweredBy.POPULARITY:
            items_BL = self._popularity.top(
                len(query.histories), num_ranks, excluded=query.excluded, allowed=query.allowed
            )
            warm = self._by_popularity(items_BL, self._cosines(query.user_BD, items_BL))
            return warm, self._cold_lists(query, num_ranks), {}
        limit = min(length, len(self.items.vectors) - NUM_RESERVED)
        if self._rank is None or by is AnsweredBy.PROFILE:
            need = num_ranks if self.index.is_exact else limit
            warm = nearest_lists(
                lambda num: self._retrieve(query, num), self.settings.temperature, need=need, limit=limit
            )
            return warm, self._cold_lists(query, num_ranks), {}
        # Down to the number of candidates a list is the head alone.
        is_head_enough = num_ranks <= self.settings.num_candidates and self.index.is_exact
        found_BL, cosine_BL = self._retrieve(
            query, min(limit, self.settings.num_candidates) if is_head_enough else limit
        )
        retriever_BL = self.retriever_score(cosine_BL)
        head = self._with_sources(query, found_BL[:, : self.settings.num_candidates])
        cold = self._cold_lists(query, max(num_ranks, self._num_cold_candidates))
        cold_head, num_head = self._cold_candidates(query, cold), head.items.shape[1]
        ranked = self._rank(self.rank_inputs(query.histories, query.user_BD, head.beside(cold_head)))
        retriever_BK = self.retriever_score(head.cosines)
        warm = sorted_lists(head.items, retriever_BK + ranked["score"][:, :num_head], retriever_BK)
        if not is_head_enough:
            in_head = np.stack([np.isin(*rows) for rows in zip(found_BL, head.items, strict=True)])
            tail = sorted_lists(found_BL, retriever_BL, retriever_BL, keep_BK=~in_head)
            warm = head_and_tail(warm, tail)
        columns = num_head + np.arange(cold_head.items.shape[1])
        return warm.first(min(length, warm.items.shape[1])), cold.read_at(columns), ranked

    def _retrieve(self, query: Query, num: int) -> tuple[Ints, Floats]:
        return self.retrieve(
            query.user_BD, query.histories, num, exclude_seen=query.exclude_seen, allowed=query.allowed
        )

    def _given_warm(self, by: AnsweredBy, given: Candidates, ranked: Arrays) -> ItemLists:
        """The warm items among the given candidates, sorted."""
        if by is AnsweredBy.POPULARITY:
            warm_BK = np.where(self._warm_N[given.items], given.items, PAD)
            order_BK = self._popularity.sorted(warm_BK)
            take = np.take_along_axis
            return self._by_popularity(take(warm_BK, order_BK, 1), take(given.cosines, order_BK, 1))
        retriever_BK = self.retriever_score(given.cosines)
        score_BK = retriever_BK + ranked["score"] if ranked else retriever_BK
        return sorted_lists(given.items, score_BK, retriever_BK, keep_BK=self._warm_N[given.items])

    def _by_popularity(self, item_BL: Ints, cosine_BL: Floats) -> ItemLists:
        return ItemLists(
            items=item_BL,
            scores=self._popularity.scores(item_BL),
            retriever_scores=self.retriever_score(cosine_BL),
            column=np.full(item_BL.shape, -1, np.int64),
        )

    def _cold_lists(self, query: Query, need: int) -> ItemLists:
        """Cold items in the retriever's order: at least `need`, at most `max_list_length`.

        A cold item without content is never listed: nothing tells it from any other such item.
        """
        rows = np.flatnonzero(self._cold_N)
        listed: Bools = np.any(self.items.token_mask[rows], axis=1)
        limit = min(self.settings.max_list_length, int(listed.sum()))
        if not limit:
            none_BL = np.empty((len(query.histories), 0), np.float32)
            return sorted_lists(none_BL.astype(np.int64), none_BL, none_BL)
        allowed = listed if query.allowed is None else listed & query.allowed[rows]
        return nearest_lists(
            lambda num: nearest_unseen(self._cold_index, query.user_BD, num, allowed, query.excluded),
            self.settings.temperature,
            need=need,
            limit=limit,
        )

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

    def _listed(
        self,
        by: AnsweredBy,
        query: Query,
        lists: tuple[ItemLists, ItemLists, Arrays],
        *,
        length: int,
        k: int,
        diversity: float = 0.0,
    ) -> Recommendations:
        """Warm and cold lists merged, cut to `length`, re-ranked by diversity, and cut to k."""
        warm, cold, ranked = lists
        merged, is_cold_BL = merge_by_rank(warm, cold, self.settings.cold_ranks)
        place_Bk = diversify(
            merged.items[:, :length],
            merged.scores[:, :length],
            is_cold_BL[:, :length],
            self.items.vectors,
            k=k,
            weight=diversity,
        )
        listed = merged.at(place_Bk).first(k)
        return Recommendations(
            items=listed.items,
            scores=listed.scores,
            retriever_scores=listed.retriever_scores,
            answered_by=(by,) * len(listed.items),
            token_attention=attention_at(ranked.get("token_attention"), listed.column),
            history_attention=attention_at(ranked.get("history_attention"), listed.column),
            history_items=self.history_items(query.histories) if ranked else None,
        )

    @cached_property
    def _cold_index(self) -> ExactIndex:
        """Cold items by inner product: their vectors do not have unit length."""
        rows = np.flatnonzero(self._cold_N)
        return ExactIndex.build(self.items.vectors[rows], rows)

    @cached_property
    def _cold_by_cosine(self) -> ExactIndex:
        """Cold items at unit length."""
        rows = np.flatnonzero(self._cold_N)
        return ExactIndex.build(unit(self.items.vectors[rows]), rows)
