"""Search over a catalogue: words, vectors of several modalities, and their fusion. No torch."""

from recsys.search.query import EncodedClause, EncodedQuery, QueryKind

__all__ = ["EncodedClause", "EncodedQuery", "QueryKind"]
