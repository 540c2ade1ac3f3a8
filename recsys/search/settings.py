"""`SearchSettings`: all settings of search in one object, which is part of the manifest."""

from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from recsys.search.query import QueryKind

Weight = Annotated[float, Field(ge=0)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class EvidenceSettings(_Frozen):
    """Of the fusion by evidence (`fusion.py`)."""

    words: Weight = 6.0  # evidence of all words, in units of the logarithm of the number of items
    bm25: Weight = 0.05  # share of it that BM25 adds, which orders items with equal words
    shared: Weight = 0.05  # factor of comparisons in the shared space, which are less accurate
    # The same for a picture or video that is compared with pictures in their own space: this comparison sees
    # all that the query shows, so that the shared space only orders items that are alike there.
    shared_of_pictures: Weight = 0.003


class FusionWeights(_Frozen):
    """Weights of the legs by name; the score of an item is the sum over the mappings."""

    evidence: Mapping[str, Weight] = Field(default_factory=dict)  # of the legs' evidence, within their group
    standardized: Mapping[str, Weight] = Field(default_factory=dict)  # of the scores' z-scores
    reciprocal: Mapping[str, Weight] = Field(default_factory=dict)  # of the reciprocal ranks


class Calibration(_Frozen):
    """Relevance = sigmoid(intercept + sum over features of weight * value), with features of `relevance.py`.

    `missing` has the value of a feature for an item without it.
    """

    intercept: float
    weights: Mapping[str, Weight]
    missing: Mapping[str, float] = Field(default_factory=dict)


class SearchSettings(_Frozen):
    """Settings of search, and what validation has chosen, with the reasons in words."""

    # Items that each leg proposes for each clause. Does not depend on k, so that a shorter list is a prefix
    # of a longer list.
    num_candidates: int = Field(default=500, ge=1)
    max_list_length: int = Field(default=500, ge=1)
    rank_constant: float = Field(default=60.0, gt=0)  # of reciprocal rank fusion
    evidence: EvidenceSettings = EvidenceSettings()
    # Kinds of clauses that validation has chosen weights for; all others have the fusion by evidence.
    fusion: Mapping[QueryKind, FusionWeights] = Field(default_factory=dict)
    fusion_reason: Mapping[QueryKind, str] = Field(default_factory=dict)
    # Kinds of clauses with a relevance of their own; the relevance of all others is unknown, 1.
    calibration: Mapping[QueryKind, Calibration] = Field(default_factory=dict)
    # Of text and speech of few content words, judged word by word; None: as all other clauses.
    word_calibration: Calibration | None = None
    # Of texts of more than eight content words; None: as all other texts.
    long_calibration: Calibration | None = None
    min_relevance: float = Field(default=0.0, ge=0, le=1)  # a list has no item of lower relevance
    relevance_reason: str = ""
    personal: float = Field(default=0.0, ge=0, le=1)  # share of the recommender in the order of the head
    personal_head: int = Field(default=50, ge=1)  # first items of a list that the recommender orders
    personal_reason: str = ""

    @model_validator(mode="after")
    def _every_list_can_be_filled(self) -> Self:
        if self.num_candidates < self.max_list_length:
            raise ValueError(
                f"num_candidates = {self.num_candidates}: at least max_list_length = {self.max_list_length}"
            )
        return self
