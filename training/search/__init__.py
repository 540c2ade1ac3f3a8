"""Settings of search chosen on queries with known answers, and the evaluation of search."""

from training.search.before_test import SearchBeforeTest, Searched
from training.search.build import (
    KINDS,
    Searchable,
    WordEncoder,
    align,
    build_scorer,
    build_searcher,
    encoder_directories,
    item_words,
    query_encoder,
    word_encoder,
)
from training.search.default_relevance import default_relevance
from training.search.fit import fit_search, ranked_query
from training.search.fusion_fit import FusionChoice, RankedQuery, choose_fusion, ndcg_of
from training.search.known_item import (
    KnownItemQuery,
    LabelledQuery,
    borrowed_queries,
    labelled,
    review_queries,
    sentence_queries,
    typed_queries,
    without_title,
)
from training.search.no_answer import FOREIGN, UnansweredQuery, long_texts, without_similar
from training.search.personal_fit import PersonalChoice, PersonalQuery, PersonalTask, choose_personal
from training.search.quality.evaluate import SEARCH_METRICS, evaluate_search, graded
from training.search.quality.files import QueryFiles, graded_queries, read_qrels, read_query_files
from training.search.quality.lists import GradedQuery
from training.search.quality.results import SearchEvaluation
from training.search.quality.table import metric_label, ordered_systems, search_tables
from training.search.relevance_fit import RelevanceChoice, choose_relevance, expected_calibration_error
from training.search.subject import SearchSubject
from training.search.word_relevance import WordRelevance, word_relevance

__all__ = [
    "FOREIGN",
    "KINDS",
    "SEARCH_METRICS",
    "FusionChoice",
    "GradedQuery",
    "KnownItemQuery",
    "LabelledQuery",
    "PersonalChoice",
    "PersonalQuery",
    "PersonalTask",
    "QueryFiles",
    "RankedQuery",
    "RelevanceChoice",
    "SearchBeforeTest",
    "SearchEvaluation",
    "SearchSubject",
    "Searchable",
    "Searched",
    "UnansweredQuery",
    "WordEncoder",
    "WordRelevance",
    "align",
    "borrowed_queries",
    "build_scorer",
    "build_searcher",
    "choose_fusion",
    "choose_personal",
    "choose_relevance",
    "default_relevance",
    "encoder_directories",
    "evaluate_search",
    "expected_calibration_error",
    "fit_search",
    "graded",
    "graded_queries",
    "item_words",
    "labelled",
    "long_texts",
    "metric_label",
    "ndcg_of",
    "ordered_systems",
    "query_encoder",
    "ranked_query",
    "read_qrels",
    "read_query_files",
    "review_queries",
    "search_tables",
    "sentence_queries",
    "typed_queries",
    "without_similar",
    "without_title",
    "word_encoder",
    "word_relevance",
]
