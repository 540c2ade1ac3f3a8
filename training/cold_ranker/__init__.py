"""The ranker of cold items: content neighbours and the towers' score, weighed on pseudo-cold items."""

from training.cold_ranker.fit import ColdRankerChoice, choose_cold_ranker, make_cold_ranker

__all__ = ["ColdRankerChoice", "choose_cold_ranker", "make_cold_ranker"]
