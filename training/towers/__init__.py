"""Training of the towers: next-item prediction over the catalogue."""

from training.towers.trainer import FittedRetriever, fit_retriever

__all__ = [
    "FittedRetriever",
    "fit_retriever",
]
