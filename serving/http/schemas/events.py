"""Bodies and answers of the endpoints that change what is known of users."""

from typing import Annotated, Final

from pydantic import AfterValidator, ConfigDict, Field, SkipValidation

from serving.http.schemas.common import MAX_VALUE, Atomic, Encodable, ErrorBody, ItemId, Model, Time, UserId

MAX_EVENTS: Final = 10_000
MAX_ID: Final = 1_024  # characters, as of ids in a dataset
MAX_REVIEW: Final = 100_000  # characters


def _named(value: str) -> str:
    if not value.strip():
        raise ValueError("is empty; give it a value, or leave it out")
    return _without_nul(value)


def _without_nul(value: str) -> str:
    if "\0" in value:
        raise ValueError("has a NUL character; remove it")
    return value


_Short = Field(max_length=MAX_ID)
Named = Annotated[Encodable, AfterValidator(_named), _Short]


class EventEntry(Model):
    """One event of a user."""

    event_id: Named | None = Field(
        None,
        description="Unique among all events: an event with a known id is a duplicate and is not stored "
        "again, so that a request can be repeated. Where it is left out, user, item, kind and timestamp "
        "stand for it, and without a timestamp every event is a new one.",
        examples=["018f-77"],
    )
    user_id: Annotated[UserId, AfterValidator(_without_nul), _Short] = Field(examples=["42"])
    item_id: Annotated[ItemId, AfterValidator(_without_nul), _Short] = Field(examples=["260"])
    event: Named | None = Field(
        None,
        description="Kind of event; the dataset's first kind where left out. A kind that the bundle does not "
        "know is stored, and read as an unknown kind.",
        examples=["view"],
    )
    value: float | None = Field(
        None,
        ge=-MAX_VALUE,
        le=MAX_VALUE,
        description="A number that belongs to the event, such as a rating.",
        examples=[4.5],
    )
    timestamp: Time | None = Field(
        None,
        description="Seconds since the epoch, or an ISO 8601 time (UTC where it names no zone); now where "
        "left out. At most a day in the future.",
        examples=["2026-03-01T12:00:00Z"],
    )
    review: Annotated[Named, Field(max_length=MAX_REVIEW)] | None = Field(
        None, description="The text of the review that came with it."
    )
    request_id: Named | None = Field(
        None, description="The `request_id` of the answer that listed the item, where one did."
    )


class EventsRequest(Model):
    """Events of any users."""

    # Each entry is validated by itself, so that all bad ones are named, or the good ones are stored.
    events: list[Annotated[EventEntry, SkipValidation]] = Field(min_length=1, max_length=MAX_EVENTS)
    atomic: Atomic = True

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "events": [
                        {"event_id": "018f-77", "user_id": "42", "item_id": "260", "event": "view"},
                        {
                            "event_id": "018f-78",
                            "user_id": "42",
                            "item_id": "1196",
                            "value": 5.0,
                            "timestamp": "2026-03-01T12:00:00Z",
                        },
                    ]
                }
            ]
        }
    )


class RejectedEvent(Model):
    """One entry that was not stored."""

    index: int = Field(description="Its place in `events`, from 0.")
    field: str | None = Field(description="Path of the rejected field.", examples=["events.3.timestamp"])
    message: str
    value: str | int | float | bool | None


class EventsAnswer(Model):
    """What became of the events."""

    accepted: int = Field(description="Events that were stored.")
    duplicates: int = Field(description="Events whose id was known; they were stored before.")
    rejected: list[RejectedEvent] = Field(description="Entries that were not stored; `atomic: false` alone.")
    unknown_items: list[str] = Field(
        description="Items that the catalogue does not have. Their events are stored, and read as soon as a "
        "bundle has the items."
    )
    unknown_events: list[str] = Field(description="Kinds of event that the bundle does not know, likewise.")
    durable: bool = Field(description="Whether the events outlive the process; false for a state in memory.")


class EventsRefused(ErrorBody):
    """The first problem as in every error, and all entries that were rejected."""

    rejected: list[RejectedEvent] = Field(default_factory=list)


class ProfileRequest(Model):
    """The user's own fields."""

    fields: dict[Named, list[Named]] = Field(
        description="Field of the dataset's table of users, to its values. They replace the known ones.",
        examples=[{"occupation": ["writer"]}],
        max_length=100,
    )


class ProfileAnswer(Model):
    user_id: str
    unknown_fields: list[str] = Field(
        description="Fields that the bundle does not read; they are stored for a later one."
    )


class ErasedAnswer(Model):
    """The user is erased."""

    user_id: str
    was_known: bool = Field(description="Whether there was anything to erase.")
