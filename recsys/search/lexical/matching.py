"""A `WordQuery` to tantivy queries, for the words that the documents have."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import tantivy
from tantivy import Occur, Query

from recsys.arrays import Floats, Ints
from recsys.search.lexical.documents import ALL, BOOSTED
from recsys.search.lexical.hits import count, hits
from recsys.search.lexical.settings import LexicalSettings
from recsys.search.lexical.stemming import Stemmer
from recsys.search.lexical.tokens import fold, is_segmented, parts
from recsys.search.lexical.vocabulary import KnownWord, Vocabulary
from recsys.search.lexical.words import WordQuery

_MAX_CACHED: Final = 1000  # queries, and words
_MIN_COMMON: Final = 100  # documents; a word of fewer costs no time
_MAX_KEPT_UNITS: Final = 64  # whose items are kept
MOST_AT_ONCE: Final = 24  # powers of two whose sum is exact in float32


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
        self._num_docs = searcher.num_docs
        self._units_of: dict[WordQuery, list[Unit]] = {}  # one query is asked for scores, coverage, matches
        self._idf_of: dict[Unit, float] = {}
        self._matches_of: dict[WordQuery, tuple[Ints, Floats]] = {}  # asked for the best, then for scores
        self._items_of: dict[Unit, list[tuple[float, Ints]]] = {}

    @property
    def searcher(self) -> tantivy.Searcher:
        """The state of the index that the queries are built for."""
        return self._searcher

    def units(self, query: WordQuery) -> list[Unit]:
        """The words and phrases of a query, each written form once. Phrases are required.

        Without the words that `common_share` and `max_words` leave out, the later of equally rare ones first.
        """
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
            having = count(self._searcher, self.having(unit.terms)) if unit.terms else 0
            idf = _idf(having, self._num_docs)
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
        return [*self._rarest(list(units.values())), *phrases]

    def _rarest(self, units: Sequence[Unit]) -> Sequence[Unit]:
        """The words without those that too many documents have, and without those beyond the rarest."""
        settings = self._settings
        known = [at for at, unit in enumerate(units) if unit.terms]
        known.sort(key=lambda at: self._frequency(units[at]))
        most = max(settings.common_share * self._num_docs, _MIN_COMMON)
        common = [at for at in known[settings.always_kept :] if self._frequency(units[at]) > most]
        left_out = {*common, *known[settings.max_words :]}
        return [unit for at, unit in enumerate(units) if at not in left_out]

    def score(self, units: Sequence[Unit], excluded: Sequence[tuple[str, ...]]) -> Query:
        """Documents with all required units and, where there is none, at least one unit.

        The score is the sum over units of the best score over alternatives and fields.
        """
        clauses = [
            (
                Occur.Must if unit.is_required else Occur.Should,
                _best(query for terms in unit.terms.items() for query in self._weighted(*terms)),
            )
            for unit in units
        ]
        clauses += [(Occur.MustNot, query) for query in self.excluded(excluded)]
        return Query.boolean_query(clauses)

    def matches(self, query: WordQuery) -> tuple[Ints, Floats]:
        """All documents that match the query and their scores, best first. Those of the last one are kept."""
        found = self._matches_of.get(query)
        if found is None:
            units = self.units(query)
            found = hits(self._searcher, self.score(units, query.excluded), self.most(units))
            self._matches_of = {query: found}
        return found

    def items_with(self, units: Sequence[Unit]) -> list[list[tuple[float, Ints]]]:
        """For each unit the ascending items that have an alternative of it, by ascending weight.

        From one search for all units that are not kept: alternative i of 24 adds 2^i to the score of a
        document that has it.
        """
        kept = self._items_of
        known = {unit: kept[unit] for unit in units if unit in kept}
        new = [unit for unit in dict.fromkeys(units) if unit not in known]
        graded = [(unit, weight) for unit in new for weight in sorted(set(unit.terms.values()))]
        made: dict[Unit, list[tuple[float, Ints]]] = {unit: [] for unit in new}
        for first in range(0, len(graded), MOST_AT_ONCE):
            some = graded[first : first + MOST_AT_ONCE]
            found, bits = self._named(some)
            for bit, (unit, weight) in enumerate(some):
                made[unit].append((weight, np.sort(found[(bits >> bit) & 1 == 1])))
        if len(kept) + len(made) > _MAX_KEPT_UNITS:  # other threads may be reading the former ones
            kept = self._items_of = {}
        kept |= made
        return [(made if unit in made else known)[unit] for unit in units]

    def _named(self, graded: Sequence[tuple[Unit, float]]) -> tuple[Ints, Ints]:
        """The documents that have any of the alternatives, and bit i of each for alternative i."""
        query = self.naming(graded)
        items, score = hits(self._searcher, query, self.most([unit for unit, _ in graded]))
        return items, score.astype(np.int64)

    def naming(self, graded: Sequence[tuple[Unit, float]]) -> Query:
        """Scores that name which of at most 24 alternatives a document has: 2^i for alternative i."""
        queries = [
            self.having(terms for terms, own in unit.terms.items() if own == weight)
            for unit, weight in graded
        ]
        return Query.boolean_query(
            [
                (Occur.Should, Query.const_score_query(query, float(2**bit)))
                for bit, query in enumerate(queries)
            ]
        )

    def most(self, units: Sequence[Unit]) -> int:
        """At most so many documents have any of the units."""
        return sum(map(self._frequency, units))

    def having(self, alternatives: Iterable[tuple[str, ...]]) -> Query:
        """Documents that have one of the sequences of terms."""
        return _any(query for terms in alternatives for query in self._anywhere_as(terms))

    def excluded(self, excluded: Sequence[tuple[str, ...]]) -> list[Query]:
        """For each excluded word or phrase the documents that have it, in any field."""
        return [self._anywhere(words) for words in excluded]

    def together(self, words: Sequence[str]) -> Query:
        """Documents that have all of the words, each in any field."""
        return Query.boolean_query([(Occur.Must, self._anywhere((word,))) for word in words])

    def _anywhere(self, words: tuple[str, ...]) -> Query:
        """Documents that have the word or phrase in any field."""
        return self.having(self._exact(words))

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
        return bool(self._searcher.doc_freq(ALL, term))

    def _frequency(self, unit: Unit) -> int:
        """At most so many documents have the unit."""
        return sum(min(map(self._count, terms)) for terms in unit.terms)

    def _count(self, term: str, field: str = ALL) -> int:
        count: int = self._searcher.doc_freq(field, term)
        return count

    def _anywhere_as(self, terms: tuple[str, ...], field: str = ALL) -> list[Query]:
        """The sequence of terms in a field, if the field has all of them."""
        if not all(self._count(term, field) for term in terms):
            return []
        if len(terms) == 1:
            return [Query.term_query(self._schema, field, terms[0], "freq")]
        return [Query.phrase_query(self._schema, field, list(terms))]

    def _weighted(self, terms: tuple[str, ...], weight: float) -> list[Query]:
        """BM25 of the sequence of terms over all words, and in each boosted field that has it.

        tantivy multiplies the score in a field by the idf in this field. It is divided out, so that the
        rarity of a word is that in all words: a common word is not rare because few titles have it.
        """
        rarity = self._rarity(terms, ALL)
        factor = weight * rarity ** (self._settings.idf_power - 1.0)
        queries = [Query.boost_query(query, factor) for query in self._anywhere_as(terms)]
        for name in BOOSTED:
            if boost := factor * self._weight_of[name]:
                for query in self._anywhere_as(terms, name):
                    queries.append(Query.boost_query(query, boost * rarity / self._rarity(terms, name)))
        return queries

    def _rarity(self, terms: tuple[str, ...], field: str) -> float:
        """The sum of the terms' idf in a field, as tantivy computes it for a phrase."""
        return sum(_idf(self._count(term, field), self._num_docs) for term in terms)


def _idf(having: int, total: int) -> float:
    """ln(1 + (N - n + 1/2) / (n + 1/2)) for n of N documents.

    tantivy's n counts deleted documents until they are merged away, so N is at least n.
    """
    return math.log1p((max(total, having) - having + 0.5) / (having + 0.5))


def _any(queries: Iterable[Query]) -> Query:
    several = list(queries)
    if len(several) == 1:  # whose number of documents tantivy knows
        return several[0]
    return Query.boolean_query([(Occur.Should, query) for query in several])


def _best(queries: Iterable[Query]) -> Query:
    """The best score of several queries."""
    several = list(queries)
    return several[0] if len(several) == 1 else Query.disjunction_max_query(several)
