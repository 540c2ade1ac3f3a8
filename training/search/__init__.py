"""The settings of search, chosen on queries with known answers, and the makers of such queries."""

from training.search.default_relevance import default_relevance
from training.search.fit import fit_search, ranked_query
from training.search.fusion_fit import FusionChoice, RankedQuery, choose_fusion, ndcg_of
from training.search.known_item import (
    JudgedQuery,
    KnownItemQuery,
    judged,
    review_queries,
    sentence_queries,
    without_title,
)
from training.search.no_answer import FOREIGN, UnansweredQuery, without_similar
from training.search.personal_fit import PersonalChoice, choose_personal
from training.search.relevance_fit import RelevanceChoice, choose_relevance, expected_calibration_error

__all__ = [
    "FOREIGN",
    "FusionChoice",
    "JudgedQuery",
    "KnownItemQuery",
    "PersonalChoice",
    "RankedQuery",
    "RelevanceChoice",
    "UnansweredQuery",
    "choose_fusion",
    "choose_personal",
    "choose_relevance",
    "default_relevance",
    "expected_calibration_error",
    "fit_search",
    "judged",
    "ndcg_of",
    "ranked_query",
    "review_queries",
    "sentence_queries",
    "without_similar",
    "without_title",
]
