"""`LexicalIndex`: BM25 over the words of the items, by tantivy."""

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import tantivy
from pydantic import ValidationError

from recsys.arrays import Bools, Floats, Ints
from recsys.errors import BundleError, RecsysError
from recsys.files import replacing_directory
from recsys.search.lexical.documents import Document, analyzed, checked, schema
from recsys.search.lexical.hits import SPARE, are_few, best, best_matches, count, hits, looked_up, scored
from recsys.search.lexical.matching import Matcher
from recsys.search.lexical.presence import strengths
from recsys.search.lexical.settings import LexicalSettings
from recsys.search.lexical.stemming import Stemmer
from recsys.search.lexical.storage import TermIndex, WorkingFolder
from recsys.search.lexical.suggestions import Suggestion, Suggestions, completed_words
from recsys.search.lexical.tokens import fold_text
from recsys.search.lexical.vocabulary import Vocabulary
from recsys.search.lexical.words import WordQuery, WordStatistics

FORMAT: Final = 2
_SETTINGS: Final = "lexical.json"
_DOCUMENTS, _VOCABULARY, _SUGGESTIONS = "documents", "vocabulary", "suggestions"


class LexicalIndex:
    """The words of the items. Items are searched by BM25; see docs/search.md for the formula.

    All methods may be called from several threads; a search sees all changes that were made before it. The
    saved folder is never changed by them: `save` writes the present state.
    """

    def __init__(
        self,
        settings: LexicalSettings,
        stemmer: Stemmer,
        folder: WorkingFolder | None,
        documents: TermIndex,
        vocabulary: Vocabulary,
        suggestions: Suggestions,
    ) -> None:
        self.settings = settings
        self._folder, self._stemmer = folder, stemmer
        self._documents, self._vocabulary, self._suggestions = documents, vocabulary, suggestions
        self._last_matcher: Matcher | None = None
        self._changing = threading.Lock()

    @classmethod
    def build(
        cls, documents: Iterable[Document], settings: LexicalSettings, directory: Path | None = None
    ) -> Self:
        """The index of `documents`, which are read once: saved in `directory`, or in memory and never saved.

        Raises `DataError` for a reserved item id and for two documents of one item.
        """
        folder, stemmer = WorkingFolder() if directory is not None else None, Stemmer(settings.stemmed)
        titles: list[Document] = []
        counts: Counter[str] = Counter()
        categories: Counter[str] = Counter()

        def indexed() -> Iterator[tantivy.Document]:
            for document in checked(documents):
                entry, words = analyzed(document, stemmer)
                counts.update(words)
                categories.update(set(document.categories))
                if document.title:
                    titles.append(_title_of(document))
                yield entry

        terms = TermIndex.build(_part(folder, _DOCUMENTS), schema(), indexed())
        vocabulary = Vocabulary.build(_part(folder, _VOCABULARY), counts)
        suggestions = Suggestions.build(_part(folder, _SUGGESTIONS), titles, categories)
        index = cls(settings, stemmer, folder, terms, vocabulary, suggestions)
        if directory is not None:
            index.save(directory)
        return index

    @classmethod
    def open(cls, directory: Path) -> Self:
        """The index saved in `directory`, which is only read. Raises `BundleError` for other folders."""
        settings, folder = _read_settings(directory), WorkingFolder()
        return cls(
            settings,
            Stemmer(settings.stemmed),
            folder,
            TermIndex.open(directory / _DOCUMENTS, folder.path / _DOCUMENTS, schema()),
            Vocabulary.open(directory / _VOCABULARY, folder.path / _VOCABULARY),
            Suggestions.open(directory / _SUGGESTIONS, folder.path / _SUGGESTIONS),
        )

    def save(self, directory: Path) -> None:
        """Write the index to `directory`, whole or not at all; a former index there is replaced.

        Raises `RecsysError` for an index that was built in memory.
        """
        if self._folder is None:
            raise RecsysError("an index in memory cannot be saved; build it with the directory")
        with self._changing, replacing_directory(directory) as draft:
            self._documents.save(draft / _DOCUMENTS)
            self._vocabulary.save(draft / _VOCABULARY)
            self._suggestions.save(draft / _SUGGESTIONS)
            described = {"format": FORMAT, "settings": self.settings.model_dump(mode="json")}
            (draft / _SETTINGS).write_text(json.dumps(described, indent=2) + "\n", "utf-8")

    def __len__(self) -> int:
        """Number of documents."""
        return self._documents.searcher.num_docs

    def update(self, documents: Iterable[Document]) -> None:
        """Add documents; the document of an item that has one is replaced. Visible to the next search.

        BM25 counts a replaced or deleted document among those that have its words until tantivy merges the
        part of the index that holds it, so scores may differ a little from those of a new index.
        """
        new = list(checked(documents))
        entries = [analyzed(document, self._stemmer) for document in new]
        items = [document.item for document in new]
        with self._changing:
            self._vocabulary.add(word for _, words in entries for word in words)
            self._documents.change(items, (entry for entry, _ in entries))
            self._suggestions.change(items, new)

    def delete(self, items: Ints) -> None:
        """Remove the documents of `items`; items without one are ignored. Visible to the next search."""
        gone = [int(item) for item in items if item >= 0]
        with self._changing:
            self._documents.change(gone, ())
            self._suggestions.change(gone, ())

    def search(self, query: WordQuery, k: int, allowed: Bools | None = None) -> tuple[Ints, Floats]:
        """The k best items and their scores, best first, fewer where fewer match. Shapes [k].

        Only items of `allowed` [N] are returned; an item beyond its end is not allowed. Scores that differ by
        at most a millionth of the best score are ties, ordered by ascending item id, and get the same score.
        The first ten of twenty are the list of ten.
        """
        matcher = self._matcher()
        units = matcher.units(query)
        if k < 1 or not units or (allowed is not None and not allowed.any()):
            return np.empty(0, np.int64), np.empty(0, np.float32)
        if are_few(matcher.most(units), k + SPARE):
            return best_matches(*matcher.matches(query), k, allowed)
        return best(self._documents, matcher.score(units, query.excluded), k, allowed)

    def scores(self, query: WordQuery, items: Ints) -> Floats:
        """The score of each of `items`, 0 where nothing matches or an exclusion does. Shape [K]."""
        matcher = self._matcher()
        units = matcher.units(query)
        if not units:
            return _zeros(items)
        if not are_few(matcher.most(units), len(items)):
            return scored(self._documents, matcher.score(units, query.excluded), items)
        found, score = matcher.matches(query)
        order = np.argsort(found)
        return looked_up(found[order], score[order], items)

    def coverage(self, query: WordQuery, items: Ints) -> Floats:
        """The share of the query's words and phrases that each of `items` has, weighted by rarity. Shape [K].

        sum of idf(u) strength(u, item) over the units u / sum of idf(u), with idf(u) = ln(1 + (N - n + 1/2) /
        (n + 1/2)) for n of N documents that have u. The strength of an exact word is 1, of an inexact one its
        weight in the settings. Exclusions do not count. 0 for a query without words.
        """
        matcher = self._matcher()
        units = matcher.units(query)
        idf_U = np.array([matcher.idf(unit) for unit in units], np.float32)
        if not idf_U.any():
            return _zeros(items)
        share: Floats = idf_U @ strengths(self._documents, matcher, units, items) / idf_U.sum()
        at_most_one: Floats = np.minimum(share, np.float32(1))
        return at_most_one

    def statistics(self, query: WordQuery) -> WordStatistics:
        """The information of the query's words, and the mean coverage of the items."""
        matcher, num_items = self._matcher(), len(self)
        units = matcher.units(query)
        idf_U = np.array([matcher.idf(unit) for unit in units], np.float64)
        if not idf_U.any() or not num_items:
            return WordStatistics(num_items=num_items)
        # The formula of idf, solved for the share of the documents that have the unit.
        having_U = ((num_items + 1) * np.exp(-idf_U) - 0.5) / num_items
        strength_U = np.array([max(unit.terms.values(), default=0.0) for unit in units])
        mean = (idf_U * strength_U * having_U).sum() / idf_U.sum()
        return WordStatistics(total_idf=float(idf_U.sum()), mean_coverage=float(mean), num_items=num_items)

    def strengths(self, query: WordQuery, items: Ints) -> Floats:
        """For each word and phrase of the query and each of `items`: 1 where the item has it, the weight of
        an inexact word, else 0. Shape [U, K].
        """
        matcher = self._matcher()
        return strengths(self._documents, matcher, matcher.units(query), items)

    def knows(self, query: WordQuery) -> bool:
        """Whether any document has a word or phrase of the query, misspelled perhaps."""
        matcher = self._matcher()
        return matcher.most(matcher.units(query)) > 0

    def excluded(self, query: WordQuery) -> Ints:
        """Items with an excluded word or phrase in any field, ascending. Words are compared by stems."""
        searcher, found = self._documents.searcher, [np.empty(0, np.int64)]
        for each in self._matcher().excluded(query.excluded):
            found.append(hits(searcher, each, searcher.num_docs)[0])
        return np.unique(np.concatenate(found))

    def matched(self, query: WordQuery, items: Ints) -> list[tuple[str, ...]]:
        """For each of `items` the words and phrases of the query that it has, as the user wrote them."""
        matcher = self._matcher()
        units = matcher.units(query)
        has_UK = strengths(self._documents, matcher, units, items) > 0
        return [
            tuple(unit.written for unit, has in zip(units, has_U, strict=True) if has) for has_U in has_UK.T
        ]

    def suggest(
        self,
        prefix: str,
        k: int,
        *,
        allowed: Bools | None = None,
        is_category: Callable[[str], bool] | None = None,
    ) -> list[Suggestion]:
        """Up to k completions of the typed text: titles, category values and frequent words, best first.

        With `allowed` [N] only titles of these items and category values for which `is_category` is true; no
        words, because the words of the allowed items are known by their stems alone.
        """
        matcher, searcher = self._matcher(), self._documents.searcher

        def is_found(words: Sequence[str]) -> bool:
            return count(searcher, matcher.together(words)) > 0

        def is_kept(suggestion: Suggestion) -> bool:
            if allowed is None:
                return True
            if suggestion.item is None:
                return is_category is not None and is_category(suggestion.text)
            return suggestion.item < len(allowed) and bool(allowed[suggestion.item])

        found = self._suggestions.find(prefix, k, is_kept)
        if len(found) < k and allowed is None:
            known = {fold_text(each.text) for each in found}
            found += [
                each
                for each in completed_words(prefix, k, self._vocabulary, self._stemmer, is_found)
                if fold_text(each.text) not in known
            ]
        return found[:k]

    def _matcher(self) -> Matcher:
        """The builder of queries for the present state of the documents."""
        terms, matcher = self._documents, self._last_matcher
        if matcher is None or matcher.searcher is not terms.searcher:
            matcher = Matcher(terms.searcher, terms.schema, self.settings, self._stemmer, self._vocabulary)
            self._last_matcher = matcher
        return matcher


def _title_of(document: Document) -> Document:
    return Document(item=document.item, title=document.title, popularity=document.popularity)


def _part(folder: WorkingFolder | None, name: str) -> Path | None:
    return None if folder is None else folder.path / name


def _read_settings(directory: Path) -> LexicalSettings:
    path = directory / _SETTINGS
    try:
        described: dict[str, Any] = json.loads(path.read_text("utf-8"))
        if described["format"] != FORMAT:
            raise BundleError(f"{path}: format {described['format']} is not {FORMAT}; build the index again")
        return LexicalSettings.model_validate(described["settings"])
    except FileNotFoundError:
        raise BundleError(f"{path}: no such file; {directory} is not a lexical index") from None
    except (ValueError, KeyError, TypeError, ValidationError) as error:
        raise BundleError(f"{path}: cannot be read, build the index again: {error}") from None


def _zeros(items: Ints) -> Floats:
    return np.zeros(len(items), np.float32)
