"""Embed user → retrieve → filter → rank → re-rank, composed from callables.

Evaluation in torch and serving in ONNX Runtime hand in other callables and share everything else.

Legend: B users, L events, H past items that the ranker reads, K candidates, T tokens, D width, N items.
"""

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from recsys.arrays import (
    Bools,
    Floats,
    Ints,
    unit,
)
from recsys.history import History, SequenceSchema, collate
from recsys.ids import NUM_RESERVED, PAD
from recsys.retrieval.candidate_features import Candidates, Evidence, ItemArrays
from recsys.retrieval.candidate_sources import CandidateSource, merge
from recsys.retrieval.index.index import ExactIndex
from recsys.retrieval.reranking import (
    diversify,
    first_place_of_new,
    hold_back,
    settle_new,
)
from recsys.retrieval.topk import top_k_of_lists

Arrays = Mapping[str, npt.NDArray[Any]]


def index_bias(items: ItemArrays, *, cold_bias: float, temperature: float) -> Floats:
    """What the index adds to each item's cosine: the cold bias, in units of a cosine. Shape [N]."""
    return np.where(items.trained, 0.0, cold_bias * temperature).astype(np.float32)


class Searchable(Protocol):
    """The nearest items of query vectors, scores being cosine plus `index_bias`."""

    def search(self, queries: Floats, k: int, *, allowed: Bools | None = None) -> tuple[Ints, Floats]: ...


@dataclass(frozen=True, kw_only=True)
class Recommendations:
    """Ranked items of B users, best first; the attentions are of the ranker, where it ran."""

    items: Ints  # [B, k], 0 where there are fewer than k
    scores: Floats  # [B, k], -inf there
    retriever_scores: Floats  # [B, k], the part of the score that is the towers'
    token_attention: Floats | None = None  # [B, k, T]
    history_attention: Floats | None = None  # [B, k, H]
    history_items: Ints | None = None  # [B, H], right-aligned: the newest event stands last


