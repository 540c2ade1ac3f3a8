"""`Document`, the searchable text of an item, and its form in the tantivy index."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import tantivy

from recsys.errors import DataError, clipped
from recsys.ids import NUM_RESERVED
from recsys.search.lexical.stemming import Stemmer
from recsys.search.lexical.storage import ITEM, WORDS
from recsys.search.lexical.tokens import clean, split

ALL: Final = "all"  # the field of all words of an item
BOOSTED: Final = ("title", "categories")  # fields of their own, whose words score higher
PARTS: Final = ("title", "categories", "text", "transcript", "reviews")


@dataclass(frozen=True, kw_only=True)
class Document:
    """The text of one item; an empty string where the item has none."""

    item: int
    title: str = ""
    text: str = ""
    categories: tuple[str, ...] = ()
    transcript: str = ""
    reviews: str = ""
    popularity: float = 0.0  # suggestions: of equally good titles the more popular one comes first


def schema() -> tantivy.Schema:
    """The item id, and the stems of a document with their positions: all of them, and those of two fields."""
    builder = tantivy.SchemaBuilder()
    builder.add_integer_field(ITEM, indexed=True, fast=True)
    for field in (ALL, *BOOSTED):
        builder.add_text_field(field, tokenizer_name=WORDS)
    return builder.build()


def analyzed(document: Document, stemmer: Stemmer) -> tuple[tantivy.Document, set[str]]:
    """The document as it is indexed, and its different words in lower case."""
    words_of = {part: words_in(text_of(document, part)) for part in PARTS}
    words = [word for part_words in words_of.values() for word in part_words]
    own = stemmer.of_document(words)
    indexed = tantivy.Document()
    indexed.add_integer(ITEM, document.item)
    for part, part_words in words_of.items():
        if part_words:
            terms = own.terms(part_words)
            indexed.add_text(ALL, terms)  # a value of its own, so that no phrase reaches into the next part
            if part in BOOSTED:
                indexed.add_text(part, terms)
    return indexed, set(words)


def words_in(text: str) -> list[str]:
    """Words of a text, in lower case."""
    return split(clean(text).casefold())


def checked(documents: Iterable[Document]) -> Iterable[Document]:
    """The same documents. Raises `DataError` for a reserved id and for an item that comes twice."""
    seen: set[int] = set()
    for document in documents:
        if document.item < NUM_RESERVED:
            raise DataError(
                f"document {clipped(document.title)!r}: item {document.item} is reserved; "
                f"ids start at {NUM_RESERVED}"
            )
        if document.item in seen:
            raise DataError(f"item {document.item} has two documents; join their texts to one")
        seen.add(document.item)
        yield document


def text_of(document: Document, part: str) -> str:
    """One part of the document as one text."""
    value = getattr(document, part)
    return value if isinstance(value, str) else " . ".join(value)
