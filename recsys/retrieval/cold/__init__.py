"""Cold items in a list: their order and their ranks."""

from recsys.retrieval.cold.items import ColdItems
from recsys.retrieval.cold.ranker import (
    NEAREST_POPULARITY,
    TOWERS,
    ColdRanker,
    load_cold_ranker,
    save_cold_ranker,
)
from recsys.retrieval.cold.ranks import cold_positions, merge_by_rank

__all__ = [
    "NEAREST_POPULARITY",
    "TOWERS",
    "ColdItems",
    "ColdRanker",
    "cold_positions",
    "load_cold_ranker",
    "merge_by_rank",
    "save_cold_ranker",
]
