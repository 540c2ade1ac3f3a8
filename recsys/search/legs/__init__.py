"""Legs of search: the protocol of the lexical index, and the dense leg of each modality."""

from recsys.search.legs.dense import (
    LEXICAL,
    POPULARITY,
    Background,
    DenseLeg,
    LegQuery,
    Space,
    WordIndex,
    build_leg,
    build_legs,
    leg_queries,
)
from recsys.search.legs.extended import ChangedRows, ExtendedLeg

__all__ = [
    "LEXICAL",
    "POPULARITY",
    "Background",
    "ChangedRows",
    "DenseLeg",
    "ExtendedLeg",
    "LegQuery",
    "Space",
    "WordIndex",
    "build_leg",
    "build_legs",
    "leg_queries",
]
