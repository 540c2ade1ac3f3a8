"""Training of the ranker on lists that the retriever really returned."""

from training.ranker.fit import (
    INPUTS,
    OUTPUTS,
    CrossFittedRankers,
    FittedRanker,
    ScaledRanker,
    fit_ranker,
    ranker_epochs,
    ranker_output,
)
from training.ranker.ranked_lists import (
    SELECTION_K,
    RankedLists,
    RankingTask,
    selection_ndcg,
    selection_ndcg_by_user,
)

__all__ = [
    "INPUTS",
    "OUTPUTS",
    "SELECTION_K",
    "CrossFittedRankers",
    "FittedRanker",
    "RankedLists",
    "RankingTask",
    "ScaledRanker",
    "fit_ranker",
    "ranker_epochs",
    "ranker_output",
    "selection_ndcg",
    "selection_ndcg_by_user",
]
