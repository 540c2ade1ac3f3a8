"""Search: encoded queries of words, vectors and items to ranked items, by lexical and dense legs."""

from recsys.search.alignment import INPUT, OUTPUT, AlignmentHeads, OnnxHeads, head_file, no_head
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
    "INPUT",
    "LEXICAL",
    "OUTPUT",
    "POPULARITY",
    "QUERY_KINDS",
    "AlignmentHeads",
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
    "OnnxHeads",
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
    "head_file",
    "load_search",
    "logits",
    "no_head",
    "padded",
    "personalizer",
    "reciprocal_ranks",
    "relevance",
    "save_search",
    "standardized",
]
