"""Candidates of a query, and the scores of all legs for all candidates.

The candidates are the first items of every leg for every clause of positive weight. Their number does not
depend on the length of the list.

Legend: K candidates, N items.
"""

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Final, Literal

import numpy as np

from recsys.arrays import Bools, Floats, Ints
from recsys.errors import RequestError, did_you_mean
from recsys.modalities import EncoderKind
from recsys.search.alignment import AlignmentHeads
from recsys.search.item_words import ItemWords
from recsys.search.legs import (
    LEXICAL,
    POPULARITY,
    Background,
    DenseLeg,
    LegQuery,
    Space,
    WordIndex,
    leg_queries,
)
from recsys.search.lexical.words import WordQuery, WordStatistics
from recsys.search.query import EncodedClause, EncodedQuery, QueryKind

# What errors call a clause of a kind.
_CALLED: Final[Mapping[QueryKind, str]] = {
    "text": "a text clause",
    "image": "a picture clause",
    "audio": "a sound clause",
    "video": "a video clause",
    "item": "an item clause",
}


class Stopwatch:
    """Milliseconds by stage, summed over the visits of a stage."""

    def __init__(self) -> None:
        self.milliseconds: dict[str, float] = defaultdict(float)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.milliseconds[name] += 1000 * (time.perf_counter() - start)


@dataclass(frozen=True, kw_only=True)
class LegScores:
    """Scores of one leg for all candidates."""

    score_K: Floats
    has_K: Bools  # the candidates that the leg can judge; the others get a neutral value
    space: Space | Literal["lexical", "popularity"]
    kind: EncoderKind | None = None  # of the encoder of a dense leg
    background: Background = field(default_factory=Background)  # of a dense leg's scores over the catalogue


@dataclass(frozen=True, kw_only=True)
class ClauseScores:
    """Scores of all legs that a clause asks."""

    kind: QueryKind
    weight: float
    legs: Mapping[str, LegScores]
    # Share of the clause's words that an item has. None where no item has any: a query in another language
    # is no worse an answer for that.
    coverage_K: Floats | None
    words_K: Floats | None = None  # `ItemWords.text_evidence`
    num_words: int = 0  # content words, where these give evidence
    words: WordStatistics = field(default_factory=WordStatistics)


@dataclass(frozen=True, kw_only=True)
class QueryScores:
    """The candidates of a query and their scores."""

    items: Ints  # [K], ascending
    clauses: tuple[ClauseScores, ...]
    proposed: Mapping[str, Ints] = field(default_factory=dict)  # by each leg that is on, of `items`

    def of_legs(self, query: EncodedQuery) -> "QueryScores":
        """The scores of `query`, which differs from the scored one in the legs that it switches off.

        As `Scorer.score` gives them: the candidates are those that the other legs propose. Raises
        `RequestError` where these cannot answer a clause.
        """
        for clause in self.clauses:
            asked = [name for name in clause.legs if name != POPULARITY]
            if not any(_is_on(query, name) for name in asked):
                raise RequestError("modality_weights", _all_are_off(asked))
        proposed = {name: items for name, items in self.proposed.items() if _is_on(query, name)}
        items = np.unique(np.concatenate([np.empty(0, np.int64), *proposed.values()]))
        return replace(self.at(np.searchsorted(self.items, items)), proposed=proposed)

    def at(self, kept: Ints) -> "QueryScores":
        """The candidates at the positions `kept`."""

        def leg(scores: LegScores) -> LegScores:
            return replace(scores, score_K=scores.score_K[kept], has_K=scores.has_K[kept])

        clauses = tuple(
            replace(
                clause,
                legs={name: leg(scores) for name, scores in clause.legs.items()},
                coverage_K=None if clause.coverage_K is None else clause.coverage_K[kept],
                words_K=None if clause.words_K is None else clause.words_K[kept],
            )
            for clause in self.clauses
        )
        return QueryScores(items=self.items[kept], clauses=clauses)


