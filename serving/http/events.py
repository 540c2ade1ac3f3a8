"""The endpoints that change what is known of users: events, their own fields, erasure."""

import hashlib
import time
from collections.abc import Sequence
from typing import Annotated, Any, Final
from uuid import uuid4

from fastapi import APIRouter, HTTPException
from fastapi import Path as InPath
from pydantic import ValidationError

from features.dataset import NO_EVENT_KIND
from recsys.errors import RequestError
from serving.engine import Engine
from serving.http.parts import BAD_BODY, NOT_READY, EngineOf, Responses
from serving.http.problems import of_validation, problem
from serving.http.schemas import (
    ErasedAnswer,
    EventEntry,
    EventsAnswer,
    EventsRefused,
    EventsRequest,
    ProfileAnswer,
    ProfileRequest,
    RejectedEvent,
)
from serving.state import LiveEvent

router = APIRouter(tags=["users"])
MAX_FUTURE_S: Final = 86_400  # clocks differ; a later time is a mistake
UserInPath = Annotated[str, InPath(description="User id.", examples=["42"])]
REFUSED: Responses = {
    422: {"model": EventsRefused, "description": "Entries are rejected; nothing is stored."}
}


@router.post(
    "/v1/events", responses=BAD_BODY | NOT_READY | REFUSED, summary="Add events", response_model=None
)
def add_events(body: EventsRequest, engine: EngineOf) -> EventsAnswer:
    """Events are on the disk when this answers, and the next request of their users reads them.

    A request that got no answer can be sent again: known events are counted as `duplicates`.
    """
    events, rejected = _read(body.events, _usual_kind(engine))
    if rejected and (body.atomic or not events):
        first = rejected[0]
        refused = problem(first.field, first.message, first.value)
        raise HTTPException(422, refused | {"rejected": [each.model_dump() for each in rejected]})
    appended = engine.state.live.append_events(events)
    return EventsAnswer(
        accepted=appended.accepted,
        duplicates=len(appended.duplicates),
        rejected=rejected,
        unknown_items=_unknown_items(engine, events),
        unknown_events=_unknown_kinds(engine, events),
        durable=engine.state.is_durable,
    )


@router.put("/v1/users/{user_id:path}", responses=BAD_BODY | NOT_READY, summary="Set the fields of a user")
def set_fields(user_id: UserInPath, body: ProfileRequest, engine: EngineOf) -> ProfileAnswer:
    """The user's own fields, which replace those of training and those that were set before."""
    engine.state.live.set_profile(_checked(user_id), body.fields)
    known = engine.bundle.profile_ids
    return ProfileAnswer(user_id=user_id, unknown_fields=[name for name in body.fields if name not in known])


@router.delete("/v1/users/{user_id:path}", responses=BAD_BODY | NOT_READY, summary="Erase a user")
def erase(user_id: UserInPath, engine: EngineOf) -> ErasedAnswer:
    """Erase events, fields, impressions and the history of training; later imports leave the user out.

    What was ingested into a dataset before is removed from its file by the next `recsys ingest`.
    """
    return ErasedAnswer(user_id=user_id, was_known=engine.state.delete_user(_checked(user_id)))


def _checked(user: str) -> str:
    if not user.strip() or "\0" in user:
        raise RequestError("user_id", "is empty, or has a NUL character; give the id of a user", user)
    return user


def _usual_kind(engine: Engine) -> str | None:
    """The kind of an event that came without one; None for a bundle of items alone."""
    kinds = engine.bundle.event_ids.external
    return kinds[0] if kinds else None


def _read(entries: Sequence[Any], usual: str | None) -> tuple[list[LiveEvent], list[RejectedEvent]]:
    """The events of the valid entries, and the problems of the others."""
    now = time.time_ns() // 1000
    events: list[LiveEvent] = []
    rejected: list[RejectedEvent] = []
    for at, entry in enumerate(entries):
        try:
            read = EventEntry.model_validate(entry)
        except ValidationError as error:
            rejected += _problems(at, error, entry)
            continue
        if (message := _about_time(read.timestamp, now)) is not None:
            rejected.append(_rejected(at, problem("timestamp", message, entry["timestamp"])))
            continue
        events.append(_event(read, now, usual))
    return events, rejected


def _about_time(timestamp: int | None, now: int) -> str | None:
    """Why no event can have happened then; None where it can."""
    if timestamp is not None and timestamp < 0:
        return "is before 1970; give the time at which it happened, in seconds"
    if timestamp is not None and timestamp > now + MAX_FUTURE_S * 1_000_000:
        days = (timestamp - now) / 86_400e6
        return f"is {days:,.0f} days in the future; give the time at which it happened, in seconds"
    return None


def _event(entry: EventEntry, now: int, usual: str | None) -> LiveEvent:
    return LiveEvent(
        event_id=entry.event_id or _id_of(entry),
        user=entry.user_id,
        item=entry.item_id,
        kind=usual if entry.event is None else entry.event,
        value=entry.value,
        timestamp=now if entry.timestamp is None else entry.timestamp,
        review=entry.review,
        request_id=entry.request_id,
    )


def _id_of(entry: EventEntry) -> str:
    """The id of an event that came without one."""
    if entry.timestamp is None:
        return uuid4().hex
    named = (entry.user_id, entry.item_id, entry.event, entry.timestamp)
    return hashlib.sha256(repr(named).encode()).hexdigest()


def _problems(at: int, error: ValidationError, entry: object) -> list[RejectedEvent]:
    """Every problem of one entry, as errors of other endpoints say it."""
    found = []
    for each in error.errors():
        located = {**each, "loc": ("body", *each["loc"])}
        found.append(_rejected(at, of_validation([located], entry, {"body": EventEntry})))
    return found


def _rejected(at: int, body: dict[str, Any]) -> RejectedEvent:
    error = body["error"]
    field = f"events.{at}" if error["field"] == "body" else f"events.{at}.{error['field']}"
    return RejectedEvent(index=at, field=field, message=error["message"], value=error["value"])


def _unknown_items(engine: Engine, events: Sequence[LiveEvent]) -> list[str]:
    """Distinct items that their users cannot see, by first appearance."""
    by_user: dict[str, list[str]] = {}
    for each in events:
        by_user.setdefault(each.user, []).append(each.item)
    unknown: dict[str, None] = {}
    for user, items in by_user.items():
        unknown |= dict.fromkeys(engine.reader_of(user).unknown(items, "item_id", strict=False))
    return list(unknown)


def _unknown_kinds(engine: Engine, events: Sequence[LiveEvent]) -> list[str]:
    known = engine.bundle.event_ids
    if known.external == (NO_EVENT_KIND,):  # the dataset keeps no kinds apart
        return []
    return [kind for kind in dict.fromkeys(each.kind for each in events) if kind and kind not in known]
