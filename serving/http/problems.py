"""Every error over HTTP in one shape: {"error": {"field", "message", "value"}}.

Pydantic's errors are translated: each message says what is wrong and what would be right.
"""

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, get_args

from pydantic import BaseModel

from recsys.errors import RequestError, did_you_mean
from serving.http.schemas import ErrorBody, Problem

MAX_SHOWN: Final = 200  # characters of a rejected text
MAX_FOUND: Final = 20  # characters shown of a body from the place of a syntax error on
SOURCES: Final = ("body", "query", "path")  # parts of a request that a location of pydantic begins with


def problem(field: str | None, message: str, value: object = None) -> dict[str, Any]:
    """The body of an error answer."""
    field = None if field is None else _printable(field)
    return ErrorBody(error=Problem(field=field, message=_printable(message), value=shown(value))).model_dump()


def of_validation(problems: Sequence[Any], body: object, schemas: Mapping[str, Any]) -> dict[str, Any]:
    """The error body for the first of pydantic's `problems`.

    `body` is the posted body, as text where it is no JSON. `schemas` has the schema of "body" and of "query"
    where the endpoint has them: the nearest of its fields is proposed for an unknown field.
    """
    first = problems[0]
    kind, context, location = first["type"], first.get("ctx", {}), _location(first["loc"])
    if kind == "json_invalid":
        return _of_syntax_error(context["error"], str(body), first["loc"][-1])
    field = ".".join(location) or "body"
    if kind == "string_unicode":  # the name of a field; values are checked by the schemas
        message = "has a field whose name has half of a surrogate pair; write the name in whole characters"
        return problem(field, message, first["input"])
    if field == "body":
        return problem("body", _about_body(first["input"]), first["input"])
    if kind == "missing":
        return problem(field, "is missing; add it")
    if kind == "extra_forbidden":
        known = _model_at(schemas[first["loc"][0]], location[:-1]).model_fields
        return problem(field, f"unknown field; {did_you_mean(location[-1], known)}", first["input"])
    return problem(field, _message(kind, context, first["input"]), first["input"])


def of_request(error: RequestError) -> dict[str, Any]:
    """The error body for a request that does not fit the catalogue, or contradicts itself."""
    return problem(error.field, error.message, error.value)


def shown(value: object) -> str | int | float | bool | None:
    """The value as an error repeats it: a short text or a number as it is, otherwise its kind and size."""
    if isinstance(value, str):
        value = _printable(value)
        return value if len(value) <= MAX_SHOWN else f"{value[:MAX_SHOWN]}… ({len(value)} characters)"
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # JSON has no such number
    if isinstance(value, int | float) or value is None:
        return value
    if isinstance(value, list | dict):
        return f"{'list' if isinstance(value, list) else 'object'} of {len(value)}"
    return type(value).__name__


def _printable(text: str) -> str:
    """The text with lone surrogates, which UTF-8 cannot encode, written as escapes."""
    return text.encode("utf-8", "backslashreplace").decode()


def _of_syntax_error(message: str, text: str, position: int) -> dict[str, Any]:
    """The error body for a body that is no JSON; lines and columns are counted from 1, in characters."""
    line = text.count("\n", 0, position) + 1
    column = position - text.rfind("\n", 0, position)
    rest = text[position:].partition("\n")[0]
    found = repr(rest[:MAX_FOUND]) if rest else "the end of the line" if text[position:] else "the end"
    return problem(
        "body",
        f"is not JSON: line {line}, column {column}: {message[:1].lower()}{message[1:]}, found {found}; "
        "correct the syntax there",
        rest[:MAX_FOUND] or None,
    )


def _about_body(value: object) -> str:
    if value is None:
        return "is empty; send a JSON object"
    if isinstance(value, str | bytes):
        return "must be a JSON object, sent with the header Content-Type: application/json"
    return "must be a JSON object"


def _message(kind: str, context: Mapping[str, Any], value: object) -> str:
    """What would be right in place of `value`; `kind` and `context` are pydantic's type and ctx."""
    if kind == "value_error":
        return str(context["error"])
    if kind == "string_type" and isinstance(value, int | float) and not isinstance(value, bool):
        return f"must be a string; write {json.dumps(str(value))} in quotes"
    describe = _DESCRIPTIONS.get(kind)
    return (
        describe(context) if describe else "has a value that is not accepted here; /docs describes the field"
    )


_Describe = Callable[[Mapping[str, Any]], str]


def _plain(text: str) -> _Describe:
    return lambda _: text


_DESCRIPTIONS: Final[Mapping[str, _Describe]] = {
    **dict.fromkeys(
        ("int_type", "int_parsing", "int_from_float"), _plain("must be a whole number, such as 20")
    ),
    "float_type": _plain("must be a number, such as 4.5"),
    "finite_number": _plain("must be a finite number, such as 4.5"),
    "string_type": _plain("must be a string"),
    "bool_type": _plain("must be true or false"),
    "literal_error": lambda context: f"must be {context['expected']}",
    "list_type": _plain("must be a list, in square brackets"),
    **dict.fromkeys(("dict_type", "model_type", "model_attributes_type"), _plain("must be an object")),
    "greater_than_equal": lambda context: f"must be at least {context['ge']:g}",
    "less_than_equal": lambda context: f"must be at most {context['le']:g}",
    "string_too_long": lambda context: f"is too long; give at most {context['max_length']:,} characters",
    "too_short": lambda context: f"is empty; give at least {context['min_length']} entry",
    "too_long": lambda context: f"has too many entries; give at most {context['max_length']:,}",
}


def _model_at(schema: type[BaseModel], path: Sequence[str]) -> type[BaseModel]:
    """The model of the object at `path` in an object of `schema`; places in lists are passed over."""
    for name in path:
        if name in schema.model_fields:
            schema = next(_models_in(schema.model_fields[name].annotation), schema)
    return schema


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models that an annotation names, such as that of the entries of a list."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models_in(part)


def _location(location: Sequence[int | str]) -> list[str]:
    """The path of a field without the part of the request that it is in."""
    parts = [str(part) for part in location]
    return parts[1:] if parts and parts[0] in SOURCES else parts
