"""Queries as people ask them, in words, pictures, sound, video and items, to the searcher's clauses."""

from features.queries.clauses import (
    MAX_WEIGHT,
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
from features.queries.files import QueryRow, read_queries
from features.queries.media import read_frames, read_picture, read_video_sound
from features.queries.models import QueryModels
from features.queries.text import clean_text, has_words

__all__ = [
    "MAX_WEIGHT",
    "AudioClause",
    "Clause",
    "ImageClause",
    "ItemClause",
    "QueryEncoder",
    "QueryLimits",
    "QueryModels",
    "QueryRow",
    "ReadQuery",
    "TextClause",
    "VideoClause",
    "checked_clauses",
    "clean_text",
    "has_words",
    "read_frames",
    "read_picture",
    "read_queries",
    "read_video_sound",
]
