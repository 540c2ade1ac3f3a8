"""Training of the ranker on lists that the retriever really returned."""

from training.ranker.fit import INPUTS, OUTPUTS, CrossFittedRankers, FittedRanker, ScaledRanker, fit_ranker
from training.ranker.ranked_lists import SELECTION_K, RankingTask, selection_ndcg

__all__ = [
    "INPUTS",
    "OUTPUTS",
    "SELECTION_K",
    "CrossFittedRankers",
    "FittedRanker",
    "RankingTask",
    "ScaledRanker",
    "fit_ranker",
    "selection_ndcg",
]
