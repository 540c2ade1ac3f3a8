"""What schemas share: ids, times, the bundle that answered, the state of the server, errors."""

from datetime import UTC, datetime
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

MAX_VALUE: Final = 3.4e38  # numbers of events are held as float32
MAX_ALLOWED: Final = 100_000
_TIME: Final = "seconds since the epoch (not milliseconds), or an ISO 8601 time such as 2026-03-01T12:00:00Z"


def _microseconds(value: Any) -> Any:
    """Microseconds since the epoch from seconds or an ISO 8601 time; without a zone it is UTC."""
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            raise ValueError(f"must be {_TIME}") from None
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return round(moment.timestamp() * 1_000_000)
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e12:
        return round(value * 1_000_000)
    raise ValueError(f"must be {_TIME}")


def _user_id(value: str) -> str:
    if not value.strip():
        raise ValueError("is empty; give the id of a user, or leave user_id out and give history")
    return _encodable(value)


def _item_id(value: str) -> str:
    if not value.strip():
        raise ValueError("is empty; give the id of an item")
    return _encodable(value)


def _encodable(value: str) -> str:
    """`value`, unless it has a lone surrogate, which JSON can write and UTF-8 cannot."""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError(
            "is not valid Unicode: it has half of a surrogate pair; send whole characters"
        ) from None
    return value


Encodable = Annotated[str, AfterValidator(_encodable)]
UserId = Annotated[str, AfterValidator(_user_id)]
ItemId = Annotated[str, AfterValidator(_item_id)]
Time = Annotated[int, BeforeValidator(_microseconds, json_schema_input_type=float | datetime)]

Atomic = Annotated[
    bool,
    Field(
        description="Store nothing where an entry is rejected (422 with every rejected entry). With false, "
        "store the others."
    ),
]


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)


class UserQuery(BaseModel):
    """The query parameter of every request about single items: for whom it is."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    user_id: UserId | None = Field(
        None, description="Items with an owner exist for this user alone; without, they do not exist."
    )


class ModelInfo(Model):
    """The bundle that answered."""

    version: str = Field(description="First 12 digits of the sha256 of the bundle's manifest.")
    created_at: str
    dataset: str


class Health(Model):
    """The process is alive."""

    status: str = Field(examples=["ok"])


class Readiness(Model):
    """Requests can be answered: the bundle, its providers, and the numbers of items and users."""

    status: str = Field(examples=["ready"])
    model: ModelInfo
    providers: dict[str, list[str]]
    ran_on: dict[str, str | None] = Field(
        description="The device that held the outputs of the last inference of each graph.",
        examples=[{"user_tower": "cuda", "ranker": "cuda"}],
    )
    num_items: int
    num_users: int
    degraded: list[str] = Field(description="What does not answer, while requests are answered without it.")


class Problem(Model):
    """The rejected field, its value, and what would be right."""

    field: str | None = Field(description="Path of the rejected field.", examples=["history.2.item"])
    message: str = Field(examples=["unknown item; did you mean '260'?"])
    value: str | int | float | bool | None = Field(
        None, description="The rejected value; of a list or object only its kind and size."
    )


class ErrorBody(Model):
    """Every error has this body."""

    error: Problem
