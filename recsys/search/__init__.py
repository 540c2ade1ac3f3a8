"""Search over a catalogue: words, vectors of several modalities, and their fusion. No torch."""

from recsys.search.alignment import INPUT, OUTPUT, AlignmentHeads, OnnxHeads, head_file, no_head
from recsys.search.lexical.documents import Document
from recsys.search.lexical.index import LexicalIndex
from recsys.search.lexical.settings import FieldWeights, LexicalSettings
from recsys.search.lexical.suggestions import Suggestion
from recsys.search.lexical.words import WordQuery, parse_words
from recsys.search.query import EncodedClause, EncodedQuery, QueryKind

__all__ = [
    "INPUT",
    "OUTPUT",
    "AlignmentHeads",
    "Document",
    "EncodedClause",
    "EncodedQuery",
    "FieldWeights",
    "LexicalIndex",
    "LexicalSettings",
    "OnnxHeads",
    "QueryKind",
    "Suggestion",
    "WordQuery",
    "head_file",
    "no_head",
    "parse_words",
]
