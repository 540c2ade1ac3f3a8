"""Candidate sources fitted beside the retriever, on positive training events. A home of `implicit`."""

from training.candidates.als import fit_als
from training.candidates.ease import ease_weights
from training.candidates.fit import fit_sources
from training.candidates.interactions import FitOptions, Interactions
from training.candidates.item_item import bm25_similarity

__all__ = [
    "FitOptions",
    "Interactions",
    "bm25_similarity",
    "ease_weights",
    "fit_als",
    "fit_sources",
]
