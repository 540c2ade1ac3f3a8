"""Completions of what is typed: titles, category values and frequent words."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Final, Literal, get_args

import tantivy
from tantivy import Occur, Query

from recsys.search.lexical.documents import Document, words_in
from recsys.search.lexical.stemming import Stemmer
from recsys.search.lexical.storage import ITEM, RAW, WORDS, TermIndex
from recsys.search.lexical.tokens import clean, fold, fold_text
from recsys.search.lexical.vocabulary import Vocabulary

SuggestionKind = Literal["category", "title", "word"]
_KINDS: Final[tuple[SuggestionKind, ...]] = get_args(SuggestionKind)
_KEY: Final = "key"  # the folded text, one term
_FOLDED: Final = "words"  # the folded words
_TEXT: Final = "text"  # as it is shown
_KIND: Final = "kind"
_WEIGHT: Final = "weight"  # popularity of a title, number of items of a category
_NO_ITEM: Final = 0  # in the item field of a category
_MAX_KEY: Final = 200  # characters
_MIN_WORD: Final = 3  # letters of a suggested word
_CANDIDATES: Final = 4  # words that are looked at for each suggested word


@dataclass(frozen=True, kw_only=True)
class Suggestion:
    """A completion of the typed text."""

    text: str
    kind: SuggestionKind
    item: int | None = None  # of a title


class Suggestions:
    """Titles and category values by their beginnings and the beginnings of their words."""

    def __init__(self, index: TermIndex) -> None:
        self._index = index

    @classmethod
    def build(
        cls, path: Path | None, titles: Iterable[Document], categories: Mapping[str, int]
    ) -> "Suggestions":
        values = (_category_entry(*each) for each in sorted(categories.items()))
        return cls(TermIndex.build(path, _schema(), chain(map(_title_entry, titles), values)))

    @classmethod
    def open(cls, saved: Path, path: Path) -> "Suggestions":
        return cls(TermIndex.open(saved, path, _schema()))

    def save(self, saved: Path) -> None:
        self._index.save(saved)

    def change(self, deleted: Iterable[int], added: Iterable[Document]) -> None:
        """Replace the titles of items; new category values are added, others keep their weight."""
        added = list(added)
        values = Counter(value for document in added for value in dict.fromkeys(document.categories))
        new = [_category_entry(value, count) for value, count in values.items() if not self._has(value)]
        self._index.change(deleted, [*(_title_entry(each) for each in added if each.title), *new])

    def find(
        self, typed: str, k: int, is_kept: Callable[[Suggestion], bool] = lambda _: True
    ) -> list[Suggestion]:
        """Up to k titles and category values, best first; texts that differ in case or accents are one.

        Entries that are not `is_kept` are left out.

        Order: texts that begin with the typed text, then texts that have its words, the last one as the
        beginning of a word. Among equals: category values before titles, then the greater weight, then the
        lower item id.
        """
        typed = clean(typed)
        beginning = fold_text(typed) + (" " if typed[-1:].isspace() else "")
        found: dict[str, Suggestion] = {}
        if k < 1 or not beginning.strip():
            return []
        for query in (self._begins_with(beginning), self._has_words(typed)):
            for suggestion in self._best(query, k, is_kept):
                found.setdefault(fold_text(suggestion.text), suggestion)
            if len(found) >= k:
                break
        return list(found.values())[:k]

    def _begins_with(self, beginning: str) -> Query:
        return Query.fuzzy_term_query(self._index.schema, _KEY, beginning[:_MAX_KEY], distance=0, prefix=True)

    def _has_words(self, typed: str) -> Query:
        """All words, the last one as a beginning."""
        schema, words = self._index.schema, [fold(word) for word in words_in(typed)]
        if not words:
            return Query.empty_query()
        last = Query.fuzzy_term_query(schema, _FOLDED, words[-1], distance=0, prefix=True)
        others = [Query.term_query(schema, _FOLDED, word, "basic") for word in words[:-1]]
        return Query.boolean_query([(Occur.Must, each) for each in [*others, last]])

    def _best(self, query: Query, k: int, is_kept: Callable[[Suggestion], bool]) -> list[Suggestion]:
        """The best k different texts that match."""
        found: list[Suggestion] = []
        for kind in ("category", "title"):
            of_kind = Query.term_query(self._index.schema, _KIND, _KINDS.index(kind))
            both = Query.boolean_query([(Occur.Must, query), (Occur.Must, of_kind)])
            found += self._distinct(both, kind, k - len(found), is_kept)
        return found

    def _distinct(
        self, query: Query, kind: SuggestionKind, k: int, is_kept: Callable[[Suggestion], bool]
    ) -> list[Suggestion]:
        """The k different texts with the greatest weights. Many items may have the same title."""
        searcher = self._index.searcher
        most = max(searcher.num_docs, 1)  # tantivy reserves memory for as many hits
        limit = min(4 * k, most)
        found: dict[str, Suggestion] = {}
        while k > 0:
            hits = searcher.search(query, limit, count=False, order_by_field=_WEIGHT).hits
            items = searcher.fast_field_values(ITEM, [address for _, address in hits])
            order = sorted(range(len(hits)), key=lambda at: (-hits[at][0], items[at]))
            for at in order:
                text = str(searcher.doc(hits[at][1])[_TEXT][0])
                item = int(items[at] or 0) or None
                suggestion = Suggestion(text=text, kind=kind, item=item)
                if is_kept(suggestion):
                    found.setdefault(fold_text(text), suggestion)
            if len(found) >= k or len(hits) < limit or limit == most:
                break
            limit = min(8 * limit, most)
        return list(found.values())[:k]

    def _has(self, category: str) -> bool:
        schema = self._index.schema
        query = Query.boolean_query(
            [
                (Occur.Must, Query.term_query(schema, _KIND, _KINDS.index("category"))),
                (Occur.Must, Query.term_query(schema, _KEY, fold_text(category)[:_MAX_KEY], "basic")),
            ]
        )
        return bool(self._index.searcher.search(query, 1).hits)


def completed_words(
    typed: str,
    k: int,
    vocabulary: Vocabulary,
    stemmer: Stemmer,
    is_found: Callable[[Sequence[str]], bool],
) -> list[Suggestion]:
    """The typed text with its last word completed by up to k words, the most frequent first.

    Words are left out that are stop words or typed already, or that no item has together with the other typed
    words. Nothing is completed behind a space.
    """
    typed = clean(typed)
    words = words_in(typed)
    if k < 1 or not words or not typed.casefold().endswith(words[-1]):
        return []
    *others, last = words
    typed_words = set(map(fold, words))
    fitting = (
        known.word
        for known in vocabulary.completions(last, _CANDIDATES * k)
        if len(known.word) >= _MIN_WORD and fold(known.word) not in typed_words
        if not stemmer.is_stop_word(known.word) and is_found([*others, known.word])
    )
    before = typed[: len(typed) - len(last)]
    return [Suggestion(text=before + word, kind="word") for word in islice(fitting, k)]


def _schema() -> tantivy.Schema:
    builder = tantivy.SchemaBuilder()
    builder.add_text_field(_KEY, tokenizer_name=RAW, index_option="basic")
    builder.add_text_field(_FOLDED, tokenizer_name=WORDS, index_option="basic")
    builder.add_text_field(_TEXT, stored=True, tokenizer_name=RAW, index_option="basic")
    builder.add_unsigned_field(_KIND, indexed=True)
    builder.add_integer_field(ITEM, indexed=True, fast=True)
    builder.add_float_field(_WEIGHT, fast=True)
    return builder.build()


def _title_entry(document: Document) -> tantivy.Document:
    return _entry(document.title, "title", document.item, document.popularity)


def _category_entry(value: str, count: int) -> tantivy.Document:
    return _entry(value, "category", _NO_ITEM, count)


def _entry(text: str, kind: SuggestionKind, item: int, weight: float) -> tantivy.Document:
    shown = " ".join(clean(text).split())
    entry = tantivy.Document()
    entry.add_text(_KEY, fold_text(shown)[:_MAX_KEY])
    entry.add_text(_FOLDED, " ".join(fold(word) for word in words_in(shown)))
    entry.add_text(_TEXT, shown)
    entry.add_unsigned(_KIND, _KINDS.index(kind))
    entry.add_integer(ITEM, item)
    entry.add_float(_WEIGHT, float(weight))
    return entry
