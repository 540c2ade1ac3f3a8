"""Rules of an operator on ranked lists: boosts, caps, pins, exclusions, exploration."""

from recsys.retrieval.rules.apply import RuledLists, recommend_by_rules
from recsys.retrieval.rules.contract import Boost, Cap, Exploration, Pin, Rules

__all__ = [
    "Boost",
    "Cap",
    "Exploration",
    "Pin",
    "RuledLists",
    "Rules",
    "recommend_by_rules",
]
