"""Candidate sources fitted beside the retriever, on positive training events. A home of `implicit`."""

from training.candidates.als import fit_als
from training.candidates.content import (
    CATEGORIES,
    CONTENT_PREFIX,
    Neighbors,
    content_modalities,
    content_neighbors,
    has_content,
    unit_vectors,
)
from training.candidates.ease import ease_weights
from training.candidates.fit import fit_sources
from training.candidates.interactions import FitOptions, Interactions
from training.candidates.item_item import bm25_similarity

__all__ = [
    "CATEGORIES",
    "CONTENT_PREFIX",
    "FitOptions",
    "Interactions",
    "Neighbors",
    "bm25_similarity",
    "content_modalities",
    "content_neighbors",
    "ease_weights",
    "fit_als",
    "fit_sources",
    "has_content",
    "unit_vectors",
]
