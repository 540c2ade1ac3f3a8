"""Search over the catalogue of a bundle: one request, a file of them, or the answer on a terminal."""

from serving.search.batch import SearchBatch, SearchBatchReport, search_to_parquet
from serving.search.engine import (
    TRANSCRIBER,
    Hit,
    SearchAnswer,
    SearchEngine,
    SearchRequest,
    query_encoder,
)
from serving.search.show import show_hits

__all__ = [
    "TRANSCRIBER",
    "Hit",
    "SearchAnswer",
    "SearchBatch",
    "SearchBatchReport",
    "SearchEngine",
    "SearchRequest",
    "query_encoder",
    "search_to_parquet",
    "show_hits",
]
