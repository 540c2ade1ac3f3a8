"""Embed user → retrieve → filter → rank → re-rank, composed from callables.

Evaluation passes torch callables, serving ONNX Runtime callables; all other code is shared. The first three
steps are `CandidateGenerator`'s, the others are `Recommender`'s.

A list has a head and a tail. The head has a fixed number of warm candidates: the nearest items of the
retriever and the candidates that the other sources add. The ranker orders the head. The tail has the next
items in the retriever's order. Cold items are ordered by the cold ranker, or else by the retriever, and
merged into the list at fixed ranks. The candidates do not depend on the requested length k, so that a shorter
list is a prefix of a longer list. With an exact index the retriever searches only as many items as k needs,
since a search for fewer items returns a prefix of a search for more.

Legend: B users, L ranks of a list, K candidates, N items, S sources.
"""

from collections.abc import Callable, Sequence
from copy import copy
from functools import cached_property
from typing import Any

import numpy as np

from recsys.arrays import Bools, Floats, Ints
from recsys.errors import RequestError
from recsys.history import History, SequenceSchema
from recsys.ids import PAD
from recsys.item_features import ItemArrays
from recsys.retrieval.candidate_features import Candidates, CosineSpread
from recsys.retrieval.candidate_generation import Arrays, CandidateGenerator
from recsys.retrieval.candidate_sources import CandidateSource
from recsys.retrieval.cold import ColdItems, ColdRanker, merge_by_rank
from recsys.retrieval.fallback import AnsweredBy, Popularity, answered_by
from recsys.retrieval.index.base import SearchIndex
from recsys.retrieval.item_lists import (
    ItemLists,
    Query,
    Retrieved,
    head_and_tail,
    nearest_lists,
    sorted_lists,
)
from recsys.retrieval.recommendations import Recommendations, attention_at, interleave
from recsys.retrieval.reranking import MAX_DIVERSITY, diversify
from recsys.retrieval.settings import RecommenderSettings

IsLate = Callable[[Ints], Bools]  # rows of the users of a call -> whose time has run out
MIN_COLD = 20  # mean and deviation of fewer cold items say little


