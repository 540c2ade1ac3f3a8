"""From a user vector to a ranked list: indexes, candidate sources, the `Recommender`, re-ranking, reasons."""

from recsys.retrieval.candidate_features import BUILTIN_SOURCES, CONTEXT, Candidates
from recsys.retrieval.candidate_generation import Arrays
from recsys.retrieval.candidate_sources import (
    CandidateSource,
    FactorSource,
    ItemNeighborSource,
    PopularitySource,
    RecentSource,
    load_sources,
    merge,
    save_sources,
)
from recsys.retrieval.cold import (
    NEAREST_POPULARITY,
    TOWERS,
    ColdRanker,
    cold_positions,
    load_cold_ranker,
    save_cold_ranker,
)
from recsys.retrieval.explanations import LEFT_OUT, Reason, by_leave_one_out, phrase, reason_of, score_drops
from recsys.retrieval.fallback import AnsweredBy, Popularity, answered_by, has_profile
from recsys.retrieval.index.base import Index, SearchIndex
from recsys.retrieval.index.build import build_index, load_index
from recsys.retrieval.index.exact import ExactIndex
from recsys.retrieval.index.extended import ExtendedIndex
from recsys.retrieval.owners import Owners, recommend_visible
from recsys.retrieval.recommendations import Recommendations
from recsys.retrieval.recommender import IsLate, Recommender
from recsys.retrieval.reranking import MAX_DIVERSITY, best_first, tie_groups
from recsys.retrieval.rules import Boost, Cap, Exploration, Pin, RuledLists, Rules, recommend_by_rules
from recsys.retrieval.settings import PAGE, ListSettings, RecommenderSettings
from recsys.retrieval.topk import top_k

__all__ = [
    "BUILTIN_SOURCES",
    "CONTEXT",
    "LEFT_OUT",
    "MAX_DIVERSITY",
    "NEAREST_POPULARITY",
    "PAGE",
    "TOWERS",
    "AnsweredBy",
    "Arrays",
    "Boost",
    "CandidateSource",
    "Candidates",
    "Cap",
    "ColdRanker",
    "ExactIndex",
    "Exploration",
    "ExtendedIndex",
    "FactorSource",
    "Index",
    "IsLate",
    "ItemNeighborSource",
    "ListSettings",
    "Owners",
    "Pin",
    "Popularity",
    "PopularitySource",
    "Reason",
    "RecentSource",
    "Recommendations",
    "Recommender",
    "RecommenderSettings",
    "RuledLists",
    "Rules",
    "SearchIndex",
    "answered_by",
    "best_first",
    "build_index",
    "by_leave_one_out",
    "cold_positions",
    "has_profile",
    "load_cold_ranker",
    "load_index",
    "load_sources",
    "merge",
    "phrase",
    "reason_of",
    "recommend_by_rules",
    "recommend_visible",
    "save_cold_ranker",
    "save_sources",
    "score_drops",
    "tie_groups",
    "top_k",
]
