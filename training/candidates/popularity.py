"""Popularity: the number of positive training events of each item."""

import numpy as np

from recsys.config import PopularityConfig
from recsys.retrieval import PopularitySource
from training.candidates.interactions import FitOptions, Interactions


def fit(interactions: Interactions, settings: PopularityConfig, options: FitOptions) -> PopularitySource:
    """An item's score is its events divided by those of the most popular item."""
    count_N = interactions.events_N
    score_N = (count_N.astype(np.float32) / max(float(count_N.max()), 1.0)).astype(np.float32)
    return PopularitySource(name="popularity", score=score_N)
