"""Search while the test is held out: its searcher, queries with known answers, and its evaluation."""

from training.search.before_test import SearchBeforeTest, SearchSubject
from training.search.evaluate import GradedQuery, evaluate_search, graded
from training.search.files import QueryFiles, graded_queries, read_qrels, read_query_files
from training.search.known_item import judged, review_queries
from training.search.results import SearchEvaluation
from training.search.table import metric_label, ordered_systems, search_tables

__all__ = [
    "GradedQuery",
    "QueryFiles",
    "SearchBeforeTest",
    "SearchEvaluation",
    "SearchSubject",
    "evaluate_search",
    "graded",
    "graded_queries",
    "judged",
    "metric_label",
    "ordered_systems",
    "read_qrels",
    "read_query_files",
    "review_queries",
    "search_tables",
]