class Recommender(CandidateGenerator):
    """Lists of items for users: the candidates of a `CandidateGenerator`, ordered and re-ranked.

    `embed_users` and `rank` take graph inputs by name; see docs/architecture.md, "Graphs".
    """

    def __init__(
        self,
        *,
        items: ItemArrays,
        schema: SequenceSchema,
        settings: RecommenderSettings,
        embed_users: Callable[[Arrays], Floats],
        rank: Callable[[Arrays], Arrays] | None,
        index: SearchIndex,
        sources: Sequence[CandidateSource] = (),
        cold_ranker: ColdRanker | None = None,
    ) -> None:
        super().__init__(
            items=items,
            schema=schema,
            settings=settings,
            embed_users=embed_users,
            index=index,
            sources=sources,
        )
        self._rank = rank
        self._cold = ColdItems(items, cold_ranker)
        self._popularity = Popularity(items, settings.temperature)

    def without_ranker(self) -> "Recommender":
        """A copy without rankers and candidate sources, over the same items and index."""
        alone = copy(self)
        alone._rank, alone.sources, alone._cold = None, (), ColdItems(self.items, None)
        return alone

    def with_ranker(self, rank: Callable[[Arrays], Arrays]) -> "Recommender":
        """A copy with another ranker that reads the same inputs."""
        other = copy(self)
        other._rank = rank
        return other

    def with_cold_ranker(self, cold_ranker: ColdRanker | None) -> "Recommender":
        """A copy in which `cold_ranker` orders the cold items; None: the retriever does."""
        other = copy(self)
        other._cold = ColdItems(self.items, cold_ranker)
        return other

    @property
    def cold_ranker(self) -> ColdRanker | None:
        """What orders the cold items of users with a history; None: the retriever."""
        return self._cold.ranker

    def over(self, items: ItemArrays, index: SearchIndex, cold_ranker: ColdRanker | None) -> "Recommender":
        """The same models over another catalogue, of at least the items that `sources` were fitted on."""
        return Recommender(
            items=items,
            schema=self.schema,
            settings=self.settings,
            embed_users=self._embed_users,
            rank=self._rank,
            index=index,
            sources=self.sources,
            cold_ranker=cold_ranker,
        )

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
        is_late: IsLate | None = None,
    ) -> Recommendations:
        """The best `k` items for each user; None is a user without events and fields.

        `allowed` [N] restricts the catalogue. A shorter list is a prefix of a longer list. Scores are in
        descending order; with `diversity` > 0 items keep the scores that they have without diversity.
        `is_late` is asked once after retrieval: the users whose time has run out get the retriever's order,
        `AnsweredBy.RETRIEVAL`. Raises `RequestError` for a k outside 1 to `settings.max_list_length`, or a
        `diversity` outside 0 to `MAX_DIVERSITY`.
        """
        self.check_request(k, diversity)

        def answer(by: AnsweredBy, users: list[History], rows: Ints) -> Recommendations:
            query = Query(
                histories=users, user_BD=self.embed(users), exclude_seen=exclude_seen, allowed=allowed
            )
            length = self.settings.max_list_length
            # Diversity picks among all items that the longest list would have.
            num_ranks = length if diversity else k

            def listed(
                by: AnsweredBy, query: Query, lists: tuple[ItemLists, ItemLists, Arrays]
            ) -> Recommendations:
                return self._listed(by, query, lists, length=length, k=k, diversity=diversity)

            if is_late is None or self._rank is None or by is not AnsweredBy.HISTORY:
                return listed(by, query, self._lists(by, query, num_ranks=num_ranks))
            found = self._retrieved(query, num_ranks)
            is_late_B, parts = is_late(rows), []
            if not is_late_B.all():
                on_time = np.flatnonzero(~is_late_B)
                own = query.of(on_time)
                lists = self._ranked_lists(self._rank, own, found.of(on_time), num_ranks)
                parts.append((on_time, listed(by, own, lists)))
            if is_late_B.any():
                late = np.flatnonzero(is_late_B)
                own = query.of(late)
                lists = self._unranked_lists(own, found.of(late), num_ranks)
                parts.append((late, listed(AnsweredBy.RETRIEVAL, own, lists)))
            return interleave(parts, len(users))

        return self._by_kind_of_user(histories, answer)

    def check_request(self, k: int, diversity: float) -> None:
        """Raise `RequestError` for a `k` or a `diversity` that `recommend` refuses."""
        if not 1 <= k <= self.settings.max_list_length:
            raise RequestError("k", f"from 1 to {self.settings.max_list_length}", k)
        if not 0.0 <= diversity <= MAX_DIVERSITY:
            raise RequestError("diversity", f"must be from 0 to {MAX_DIVERSITY:g}", diversity)

    def rank(self, histories: Sequence[History | None], candidates: Ints) -> Recommendations:
        """All of the given candidates [B, K] of each user, in the order of a recommended list.

        Warm candidates are ordered as by `recommend`; cold candidates have the fixed cold ranks.
        """

        def answer(by: AnsweredBy, users: list[History], rows: Ints) -> Recommendations:
            query = Query(histories=users, user_BD=self.embed(users), exclude_seen=False, allowed=None)
            given = self.score_given(query.user_BD, users, candidates[rows])
            ranked = self._rank_given(by, users, query.user_BD, given)
            retriever_BK = self.retriever_score(given.cosines)
            cold_BK = self._cold.scores(by, query, given.items, given.cosines, self.settings)
            cold = sorted_lists(given.items, cold_BK, retriever_BK, keep_BK=self._cold_N[given.items])
            lists, length = (self._given_warm(by, given, ranked), cold, ranked), given.items.shape[1]
            return self._listed(by, query, lists, length=length, k=length)

        return self._by_kind_of_user(histories, answer)

    def item_scores(self, histories: Sequence[History | None], items: Ints) -> Floats:
        """The model's score of each of `items` [B, K] for each user, before cold ranks. Shape [B, K]."""
        score_BK = np.zeros(items.shape, np.float32)
        users = [History.empty() if history is None else history for history in histories]
        kinds = [answered_by(history, self.settings) for history in users]
        for by in dict.fromkeys(kinds):
            rows = [row for row, kind in enumerate(kinds) if kind is by]
            some = [users[row] for row in rows]
            query = Query(histories=some, user_BD=self.embed(some), exclude_seen=False, allowed=None)
            given = self.score_given(query.user_BD, some, items[rows])
            if by is AnsweredBy.POPULARITY:
                warm_BK = self._popularity.scores(given.items)
            else:
                warm_BK = self.retriever_score(given.cosines)
                ranked = self._rank_given(by, some, query.user_BD, given)
                warm_BK = warm_BK + ranked["score"] if ranked else warm_BK
            cold_BK = self._cold.scores(by, query, given.items, given.cosines, self.settings)
            score_BK[rows] = np.where(self._warm_N[given.items], warm_BK, cold_BK)
        return score_BK

    def rank_standardized(self, histories: Sequence[History | None], candidates: Ints) -> Recommendations:
        """All of the given candidates [B, K] of each user, by scores that can be compared between lists.

        The score of a warm item is (score - mean) / deviation with the mean and the standard deviation of the
        retriever's scores of all warm items for this user. The score of a cold item is the same of the
        retriever's score among all cold items, since the two kinds have different scales. It is 0, the mean,
        for a cold item without content, and for all cold items where they are fewer than `MIN_COLD`. Where a
        cold ranker orders the cold items, its score, which has a deviation of about 1, is theirs.
        """

        def answer(by: AnsweredBy, users: list[History], rows: Ints) -> Recommendations:
            user_BD = self.embed(users)
            given = self.score_given(user_BD, users, candidates[rows])
            ranked = self._rank_given(by, users, user_BD, given)
            retriever_BK = self.retriever_score(given.cosines)
            score_BK = retriever_BK + ranked["score"] if ranked else retriever_BK
            warm_BK = self._warm_N[given.items]
            score_BK = np.where(warm_BK, score_BK, retriever_BK)
            standard_BK = np.zeros(given.items.shape, np.float32)
            for spread, kind_N in self._spreads:
                mean_B, deviation_B = (each / self.settings.temperature for each in spread.of(user_BD))
                known_BK = kind_N[given.items] & (deviation_B[:, None] > 0)
                with np.errstate(divide="ignore", invalid="ignore"):
                    each_BK = (score_BK - mean_B[:, None]) / deviation_B[:, None]
                standard_BK = np.where(known_BK, each_BK, standard_BK)
            if self._cold.has_ranker(by):
                query = Query(histories=users, user_BD=user_BD, exclude_seen=False, allowed=None)
                cold_BK = self._cold.scores(by, query, given.items, given.cosines, self.settings)
                standard_BK = np.where(self._cold.listed_N[given.items], cold_BK, standard_BK)
            listed = sorted_lists(given.items, standard_BK, retriever_BK)
            return self._recommendations(by, users, listed, ranked)

        return self._by_kind_of_user(histories, answer)

    @cached_property
    def _spreads(self) -> tuple[tuple[CosineSpread, Bools], ...]:
        """The spread of the cosines over warm items and over cold items with content, and which these are."""
        kinds = [self._warm_N, *([self._cold.listed_N] if self._cold.listed_N.sum() >= MIN_COLD else [])]
        return tuple((CosineSpread(self.items.vectors, np.flatnonzero(kind_N)), kind_N) for kind_N in kinds)

    def _rank_given(
        self, by: AnsweredBy, users: Sequence[History], user_BD: Floats, given: Candidates
    ) -> Arrays:
        """The outputs of the ranker for given candidates; empty where it does not run."""
        if self._rank is None or by is not AnsweredBy.HISTORY:
            return {}
        return self._rank(self.rank_inputs(users, user_BD, given))

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
        """Warm items in order, cold items in order, and the outputs of the ranker if it ran.

        Both lists have at least `num_ranks` items where there are as many. They are prefixes of the lists for
        a larger `num_ranks`.
        """
        if by is AnsweredBy.POPULARITY:
            return (
                self._popular_items(query, num_ranks),
                self._cold.lists(by, query, num_ranks, self.settings),
                {},
            )
        if self._rank is None or by is AnsweredBy.PROFILE:
            return (
                self._nearest_items(query, num_ranks),
                self._cold.lists(by, query, num_ranks, self.settings),
                {},
            )
        return self._ranked_lists(self._rank, query, self._retrieved(query, num_ranks), num_ranks)

    def _popular_items(self, query: Query, num_ranks: int) -> ItemLists:
        items_BL = self._popularity.top(
            len(query.histories), num_ranks, excluded=query.excluded, allowed=query.allowed
        )
        return self._by_popularity(items_BL, self._cosines(query.user_BD, items_BL))

    def _nearest_items(self, query: Query, num_ranks: int) -> ItemLists:
        """Warm items in the retriever's order."""
        limit = self._max_warm
        return nearest_lists(
            lambda num: self._retrieve(query, num),
            self.settings.temperature,
            need=num_ranks if self.index.is_exact else limit,
            limit=limit,
        )

    def _unranked_lists(
        self, query: Query, found: Retrieved, num_ranks: int
    ) -> tuple[ItemLists, ItemLists, Arrays]:
        """As `_lists`: what was retrieved, in the retriever's order."""
        warm = sorted_lists(found.items, found.scores, found.scores)
        return warm, self._cold.lists(AnsweredBy.RETRIEVAL, query, num_ranks, self.settings), {}

    def _ranked_lists(
        self, rank: Callable[[Arrays], Arrays], query: Query, found: Retrieved, num_ranks: int
    ) -> tuple[ItemLists, ItemLists, Arrays]:
        """As `_lists`: the ranker orders the head; the ranker's outputs are for head and first cold items."""
        found_BL, retriever_BL = found.items, found.scores
        head = self._with_sources(query, found_BL[:, : self.settings.num_candidates])
        cold = self._cold.lists(
            AnsweredBy.HISTORY, query, max(num_ranks, self._num_cold_candidates), self.settings
        )
        cold_head, num_head = self._cold_candidates(query, cold), head.items.shape[1]
        ranked = rank(self.rank_inputs(query.histories, query.user_BD, head.joined_with(cold_head)))
        retriever_BK = self.retriever_score(head.cosines)
        warm = sorted_lists(head.items, retriever_BK + ranked["score"][:, :num_head], retriever_BK)
        if not found.is_head_enough:
            in_head = np.stack([np.isin(*rows) for rows in zip(found_BL, head.items, strict=True)])
            tail = sorted_lists(found_BL, retriever_BL, retriever_BL, keep_BK=~in_head)
            warm = head_and_tail(warm, tail)
        columns = num_head + np.arange(cold_head.items.shape[1])
        length = min(self.settings.max_list_length, warm.items.shape[1])
        return warm.first(length), cold.read_at(columns), ranked

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
        has_ranks = by is not AnsweredBy.POPULARITY or self.settings.cold_without_events
        merged, is_cold_BL = merge_by_rank(warm, cold, self.settings.cold_ranks if has_ranks else ())
        place_Bk = diversify(
            merged.items[:, :length],
            merged.scores[:, :length],
            is_cold_BL[:, :length],
            self.items.vectors,
            k=k,
            weight=diversity,
        )
        return self._recommendations(by, query.histories, merged.at(place_Bk).first(k), ranked)

    def _recommendations(
        self, by: AnsweredBy, histories: Sequence[History], listed: ItemLists, ranked: Arrays
    ) -> Recommendations:
        return Recommendations(
            items=listed.items,
            scores=listed.scores,
            retriever_scores=listed.retriever_scores,
            answered_by=(by,) * len(listed.items),
            token_attention=attention_at(ranked.get("token_attention"), listed.column),
            history_attention=attention_at(ranked.get("history_attention"), listed.column),
            history_items=self.history_items(histories) if ranked else None,
        )
