"""Requests for recommended, ranked and similar items, with their limits, and the answers."""

from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, ConfigDict, Field

from recsys.retrieval import MAX_DIVERSITY
from serving.filters import FilterBody
from serving.http.schemas.common import (
    MAX_ALLOWED,
    MAX_VALUE,
    ItemId,
    Model,
    ModelInfo,
    Time,
    UserId,
    UserQuery,
)
from serving.rules import RulesBody

MAX_K: Final = 500
MAX_HISTORY: Final = 1000
MAX_CANDIDATES: Final = 1000
Reasons = Literal["leave_one_out", "attention", "none"]
REASONS: Final = (
    "How the past item of a reason is found: the one without which the score falls most, among those that "
    "the ranker attends to; the one that it attends to most (faster, less faithful); or no reasons."
)
IMAGE: Final = "Path of its picture, as the dataset names it; the address of one that was sent with the item."


def _entry(value: Any) -> Any:
    if not isinstance(value, str | dict):
        raise ValueError(
            'must be an item id in quotes, or an object with "item" and, where known, "timestamp", "event", '
            '"value"'
        )
    return {"item": value} if isinstance(value, str) else value


class HistoryEntry(Model):
    """One past event."""

    item: ItemId = Field(description="Item id.", examples=["1"])
    timestamp: Time | None = Field(
        None,
        description="Seconds since the epoch, or an ISO 8601 time (UTC where it names no zone). Give it for "
        "every entry or for none; without, entries count as consecutive, one a minute, ending now.",
        examples=["2026-03-01T12:00:00Z"],
    )
    event: str | None = Field(None, description="Kind of event; the dataset's first kind where left out.")
    value: float | None = Field(
        None,
        ge=-MAX_VALUE,
        le=MAX_VALUE,
        description="A number that belongs to the event, such as a rating.",
        examples=[4.5],
    )


Entry = Annotated[HistoryEntry, BeforeValidator(_entry, json_schema_input_type=str | HistoryEntry)]


class Subject(Model):
    user_id: UserId | None = Field(
        None, description="A user of the data. Give this or `history`.", examples=["42"]
    )
    history: list[Entry] | None = Field(
        None,
        max_length=MAX_HISTORY,
        description="Past events, oldest first: item ids, or objects. Give this or `user_id`. An empty list "
        "is answered like a user without events, and `degraded` has `empty_history`.",
        examples=[["1", "260", {"item": "1196", "timestamp": "2026-03-01T12:00:00Z", "value": 5.0}]],
    )
    strict: bool = Field(
        False,
        description="Refuse a request with unknown items in `history`, `exclude` or `candidates`, instead of "
        "leaving these items out and naming them under `ignored`.",
    )


class RecommendRequest(Subject):
    """A user or a history, the number of items, and the items that may be recommended."""

    k: int = Field(20, ge=1, le=MAX_K, description="How many items.")
    reasons: Reasons = Field("leave_one_out", description=REASONS)
    exclude_seen: bool = Field(True, description="Leave out the items of the user's past events.")
    exclude: list[ItemId] = Field(
        default_factory=list, max_length=MAX_ALLOWED, description="Leave out these items too, by id."
    )
    candidates: list[ItemId] | None = Field(
        None, min_length=1, max_length=MAX_ALLOWED, description="Only these items may be recommended."
    )
    filters: FilterBody = Field(default_factory=dict)
    diversity: float = Field(
        0.0,
        ge=0.0,
        le=MAX_DIVERSITY,
        description="Weight of the similarity to the items above, a cosine, which is subtracted from the "
        "score; 0 orders by score alone, a weight as large as the differences of the scores by similarity "
        "alone.",
    )

    budget_ms: float | None = Field(
        None,
        gt=0,
        le=600_000,
        description="Milliseconds from the arrival of the request: where they have passed after retrieval, "
        "the answer is the retriever's order, and `degraded` has `time_budget`; where they have passed "
        "after ranking, reasons are by attention. At most the operator's budget.",
        examples=[50.0],
    )
    rules: RulesBody | None = Field(
        None, description="In addition to the operator's rules, within the operator's limits."
    )

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"user_id": "42", "k": 10},
                {"history": ["1", {"item": "260", "value": 5.0}], "k": 5, "filters": {"genres": ["Comedy"]}},
            ]
        }
    )


class RankRequest(Subject):
    """Candidates to put in order for a user."""

    reasons: Reasons = Field("leave_one_out", description=REASONS)
    candidates: list[ItemId] = Field(
        min_length=1,
        max_length=MAX_CANDIDATES,
        description="Distinct item ids to order.",
        examples=[["1", "2"]],
    )

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"user_id": "42", "candidates": ["1", "260", "1196"]}]}
    )


class SimilarQuery(UserQuery):
    """The query parameters of a request for similar items."""

    k: int = Field(20, ge=1, le=MAX_K, description="How many items.")


class ReasonOut(Model):
    """The past item and the modality with the largest attention weight of the ranker."""

    text: str = Field(examples=['because you chose "Toy Story"; most telling: its picture'])
    past_item: str | None = Field(description="The most attended item of the history.")
    modality: str | None = Field(description="The most attended modality of the recommended item.")


class ListedItem(Model):
    """What every list says of an item."""

    item_id: str
    title: str | None
    image: str | None = Field(description=IMAGE)
    rank: int = Field(description="Rank in the list, from 1.")
    score: float = Field(description="Higher is better; comparable within one answer.")


class RankedItem(ListedItem):
    """One item of an answer."""

    reason: ReasonOut | None = Field(None, description="Missing where no ranker ran.")
    rules: list[str] = Field(
        default_factory=list,
        description="Names of the rules that moved the item, `exploration` among them.",
    )
    propensity: float = Field(
        1.0, description="Probability of the item at this rank, given the ranks above; 1 without exploration."
    )


class Answer(Model):
    """Items, best first, and the circumstances of the answer."""

    request_id: str = Field(
        description="Names this answer: events on its items may carry it (`POST /v1/events`).",
        examples=["0f8e6a0c5b7d4a52a6f1f2a1f3c5d7e9"],
    )
    items: list[RankedItem]
    model: ModelInfo
    providers: dict[str, list[str]] = Field(description="Execution providers that each graph runs on.")
    degraded: list[str] = Field(
        description="Why the answer does not come from the model and the user's history, and what answered "
        "instead: `unknown_user`, `empty_history`, or `unknown_items` for a history of unknown items only. "
        "`time_budget`: the time ran out before the ranker, or before reasons by leave-one-out. "
        "`live_state`: events since the training are left out.",
        examples=[["unknown_user: popularity"]],
    )
    ignored: list[str] = Field(
        default_factory=list,
        description="Items of `history`, `exclude` and `candidates` that are not in the catalogue and were "
        "left out.",
    )


class SimilarItem(Model):
    """One neighbour of an item."""

    item_id: str
    title: str | None
    image: str | None = Field(description=IMAGE)
    rank: int
    score: float = Field(description="Cosine of the two item vectors.")


class SimilarAnswer(Model):
    """The items whose vectors are nearest to the vector of the given item."""

    item_id: str
    items: list[SimilarItem]
    model: ModelInfo
