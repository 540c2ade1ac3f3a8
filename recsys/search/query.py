"""A query of search, encoded: clauses of words, vectors or items, each with a weight."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, get_args

import numpy as np

from recsys.arrays import Floats
from recsys.errors import RequestError, did_you_mean
from recsys.ids import NUM_RESERVED
from recsys.modalities import EncoderKind
from recsys.search.lexical.words import WordQuery

QueryKind = Literal["text", "image", "audio", "video", "item"]
QUERY_KINDS: Final[tuple[QueryKind, ...]] = get_args(QueryKind)


@dataclass(frozen=True, kw_only=True)
class EncodedClause:
    """One part of a query.

    A negative weight moves similar items down. `vectors` are of unit length, in the encoder's own space; a
    spoken clause has a text vector of its transcript beside the vector of its sound. Raises `RequestError`
    for a weight of 0 or not finite, and for a clause without words, vectors and item.
    """

    kind: QueryKind
    weight: float = 1.0
    words: WordQuery | None = None
    vectors: Mapping[EncoderKind, Floats] = field(default_factory=dict)
    # Of the words of a short text, in lower case, each alone: unit vectors [D] of the text encoder.
    word_vectors: Mapping[str, Floats] = field(default_factory=dict)
    # Those of them that are one token of the encoder, and so not misspelled; None: unknown.
    whole_words: frozenset[str] | None = None
    item: int | None = None  # the vectors of this catalogue item are the query

    def __post_init__(self) -> None:
        if self.kind not in QUERY_KINDS:
            raise RequestError("kind", did_you_mean(str(self.kind), QUERY_KINDS), self.kind)
        if not math.isfinite(self.weight) or self.weight == 0:
            raise RequestError(
                "weight", "a finite number that is not 0; negative moves items down", self.weight
            )
        if self.words is None and not self.vectors and self.item is None:
            raise RequestError("clauses", f"a clause of kind {self.kind} has no words, no vector and no item")
        if self.item is not None and self.item < NUM_RESERVED:
            raise RequestError("item", "not an item of the catalogue; name a known item", self.item)
        for kind, vector_D in self.vectors.items():
            if vector_D.ndim != 1 or not np.isfinite(vector_D).all():
                raise RequestError(
                    "vectors", f"the {kind} vector has shape {vector_D.shape}; a finite [D] is needed"
                )


@dataclass(frozen=True, kw_only=True)
class EncodedQuery:
    """Clauses, and factors of legs by name ("lexical", "image", "popularity", ...); 0 switches a leg off.

    Raises `RequestError` without a clause of positive weight, and for factors that are negative or not
    finite.
    """

    clauses: tuple[EncodedClause, ...]
    modality_weights: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.clauses:
            raise RequestError("clauses", "an empty query; give words, a picture, sound or an item")
        if not self.positive:
            raise RequestError("clauses", "all clauses have negative weights; add one with a positive weight")
        for name, weight in self.modality_weights.items():
            if not math.isfinite(weight) or weight < 0:
                raise RequestError(f"modality_weights.{name}", "a finite number of at least 0", weight)

    @property
    def positive(self) -> tuple[EncodedClause, ...]:
        """The clauses that bring candidates in."""
        return tuple(clause for clause in self.clauses if clause.weight > 0)