class Scorer:
    """All legs of a catalogue."""

    def __init__(
        self,
        legs: Sequence[DenseLeg],
        *,
        num_items: int,
        heads: AlignmentHeads | None = None,
        words: WordIndex | None = None,
        item_words: ItemWords | None = None,
        has_words: Bools | None = None,
        popularity: Floats | None = None,
    ) -> None:
        """`num_items` is N, the two reserved rows included.

        `has_words` [N] are the items with any text, all by default. `popularity` [N] are counts of events;
        the popularity of an item with 0 is unknown.
        """
        self.legs, self.heads, self.words, self.num_items = tuple(legs), heads, words, num_items
        self.item_words = item_words
        self._has_words = has_words
        self._popularity = popularity

    def over(
        self,
        legs: Sequence[DenseLeg],
        *,
        num_items: int,
        item_words: ItemWords | None,
        has_words: Bools,
        popularity: Floats | None,
    ) -> "Scorer":
        """The same heads and lexical index over the legs of another catalogue."""
        return Scorer(
            legs,
            num_items=num_items,
            heads=self.heads,
            words=self.words,
            item_words=item_words,
            has_words=has_words,
            popularity=popularity,
        )

    @property
    def has_words(self) -> Bools:
        """The items with any text. Shape [N]."""
        return np.ones(self.num_items, np.bool_) if self._has_words is None else self._has_words

    @property
    def leg_names(self) -> tuple[str, ...]:
        """Names of all legs."""
        lexical = () if self.words is None else (LEXICAL,)
        popular = () if self._popularity is None else (POPULARITY,)
        return (*lexical, *(leg.name for leg in self.legs), *popular)

    def score(
        self, query: EncodedQuery, num: int, allowed: Bools | None, watch: Stopwatch | None = None
    ) -> QueryScores:
        """The scores of all candidates; each leg proposes `num` items of those `allowed` [N].

        Items with an excluded word and the items of the clauses are no candidates. Raises `RequestError` for
        a clause that no leg can answer and for a weight of an unknown leg.
        """
        watch = watch or Stopwatch()
        self._check(query)
        queries = [leg_queries(clause, self.legs, self.heads) for clause in query.clauses]
        for clause, by_leg in zip(query.clauses, queries, strict=True):
            self._check_answerable(query, clause, by_leg)
        with watch.stage("lexical"):
            allowed = self._without_excluded(query, allowed)
            found = self._lexical_head(query, num, allowed)
        with watch.stage("dense"):
            found |= self._dense_heads(query, queries, num, allowed)
        items = np.unique(np.concatenate([np.empty(0, np.int64), *found.values()]))
        scored = zip(query.clauses, queries, strict=True)
        return QueryScores(
            items=items,
            clauses=tuple(self._clause_scores(clause, by_leg, items, watch) for clause, by_leg in scored),
            proposed=found,
        )

    def _lexical_head(self, query: EncodedQuery, num: int, allowed: Bools | None) -> dict[str, Ints]:
        """What the words propose, by the name of the leg; empty where none is asked."""
        asked = [words for clause in query.positive if (words := _words_of(clause)) is not None]
        if self.words is None or not asked or not _is_on(query, LEXICAL):
            return {}
        return {LEXICAL: np.concatenate([self.words.search(words, num, allowed)[0] for words in asked])}

    def _dense_heads(
        self,
        query: EncodedQuery,
        queries: Sequence[Mapping[str, LegQuery]],
        num: int,
        allowed: Bools | None,
    ) -> dict[str, Ints]:
        """What the vectors propose, by the name of the leg."""
        found = {}
        for leg in self.legs:
            asked = [
                (clause.weight, by_leg[leg.name])
                for clause, by_leg in zip(query.clauses, queries, strict=True)
                if clause.weight > 0 and leg.name in by_leg
            ]
            if asked and _is_on(query, leg.name):
                found[leg.name] = leg.head(asked, num, allowed)
        return found

    def _clause_scores(
        self, clause: EncodedClause, queries: Mapping[str, LegQuery], items: Ints, watch: Stopwatch
    ) -> ClauseScores:
        legs: dict[str, LegScores] = {}
        coverage_K: Floats | None = None
        statistics = WordStatistics()
        words_K: Floats | None = None
        num_words = 0
        if self.words is not None and (words := _words_of(clause)) is not None:
            with watch.stage("lexical"):
                has_K = np.ones(len(items), np.bool_) if self._has_words is None else self._has_words[items]
                score_K = self.words.scores(words, items)
                legs[LEXICAL] = LegScores(score_K=score_K, has_K=has_K, space="lexical")
                if self.words.knows(words):
                    coverage_K = self.words.coverage(words, items)
                if self.item_words is not None:
                    num_words = len(self.item_words.content_words(words))
                    words_K = self.item_words.text_evidence(
                        words,
                        clause.word_vectors,
                        clause.vectors.get("text"),
                        self.words,
                        items,
                        clause.whole_words,
                    )
                statistics = self.words.statistics(words)
        with watch.stage("dense"):
            for leg in self.legs:
                if leg.name in queries:
                    asked = queries[leg.name]
                    legs[leg.name] = LegScores(
                        score_K=leg.scores(asked, items),
                        has_K=leg.present[items],
                        space=asked.space,
                        kind=leg.kind,
                        background=leg.background(asked),
                    )
        if self._popularity is not None and clause.weight > 0:
            counts_K = self._popularity[items]
            legs[POPULARITY] = LegScores(score_K=np.log1p(counts_K), has_K=counts_K > 0, space="popularity")
        return ClauseScores(
            kind=clause.kind,
            weight=clause.weight,
            legs=legs,
            coverage_K=coverage_K,
            words_K=words_K,
            num_words=num_words,
            words=statistics,
        )

    def _without_excluded(self, query: EncodedQuery, allowed: Bools | None) -> Bools | None:
        """`allowed` without the items with an excluded word, and without the items of the clauses."""
        out = [np.array([clause.item]) for clause in query.clauses if clause.item is not None]
        if self.words is not None:
            out += [self.words.excluded(clause.words) for clause in query.clauses if clause.words is not None]
        excluded = np.concatenate([np.empty(0, np.int64), *out]).astype(np.int64)
        if not len(excluded):
            return allowed
        left = np.ones(self.num_items, np.bool_) if allowed is None else allowed.copy()
        left[excluded] = False
        return left

    def _check(self, query: EncodedQuery) -> None:
        for name in query.modality_weights:
            if name not in self.leg_names:
                known = did_you_mean(name, self.leg_names)
                raise RequestError(f"modality_weights.{name}", f"this catalogue has no such leg; {known}")

    def _check_answerable(
        self, query: EncodedQuery, clause: EncodedClause, queries: Mapping[str, LegQuery]
    ) -> None:
        lexical = [LEXICAL] if self.words is not None and _words_of(clause) is not None else []
        asked = [*lexical, *queries]
        if any(_is_on(query, name) for name in asked):
            return
        if asked:
            raise RequestError("modality_weights", _all_are_off(asked))
        if clause.item is not None:
            raise RequestError("item", "the item has nothing that others can be compared with", clause.item)
        if clause.words is not None and clause.words.is_empty and not clause.vectors:
            raise RequestError("clauses", "a text without any word to search for; add one")
        names = ", ".join(self.leg_names) or "nothing"
        raise RequestError("clauses", f"{_CALLED[clause.kind]} finds nothing here: the catalogue has {names}")


def _words_of(clause: EncodedClause) -> WordQuery | None:
    """The words of the clause; None where it has none beside words that are excluded."""
    return None if clause.words is None or clause.words.is_empty else clause.words


def _all_are_off(asked: Sequence[str]) -> str:
    return f"all are 0 of {', '.join(asked)}, which could answer"


def _is_on(query: EncodedQuery, leg: str) -> bool:
    return query.modality_weights.get(leg, 1.0) > 0
