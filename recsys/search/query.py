"""A query as the searcher takes it: its clauses as words, vectors and items, each with a weight."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from recsys.arrays import Floats
from recsys.modalities import EncoderKind
from recsys.search.lexical.words import WordQuery

QueryKind = Literal["text", "image", "audio", "video", "item"]


@dataclass(frozen=True, kw_only=True)
class EncodedClause:
    """One part of a query."""

    kind: QueryKind
    weight: float = 1.0  # finite, not 0; a negative weight moves similar items down
    words: WordQuery | None = None  # of the text, or of the transcript of sound
    # Encoder kind -> unit vector [D] in that encoder's own space; of sound the transcript's vector, too.
    vectors: Mapping[EncoderKind, Floats] = field(default_factory=dict)
    item: int | None = None  # a catalogue item: its own modality vectors are the query


@dataclass(frozen=True, kw_only=True)
class EncodedQuery:
    """Clauses, and a factor for each named leg; a leg without a name keeps its weight."""

    clauses: tuple[EncodedClause, ...]
    modality_weights: Mapping[str, float] = field(default_factory=dict)
