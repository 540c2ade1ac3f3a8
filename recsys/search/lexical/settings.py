"""`LexicalSettings`: everything that the lexical index is built and searched with, stored beside it."""

from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Language = Literal[
    "arabic", "danish", "dutch", "english", "finnish", "french", "german", "greek", "hungarian", "italian",
    "norwegian", "portuguese", "romanian", "russian", "spanish", "swedish", "tamil", "turkish",
]  # fmt: skip
# Languages without a list of stop words. Among several of one script a document takes one of the others.
WITHOUT_STOP_WORDS: Final[frozenset[Language]] = frozenset(
    {"arabic", "greek", "romanian", "tamil", "turkish"}
)
# "auto" stems each word by its script: one language per script. Other words stay as they are.
AUTO: Final[tuple[Language, ...]] = ("english", "russian", "greek", "arabic", "tamil")

Weight = Annotated[float, Field(ge=0)]


class FieldWeights(BaseModel):
    """Factors of BM25 in the title and in the categories; that over all words has factor 1."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    title: Weight = 1.25
    categories: Weight = 1.25


class LexicalSettings(BaseModel):
    """Settings of the lexical index. Weights of inexact words are factors of an exact word's score."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    weights: FieldWeights = FieldWeights()
    # Languages of stemming. Several languages of one script: each document takes the language whose stop
    # words it has most of, and a query tries all of them. An empty list stems nothing.
    languages: Literal["auto"] | tuple[Language, ...] = ("english",)
    # A word that is in no document also finds words one edit away (an insertion, deletion, substitution or
    # swap of neighbours), else two edits away; the shortest words with one and two edits, in letters.
    min_letters_one_edit: Annotated[int, Field(ge=2)] = 4
    min_letters_two_edits: Annotated[int, Field(ge=2)] = 8
    one_edit_weight: Annotated[float, Field(ge=0, le=1)] = 0.5
    two_edits_weight: Annotated[float, Field(ge=0, le=1)] = 0.25
    # Words that begin with the last word, while it is being typed.
    prefix_weight: Annotated[float, Field(ge=0, le=1)] = 0.5
    # Exponent of a word's idf in scores: 1 as in BM25, 2 as in the cosine of tf-idf vectors.
    idf_power: Annotated[float, Field(ge=0, le=3)] = 1.25
    # Words that more than this share of the documents have are left out of a query, but for its
    # `always_kept` rarest words; they cost most of the time of a long query, and count little.
    common_share: Annotated[float, Field(gt=0, le=1)] = 0.1
    always_kept: Annotated[int, Field(ge=1)] = 5
    max_words: Annotated[int, Field(ge=1)] = 64  # of a longer query the rarest words count
    max_expansions: Annotated[int, Field(ge=1, le=1000)] = 20  # most frequent inexact words of one word

    @model_validator(mode="after")
    def _check_edits(self) -> Self:
        if self.min_letters_two_edits < self.min_letters_one_edit:
            raise ValueError(
                f"min_letters_two_edits = {self.min_letters_two_edits}: at least min_letters_one_edit = "
                f"{self.min_letters_one_edit}"
            )
        return self

    @property
    def stemmed(self) -> tuple[Language, ...]:
        """The languages, those of "auto" by name."""
        return AUTO if self.languages == "auto" else self.languages