class Recommender:
    """`embed_users` and `rank` take graph inputs by name; see docs/architecture.md, "Graphs"."""

    def __init__(
        self,
        *,
        items: ItemArrays,
        schema: SequenceSchema,
        embed_users: Callable[[Arrays], Floats],
        rank: Callable[[Arrays], Arrays] | None,
        index: Searchable,
        temperature: float,
        cold_bias: float,
        cold_from: int = 1,
        num_candidates: int,
        history_length: int,
        sources: Sequence[CandidateSource] = (),
        source_candidates: int = 0,
    ) -> None:
        self.items, self.schema, self.index = items, schema, index
        self._embed_users, self._rank = embed_users, rank
        self.temperature, self.cold_bias, self.cold_from = temperature, cold_bias, cold_from
        self.num_candidates, self.history_length = num_candidates, history_length
        self.sources, self.source_candidates = tuple(sources), source_candidates
        self._evidence = Evidence(items)
        self._bias_N = index_bias(items, cold_bias=cold_bias, temperature=temperature)
        self._new_N = ~items.trained
        self._new_N[:NUM_RESERVED] = False

    def without_ranker(self) -> "Recommender":
        """The towers alone, over the same items and index."""
        alone = copy(self)
        alone._rank, alone.sources = None, ()
        return alone

    def recommend(
        self,
        histories: Sequence[History],
        k: int,
        *,
        exclude_seen: bool = True,
        allowed: Bools | None = None,
        diversity: float = 0.0,
    ) -> Recommendations:
        """The best `k` items for each history; `allowed` [N] restricts the catalogue."""
        user_BD = self.embed(histories)
        first = first_place_of_new(self.cold_from, k)
        candidates = self.candidates(
            user_BD,
            histories,
            max(k, self.num_candidates),
            exclude_seen=exclude_seen,
            allowed=allowed,
            num_new=None if first <= 1 else k,
        )
        return self._order(histories, user_BD, candidates, k=k, diversity=diversity, first=first)

    def rank(self, histories: Sequence[History], candidates: Ints) -> Recommendations:
        """The given candidates [B, K] of each history, every one of them, in order of score.

        New ones stand at place `cold_from` at the earliest, or after all known ones where those are fewer:
        so far they are lifted that among a few known ones most would stand first.
        """
        user_BD, first = self.embed(histories), self.cold_from
        given = self._described(user_BD, histories, candidates)
        return self._order(histories, user_BD, given, k=candidates.shape[1], diversity=0.0, first=first)

    def similar(self, items: Ints, k: int) -> tuple[Ints, Floats]:
        """The `k` nearest other items of each of `items`, known and new alike, and their cosines.

        Nearest first, ties by item id, 0 and -inf where there are fewer. Shapes [B, k].
        """
        query_BD = unit(self.items.vectors[items])
        # Known items have unit vectors and no bias: apart from the new ones the index has them by cosine.
        found_BK, _ = self.index.search(query_BD, k + 1, allowed=~self._new_N)
        if self._new_N.any():
            new_BK, _ = self._new_by_cosine.search(query_BD, k + 1)
            found_BK = np.concatenate([found_BK, new_BK], axis=1)
        found_BK = np.where(found_BK == items[:, None], PAD, found_BK)
        cosine_BK = np.einsum("bd,bkd->bk", query_BD, unit(self.items.vectors[found_BK]))
        return top_k_of_lists(found_BK, cosine_BK, k)

    @cached_property
    def _new_by_cosine(self) -> ExactIndex:
        """New items at unit length; in the other index their lengths count."""
        rows = np.flatnonzero(self._new_N)
        return ExactIndex.build(unit(self.items.vectors[rows]), rows)

    def embed(self, histories: Sequence[History]) -> Floats:
        """Unit user vectors [B, D]."""
        batch = collate(histories, self.schema)
        event_BLD = self.items.vectors[batch.item]
        # A new item's vector may be shorter than 1; as an event it counts like any other.
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
        """Candidates [B, num] by biased score, seen ones left out, and their plain cosines."""
        num = min(num, len(self.items.vectors) - NUM_RESERVED)
        num_seen = max([0, *(len(history.seen) for history in histories)]) if exclude_seen else 0
        found, score = self.index.search(user_BD, num + num_seen, allowed=allowed)
        seen = [history.seen for history in histories] if exclude_seen else None
        found, score = top_k_of_lists(found, score, num, excluded=seen)
        return found, np.where(found == PAD, -np.inf, score - self._bias_N[found]).astype(np.float32)

    def candidates(
        self,
        user_BD: Floats,
        histories: Sequence[History],
        num: int,
        *,
        exclude_seen: bool = True,
        allowed: Bools | None = None,
        num_new: int | None = None,
    ) -> Candidates:
        """The towers' best `num`, then what the other sources add.

        With `num_new` so many of the best new items stand beside `num` known ones, so that no lift of theirs
        leaves out a known one that stands before them in the end.
        """
        asked = [(num, allowed)]
        if num_new is not None and self._new_N.any():
            open_N = np.True_ if allowed is None else allowed
            asked = [(num, ~self._new_N & open_N), (num_new, self._new_N & open_N)]
        found = [
            self.retrieve(user_BD, histories, places, exclude_seen=exclude_seen, allowed=of)
            for places, of in asked
        ]
        found_BK, cosine_BK = (np.concatenate(parts, axis=1) for parts in zip(*found, strict=True))
        excluded = [history.seen for history in histories] if exclude_seen else None
        added = [
            source.candidates(histories, self.source_candidates, excluded=excluded, allowed=allowed)[0]
            for source in self.sources
        ]
        if not added:
            no_scores = np.zeros((*found_BK.shape, 0), np.float32)
            return Candidates(items=found_BK, cosines=cosine_BK, source_scores=no_scores)
        return self._described(user_BD, histories, merge(found_BK, added))

    def _described(self, user_BD: Floats, histories: Sequence[History], candidate_BK: Ints) -> Candidates:
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
        """The ranker graph's inputs for these lists; the ranker is trained on the very same."""
        history_BH, candidate_BK = self.history_items(histories), candidates.items
        length_B = np.array([len(history) for history in histories], np.int64)
        return {
            "user_vector": user_BD,
            "history_vector": unit(self.items.vectors[history_BH]),  # as the user tower reads them
            "history_mask": history_BH >= NUM_RESERVED,
            "candidate_vector": self.items.vectors[candidate_BK],
            "candidate_tokens": self.items.tokens[candidate_BK].astype(np.float32),
            "candidate_token_mask": self.items.token_mask[candidate_BK],
            **self._evidence.inputs(candidates, length_B),
        }

    def history_items(self, histories: Sequence[History]) -> Ints:
        """The newest H items of each history, right-aligned. Shape [B, H]."""
        history_BH = np.full((len(histories), self.history_length), PAD, np.int64)
        for row, history in enumerate(histories):
            newest = history.item[-self.history_length :]
            if len(newest):
                history_BH[row, -len(newest) :] = newest
        return history_BH

    def retriever_score(self, candidate_BK: Ints, cosine_BK: Floats) -> Floats:
        """cosine / temperature, plus the bias of items that training never saw."""
        return ((cosine_BK + self._bias_N[candidate_BK]) / self.temperature).astype(np.float32)

    def final_score(
        self, candidate_BK: Ints, retriever_BK: Floats, ranker_BK: Floats | None, *, first: int
    ) -> Floats:
        """What the ranker makes of the retriever's scores. Shape [B, K].

        New items keep their places, but for those before `first`.
        """
        known_BK = self.is_judged(candidate_BK)
        new_BK = (candidate_BK != PAD) & ~known_BK
        score_BK = retriever_BK
        if ranker_BK is not None:
            score_BK = settle_new(retriever_BK, retriever_BK + ranker_BK, new_BK, known_BK)
        return hold_back(score_BK, new_BK, known_BK, first=first)

    def is_judged(self, candidate_BK: Ints) -> Bools:
        """Which candidates a ranker orders: items with training events. Shape [B, K]."""
        judged: Bools = self.items.trained[candidate_BK] & (candidate_BK != PAD)
        return judged

    def _order(
        self,
        histories: Sequence[History],
        user_BD: Floats,
        candidates: Candidates,
        *,
        k: int,
        diversity: float,
        first: int,
    ) -> Recommendations:
        candidate_BK = candidates.items
        retriever_BK = self.retriever_score(candidate_BK, candidates.cosines)
        ranked: Arrays = {}
        if self._rank is not None:
            ranked = self._rank(self.rank_inputs(histories, user_BD, candidates))
        score_BK = self.final_score(candidate_BK, retriever_BK, ranked.get("score"), first=first)
        score_BK = np.where(candidate_BK == PAD, -np.inf, score_BK).astype(np.float32)
        new_BK = self._new_N[candidate_BK]
        place = diversify(
            candidate_BK, score_BK, new_BK, self.items.vectors, k=k, weight=diversity, first=first
        )
        return Recommendations(
            items=np.take_along_axis(candidate_BK, place, 1),
            scores=np.take_along_axis(score_BK, place, 1),
            retriever_scores=np.take_along_axis(retriever_BK, place, 1),
            token_attention=_take_rows(ranked.get("token_attention"), place),
            history_attention=_take_rows(ranked.get("history_attention"), place),
            history_items=self.history_items(histories) if ranked else None,
        )


def _take_rows(array: npt.NDArray[Any] | None, place: Ints) -> Floats | None:
    return None if array is None else np.take_along_axis(array, place[..., None], axis=1)
