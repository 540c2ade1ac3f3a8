"""Metrics of ranked lists, beyond accuracy too, and their confidence intervals."""

from recsys.metrics.beyond_accuracy import BEYOND, Content, Exposure, coverage, gini, per_user
from recsys.metrics.bootstrap import Estimate, Sampled, clustered_means, resamples, weighted_means
from recsys.metrics.graded import Grades, graded_at_k
from recsys.metrics.ranking import METRICS, Doubles, IdLists, at_k, means
from recsys.metrics.selection import best_if_clear, is_clear, standard_error

__all__ = [
    "BEYOND",
    "METRICS",
    "Content",
    "Doubles",
    "Estimate",
    "Exposure",
    "Grades",
    "IdLists",
    "Sampled",
    "at_k",
    "best_if_clear",
    "clustered_means",
    "coverage",
    "gini",
    "graded_at_k",
    "is_clear",
    "means",
    "per_user",
    "resamples",
    "standard_error",
    "weighted_means",
]
