"""Search over a catalogue: words, vectors of several modalities, and their fusion. No torch."""

from recsys.search.alignment import INPUT, OUTPUT, AlignmentHeads, OnnxHeads, head_file, no_head
from recsys.search.files import items_with_words, load_search, save_search
from recsys.search.fusion import (
    default_weights,
    evidence,
    fuse,
    group_of,
    reciprocal_ranks,
    standardized,
)
from recsys.search.item_words import MAX_CONTENT_WORDS, MAX_SHORT_WORDS, ItemWords
from recsys.search.legs import (
    LEXICAL,
    POPULARITY,
    Background,
    ChangedRows,
    DenseLeg,
    ExtendedLeg,
    LegQuery,
    WordIndex,
    build_leg,
    build_legs,
)
from recsys.search.lexical.documents import Document
from recsys.search.lexical.index import LexicalIndex
from recsys.search.lexical.settings import FieldWeights, LexicalSettings
from recsys.search.lexical.suggestions import Suggestion
from recsys.search.lexical.words import WordQuery, WordStatistics, parse_words
from recsys.search.personal import (
    Personalizer,
    PersonalScores,
    in_deviations,
    personal_order,
    personalizer,
)
from recsys.search.query import QUERY_KINDS, EncodedClause, EncodedQuery, QueryKind
from recsys.search.relevance import (
    COVERAGE,
    LONG,
    WORDS,
    features,
    logits,
    probability,
    relevance,
    word_features,
)
from recsys.search.results import HitExplanation, SearchResults, padded
from recsys.search.scoring import ClauseScores, LegScores, QueryScores, Scorer, Stopwatch
from recsys.search.searcher import Searcher
from recsys.search.settings import Calibration, EvidenceSettings, FusionWeights, SearchSettings

__all__ = [
    "COVERAGE",
    "INPUT",
    "LEXICAL",
    "LONG",
    "MAX_CONTENT_WORDS",
    "MAX_SHORT_WORDS",
    "OUTPUT",
    "POPULARITY",
    "QUERY_KINDS",
    "WORDS",
    "AlignmentHeads",
    "Background",
    "Calibration",
    "ChangedRows",
    "ClauseScores",
    "DenseLeg",
    "Document",
    "EncodedClause",
    "EncodedQuery",
    "EvidenceSettings",
    "ExtendedLeg",
    "FieldWeights",
    "FusionWeights",
    "HitExplanation",
    "ItemWords",
    "LegQuery",
    "LegScores",
    "LexicalIndex",
    "LexicalSettings",
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
    "Suggestion",
    "WordIndex",
    "WordQuery",
    "WordStatistics",
    "build_leg",
    "build_legs",
    "default_weights",
    "evidence",
    "features",
    "fuse",
    "group_of",
    "head_file",
    "in_deviations",
    "items_with_words",
    "load_search",
    "logits",
    "no_head",
    "padded",
    "parse_words",
    "personal_order",
    "personalizer",
    "probability",
    "reciprocal_ranks",
    "relevance",
    "save_search",
    "standardized",
    "word_features",
]
