"""Search in the catalogue: any form of query finds any form of item."""

from recsys.search.lexical.documents import Document
from recsys.search.lexical.index import LexicalIndex
from recsys.search.lexical.settings import FieldWeights, LexicalSettings
from recsys.search.lexical.suggestions import Suggestion
from recsys.search.lexical.words import WordQuery, parse_words

__all__ = [
    "Document",
    "FieldWeights",
    "LexicalIndex",
    "LexicalSettings",
    "Suggestion",
    "WordQuery",
    "parse_words",
]
