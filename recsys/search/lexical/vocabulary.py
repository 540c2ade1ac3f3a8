"""The vocabulary of the documents: words with a given beginning, and words a few edits away from another.

An index of its own, with one document per word, so that tantivy's automata enumerate words.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import tantivy
from tantivy import Query

from recsys.search.lexical.storage import RAW, TermIndex
from recsys.search.lexical.tokens import fold

_KEY: Final = "key"  # the folded word
_WORD: Final = "word"  # the word with its accents
_COUNT: Final = "count"  # of documents that have the word


@dataclass(frozen=True, kw_only=True)
class KnownWord:
    """A word of the vocabulary."""

    word: str  # in lower case, with its accents
    count: int  # documents that had the word when the index was built


class Vocabulary:
    """All words of the documents, without stemming. Words of deleted documents stay."""

    def __init__(self, index: TermIndex) -> None:
        self._index = index

    @classmethod
    def build(cls, path: Path | None, counts: Counter[str]) -> "Vocabulary":
        words = sorted(counts)
        return cls(TermIndex.build(path, _schema(), (_document(word, counts[word]) for word in words)))

    @classmethod
    def open(cls, saved: Path, path: Path) -> "Vocabulary":
        return cls(TermIndex.open(saved, path, _schema()))

    def save(self, saved: Path) -> None:
        self._index.save(saved)

    def add(self, words: Iterable[str]) -> None:
        """Add words that may be known already."""
        new = [
            word for word in sorted(set(words)) if all(known.word != word for known in self.same(word, 1000))
        ]
        if new:
            self._index.change((), (_document(word, 1) for word in new))

    def same(self, word: str, limit: int) -> list[KnownWord]:
        """The words that are equal to `word` but for case and accents, most frequent first."""
        return self._find(Query.term_query(self._index.schema, _KEY, fold(word)), limit)

    def near(self, word: str, num_edits: int, limit: int) -> list[KnownWord]:
        """The words at most `num_edits` (1 or 2) edits away from `word`, most frequent first."""
        return self._find(
            Query.fuzzy_term_query(self._index.schema, _KEY, fold(word), distance=num_edits), limit
        )

    def completions(self, beginning: str, limit: int) -> list[KnownWord]:
        """The words that begin with `beginning`, most frequent first."""
        return self._find(
            Query.fuzzy_term_query(self._index.schema, _KEY, fold(beginning), distance=0, prefix=True), limit
        )

    def _find(self, query: Query, limit: int) -> list[KnownWord]:
        searcher = self._index.searcher
        limit = max(min(limit, searcher.num_docs), 1)  # tantivy reserves memory for as many hits
        hits = searcher.search(query, limit, count=False, order_by_field=_COUNT).hits
        counts = searcher.fast_field_values(_COUNT, [address for _, address in hits])
        words = [str(searcher.doc(address)[_WORD][0]) for _, address in hits]
        found = [
            KnownWord(word=word, count=int(count or 0)) for word, count in zip(words, counts, strict=True)
        ]
        return sorted(found, key=lambda known: (-known.count, known.word))


def _schema() -> tantivy.Schema:
    builder = tantivy.SchemaBuilder()
    builder.add_text_field(_KEY, tokenizer_name=RAW, index_option="basic")
    builder.add_text_field(_WORD, stored=True, tokenizer_name=RAW, index_option="basic")
    builder.add_unsigned_field(_COUNT, fast=True)
    return builder.build()


def _document(word: str, count: int) -> tantivy.Document:
    document = tantivy.Document()
    document.add_text(_KEY, fold(word))
    document.add_text(_WORD, word)
    document.add_unsigned(_COUNT, count)
    return document
