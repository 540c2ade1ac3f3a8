"""A `WordQuery` to tantivy queries, for the words that the documents have."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import tantivy
from tantivy import Occur, Query

from recsys.search.lexical.documents import FIELDS
from recsys.search.lexical.hits import count
from recsys.search.lexical.settings import LexicalSettings
from recsys.search.lexical.stemming import Stemmer
from recsys.search.lexical.tokens import fold, is_segmented, parts
from recsys.search.lexical.vocabulary import KnownWord, Vocabulary
from recsys.search.lexical.words import WordQuery

_MAX_CACHED: Final = 1000  # queries, and words


@dataclass(frozen=True, kw_only=True)
class Unit:
    """A word or a phrase of a query, and the terms that stand for it.

    `terms` maps each sequence of terms to its weight: 1 for the word itself, less for an inexact word.
    """

    written: str
    terms: Mapping[tuple[str, ...], float] = field(hash=False)
    is_required: bool = False


class Matcher:
    """Builds the queries of one state of the index."""

    def __init__(
        self,
        searcher: tantivy.Searcher,
        schema: tantivy.Schema,
        settings: LexicalSettings,
        stemmer: Stemmer,
        vocabulary: Vocabulary,
    ) -> None:
        self._searcher, self._schema = searcher, schema
        self._settings, self._stemmer, self._vocabulary = settings, stemmer, vocabulary
        self._weight_of: Mapping[str, float] = settings.weights.model_dump()
        self._units_of: dict[WordQuery, list[Unit]] = {}  # one query is asked for scores, coverage, matches
        self._idf_of: dict[Unit, float] = {}

    @property
    def searcher(self) -> tantivy.Searcher:
        """The state of the index that the queries are built for."""
        return self._searcher

    def units(self, query: WordQuery) -> list[Unit]:
        """The words and phrases of a query, each written form once. Phrases are required."""
        units = self._units_of.get(query)
        if units is None:
            units = self._new_units(query)
            if len(self._units_of) >= _MAX_CACHED:
                self._units_of.clear()
            self._units_of[query] = units
        return units

    def idf(self, unit: Unit) -> float:
        """ln(1 + (N - n + 1/2) / (n + 1/2)), where n of N documents have the unit in any field."""
        idf = self._idf_of.get(unit)
        if idf is None:
            total = self._searcher.num_docs
            having = count(self._searcher, self.strength(unit)) if unit.terms else 0
            idf = math.log1p((total - having + 0.5) / (having + 0.5))
            if len(self._idf_of) >= _MAX_CACHED:
                self._idf_of.clear()
            self._idf_of[unit] = idf
        return idf

    def _new_units(self, query: WordQuery) -> list[Unit]:
        last = len(query.words) - 1
        units = {
            word: self._word(word, is_prefix=query.prefix and at == last)
            for at, word in enumerate(query.words)
        }
        phrases = [
            Unit(written=" ".join(words), terms=self._exact(words), is_required=True)
            for words in query.phrases
        ]
        return [*units.values(), *phrases]

    def score(self, units: Sequence[Unit], excluded: Sequence[tuple[str, ...]]) -> Query:
        """Documents with all required units and, where there is none, at least one unit.

        The score is the sum over units of the best alternative's sum of weighted BM25 scores over fields.
        """
        clauses = []
        for unit in units:
            occur = Occur.Must if unit.is_required else Occur.Should
            if len(unit.terms) == 1 and not unit.is_required:  # flat, so that tantivy can skip documents
                ((terms, weight),) = unit.terms.items()
                clauses += [(occur, each) for each in self._fields(terms, weight)]
            else:
                clauses.append((occur, _best(_any(self._fields(*each)) for each in unit.terms.items())))
        clauses += [(Occur.MustNot, query) for query in self.excluded(excluded)]
        return Query.boolean_query(clauses)

    def strength(self, unit: Unit) -> Query:
        """Documents with the unit; the score is the weight of the best alternative that a document has."""
        return _best(
            Query.const_score_query(_any(self._fields(terms, 1.0)), weight)
            for terms, weight in unit.terms.items()
        )

    def excluded(self, excluded: Sequence[tuple[str, ...]]) -> list[Query]:
        """For each excluded word or phrase the documents that have it, in any field."""
        return [self._anywhere(words) for words in excluded]

    def together(self, words: Sequence[str]) -> Query:
        """Documents that have all of the words, each in any field."""
        return Query.boolean_query([(Occur.Must, self._anywhere((word,))) for word in words])

    def _anywhere(self, words: tuple[str, ...]) -> Query:
        """Documents that have the word or phrase in any field."""
        return _any(each for terms in self._exact(words) for each in self._fields(terms, 1.0))

    def _word(self, word: str, *, is_prefix: bool) -> Unit:
        """The word's stems; where no document has one, nearby words; completions of a word being typed."""
        settings = self._settings
        terms = {each: 1.0 for each in self._exact((word,)) if self._is_known(each[0])}
        if is_prefix:
            completions = self._vocabulary.completions(word, settings.max_expansions)
            terms = self._stems(completions, settings.prefix_weight) | terms
        if not terms:
            terms = self._near(word)
        return Unit(written=word, terms=terms)

    def _near(self, word: str) -> dict[tuple[str, ...], float]:
        """Words one edit away, else two edits away; of a Chinese or Japanese word its parts."""
        settings, length = self._settings, len(fold(word))
        if is_segmented(word):
            return {(part,): settings.one_edit_weight for part in parts(word) if self._is_known(part)}
        edits = (
            (1, settings.min_letters_one_edit, settings.one_edit_weight),
            (2, settings.min_letters_two_edits, settings.two_edits_weight),
        )
        for num_edits, min_letters, weight in edits:
            if length >= min_letters and not word.isdigit():
                near = self._vocabulary.near(word, num_edits, settings.max_expansions)
                if terms := self._stems(near, weight):
                    return terms
        return {}

    def _exact(self, words: Sequence[str]) -> dict[tuple[str, ...], float]:
        """The sequences of terms of a word or phrase, in each language, and of a word with other accents."""
        lower = [word.casefold() for word in words]
        variants = [tuple(each.terms(lower).split()) for each in self._stemmer.for_each_language()]
        if len(words) == 1:  # a document with the word has its stem; its parts add nothing
            same = [known.word for known in self._vocabulary.same(words[0], self._settings.max_expansions)]
            variants = [(stem,) for word in [*lower, *same] for stem in self._stemmer.all_stems(word)]
        return dict.fromkeys(variants, 1.0)

    def _stems(self, words: Iterable[KnownWord], weight: float) -> dict[tuple[str, ...], float]:
        stems = [stem for known in words for stem in self._stemmer.all_stems(known.word)]
        return {(stem,): weight for stem in stems if self._is_known(stem)}

    def _is_known(self, term: str) -> bool:
        return any(self._searcher.doc_freq(name, term) for name in FIELDS)

    def _fields(self, terms: tuple[str, ...], weight: float) -> list[Query]:
        """The sequence of terms in each field that has all of them, with the weight of the field."""
        queries = []
        for name in FIELDS:
            if all(self._searcher.doc_freq(name, term) for term in terms):
                if len(terms) == 1:
                    query = Query.term_query(self._schema, name, terms[0], "freq")
                else:
                    query = Query.phrase_query(self._schema, name, list(terms))
                queries.append(Query.boost_query(query, weight * self._weight_of[name]))
        return queries


def _any(queries: Iterable[Query]) -> Query:
    return Query.boolean_query([(Occur.Should, query) for query in queries])


def _best(queries: Iterable[Query]) -> Query:
    """The best score of several queries."""
    several = list(queries)
    return several[0] if len(several) == 1 else Query.disjunction_max_query(several)
