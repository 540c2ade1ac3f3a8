"""Search: encoded queries of words, vectors and items to ranked items, by lexical and dense legs."""

from recsys.search.files import load_search, save_search
from recsys.search.fusion import default_weights, fuse, reciprocal_ranks, standardized
from recsys.search.legs import (
    LEXICAL,
    POPULARITY,
    DenseLeg,
    Heads,
    LegQuery,
    WordIndex,
    build_leg,
    build_legs,
)
from recsys.search.personal import Personalizer, PersonalScores, personalizer
from recsys.search.query import QUERY_KINDS, EncodedClause, EncodedQuery, QueryKind
from recsys.search.relevance import features, logits, relevance
from recsys.search.results import HitExplanation, SearchResults, padded
from recsys.search.scoring import ClauseScores, LegScores, QueryScores, Scorer, Stopwatch
from recsys.search.searcher import Searcher
from recsys.search.settings import Calibration, FusionWeights, SearchSettings

__all__ = [
    "LEXICAL",
    "POPULARITY",
    "QUERY_KINDS",
    "Calibration",
    "ClauseScores",
    "DenseLeg",
    "EncodedClause",
    "EncodedQuery",
    "FusionWeights",
    "Heads",
    "HitExplanation",
    "LegQuery",
    "LegScores",
    "PersonalScores",
    "Personalizer",
    "QueryKind",
    "QueryScores",
    "Scorer",
    "SearchResults",
    "SearchSettings",
    "Searcher",
    "Stopwatch",
    "WordIndex",
    "build_leg",
    "build_legs",
    "default_weights",
    "features",
    "fuse",
    "load_search",
    "logits",
    "padded",
    "personalizer",
    "reciprocal_ranks",
    "relevance",
    "save_search",
    "standardized",
]
