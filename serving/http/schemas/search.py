"""Requests and answers of search as they go over HTTP."""

import base64
import binascii
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from features.queries import MAX_WEIGHT, QueryLimits
from serving.filters import FilterBody
from serving.http.schemas.common import MAX_ALLOWED, Encodable, ItemId, Model, ModelInfo, UserQuery
from serving.http.schemas.lists import MAX_K, ListedItem, Subject

MAX_TEXT: Final = 100_000  # characters; of a longer text than a query may have the beginning is used
MAX_SUGGESTIONS: Final = 50
MAX_PREFIX: Final = 200
PartName = Literal["image", "audio", "video"]


def _decoded(value: Any) -> Any:
    """Bytes of a base64 text, with or without the head of a data URL."""
    if not isinstance(value, str):
        raise ValueError("must be a base64 text; send files as they are in a multipart request")
    text = value.partition(",")[2] if value.startswith("data:") else value
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(
            "is not base64; encode the file's bytes, or send it in a multipart request"
        ) from None


Base64 = Annotated[bytes, BeforeValidator(_decoded, json_schema_input_type=str)]
Weight = Annotated[float, Field(ge=-MAX_WEIGHT, le=MAX_WEIGHT)]


class SearchClause(Model):
    """One part of a query: a text, an item, a picture, a sound or a video, and its weight."""

    text: Encodable | None = Field(None, max_length=MAX_TEXT, description="Words.", examples=["but red"])
    item_id: ItemId | None = Field(None, description="Items like this one, which is left out.")
    image: Base64 | None = Field(None, description="A picture file in base64.")
    audio: Base64 | None = Field(None, description="A sound file in base64: its words and its sound.")
    video: Base64 | None = Field(None, description="A video file in base64: its frames and its sound.")
    weight: Weight = Field(1.0, description="0 leaves the clause out; below 0, similar items move down.")

    @model_validator(mode="after")
    def _is_one(self) -> "SearchClause":
        given = [name for name in KINDS if getattr(self, name) is not None]
        if len(given) != 1:
            found = f"has {' and '.join(given)}" if given else "has none of them"
            raise ValueError(f"must have one of {', '.join(KINDS)}, and {found}; give one clause for each")
        return self


KINDS: Final = ("text", "item_id", "image", "audio", "video")


class SearchBody(Subject):
    """What is searched for, for whom, and among which items."""

    query: Encodable | None = Field(
        None, max_length=MAX_TEXT, description="Words: a clause with weight 1.", examples=["red summer dress"]
    )
    clauses: list[SearchClause] = Field(
        default_factory=list,
        max_length=QueryLimits().max_clauses,
        description="Further parts of the query, each with a weight.",
    )
    part_weights: dict[PartName, list[Weight]] = Field(
        default_factory=dict,
        description="Weights of the file parts of a multipart request by their name, in their order; 1 where "
        "left out.",
    )
    k: int = Field(20, ge=1, le=MAX_K, description="How many items, at most.")
    exclude_seen: bool = Field(False, description="Leave out the items of the user's past events.")
    exclude: list[ItemId] = Field(
        default_factory=list, max_length=MAX_ALLOWED, description="Leave out these items too, by id."
    )
    filters: FilterBody = Field(default_factory=dict)
    min_relevance: float | None = Field(
        None,
        ge=0,
        le=1,
        description="The list ends where the relevance falls below it; by default the one that validation "
        "chose. 0 leaves nothing out.",
    )
    personal: float | None = Field(
        None,
        ge=0,
        le=1,
        description="From 0, the order by the query alone, to 1, the taste of the user alone among the best "
        "hits; by default what validation chose.",
    )
    modality_weights: dict[str, float] = Field(
        default_factory=dict,
        description="Factors of the retrievers by name: `lexical`, `popularity`, or a modality; 0 switches "
        "one off.",
        examples=[{"image": 2.0, "lexical": 0.5}],
    )

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"query": "red summer dress", "k": 10},
                {"clauses": [{"item_id": "1"}, {"text": "but red", "weight": 0.5}], "user_id": "42"},
            ]
        }
    )


class ExplanationOut(Model):
    """Why an item was found."""

    text: str = Field(examples=['has "red"; nearest: its picture'])
    words: list[str] = Field(description="Words of the query that the item has, as they were written.")
    modality: str | None = Field(description="The retriever that contributed most.")
    past_item: str | None = Field(description="The past item of the user that moved it.")


class FoundItem(ListedItem):
    """One item of an answer."""

    relevance: float = Field(description="Calibrated probability that the item fits; 1 where not calibrated.")
    explanation: ExplanationOut


class SearchAnswerOut(Model):
    """Items, best first, and the circumstances of the answer."""

    items: list[FoundItem]
    model: ModelInfo
    notes: list[str] = Field(description="What was left out of the query, and why.")
    transcripts: dict[str, str] = Field(description="Clause with sound to the words that were heard.")
    degraded: list[str] = Field(
        description="Why the order is impersonal where a user was named: `unknown_user`, `empty_history`, "
        "`unknown_items`, `no_recommender`."
    )
    ignored: list[str] = Field(description="Items of the request that are not in the catalogue.")
    milliseconds: dict[str, float] = Field(description="Time by stage.")


class SuggestQuery(UserQuery):
    """The query parameters of a request for suggestions."""

    q: str = Field(max_length=MAX_PREFIX, description="What is typed so far.")
    k: int = Field(8, ge=1, le=MAX_SUGGESTIONS, description="How many suggestions, at most.")


class SuggestionOut(Model):
    text: str
    kind: Literal["category", "title", "word"]
    item_id: str | None = Field(description="The item of a title.")


class SuggestAnswer(Model):
    """Completions of what is typed, best first."""

    suggestions: list[SuggestionOut]
