"""Search over a catalogue: words, vectors of several modalities, and their fusion. No torch."""

from recsys.search.alignment import INPUT, OUTPUT, AlignmentHeads, OnnxHeads, head_file, no_head
from recsys.search.query import EncodedClause, EncodedQuery, QueryKind

__all__ = [
    "INPUT",
    "OUTPUT",
    "AlignmentHeads",
    "EncodedClause",
    "EncodedQuery",
    "OnnxHeads",
    "QueryKind",
    "head_file",
    "no_head",
]
