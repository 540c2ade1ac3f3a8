"""The guard in the description of the API: keys, and its own answers."""

from typing import Any, Final

from serving.http.guard.scopes import scope_of

_ANSWERS: Final = {
    "401": "No valid API key; only where the server asks for keys.",
    "403": "The key has not the scope that the request needs.",
    "413": "The body is too large.",
    "429": "Too many requests; `Retry-After` says when to come back.",
}


def describe_guard(schema: dict[str, Any]) -> None:
    """Add keys and the guard's answers to every operation of the OpenAPI document that they concern."""
    schema["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    body = {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorBody"}}}
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            if scope_of(method.upper(), path) is None:
                continue
            operation["security"] = [{}, {"key": []}]  # a server may ask for none
            for status, text in _ANSWERS.items():
                operation["responses"].setdefault(status, {"description": text, "content": body})
