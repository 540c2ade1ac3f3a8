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

FIELDS: Final = ("title", "categories", "text", "transcript", "reviews")


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
    """The item id, and for each field of a document its stems with their positions."""
    builder = tantivy.SchemaBuilder()
    builder.add_integer_field(ITEM, indexed=True, fast=True)
    for field in FIELDS:
        builder.add_text_field(field, tokenizer_name=WORDS)
    return builder.build()


def analyzed(document: Document, stemmer: Stemmer) -> tuple[tantivy.Document, set[str]]:
    """The document as it is indexed, and its different words in lower case."""
    words_of = {field: words_in(text_of(document, field)) for field in FIELDS}
    words = [word for field in FIELDS for word in words_of[field]]
    own = stemmer.of_document(words)
    indexed = tantivy.Document()
    indexed.add_integer(ITEM, document.item)
    for field, field_words in words_of.items():
        if field_words:
            indexed.add_text(field, own.terms(field_words))
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


def text_of(document: Document, field: str) -> str:
    # A full stop keeps the words of neighbouring categories from being a phrase of one.
    value = getattr(document, field)
    return value if isinstance(value, str) else " . ".join(value)
