"""Every error over HTTP in one shape: {"error": {"field", "message", "value"}}."""

import math
from collections.abc import Sequence
from typing import Any

from recsys.errors import RequestError
from serving.http.schemas import ErrorBody, Problem

MAX_SHOWN = 200  # characters of a rejected text


def problem(field: str | None, message: str, value: object = None) -> dict[str, Any]:
    """The one body."""
    return ErrorBody(error=Problem(field=field, message=message, value=shown(value))).model_dump()


def of_validation(problems: Sequence[Any]) -> dict[str, Any]:
    """The body for the first of pydantic's `problems`."""
    first = problems[0]
    message = str(first["msg"]).removeprefix("Value error, ")
    # Of a body that is no JSON the location is a character's place, not a field.
    field = "body" if first["type"] == "json_invalid" else _path(first["loc"])
    return problem(field, message, first.get("input"))


def of_request(error: RequestError) -> dict[str, Any]:
    """The body for a request that does not fit the catalogue or itself."""
    return problem(error.field, error.message, error.value)


def shown(value: object) -> str | int | float | bool | None:
    """`value` as an error may repeat it: whole where it is short, else its kind and size."""
    if isinstance(value, str):
        return value if len(value) <= MAX_SHOWN else f"{value[:MAX_SHOWN]}… ({len(value)} characters)"
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # JSON has no such number
    if isinstance(value, int | float) or value is None:
        return value
    if isinstance(value, list | dict):
        return f"{'list' if isinstance(value, list) else 'object'} of {len(value)}"
    return type(value).__name__


def _path(location: Sequence[int | str]) -> str:
    parts = [str(part) for part in location]
    if parts and parts[0] in ("body", "query", "path"):
        parts = parts[1:]
    return ".".join(parts) or "body"
