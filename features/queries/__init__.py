"""Queries as people ask them, in words, pictures, sound, video and items, to the searcher's clauses."""

from features.queries.clauses import (
    AudioClause,
    Clause,
    ImageClause,
    ItemClause,
    QueryLimits,
    TextClause,
    VideoClause,
    checked_clauses,
)
from features.queries.encoder import QueryEncoder, ReadQuery
from features.queries.text import clean_text, has_words

__all__ = [
    "AudioClause",
    "Clause",
    "ImageClause",
    "ItemClause",
    "QueryEncoder",
    "QueryLimits",
    "ReadQuery",
    "TextClause",
    "VideoClause",
    "checked_clauses",
    "clean_text",
    "has_words",
]
