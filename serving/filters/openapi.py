"""The filters of a request, as OpenAPI describes them; `serving.filters.grammar` reads them."""

from typing import Annotated, Any, Final

from pydantic import Field, WithJsonSchema

from serving.filters.grammar import OPS

DESCRIPTION: Final = (
    "Conditions on the items: on categories, `reviewers`, numbers, `created_at`, `title` and `item_id`. "
    'Short form: every field with its wanted values, `{"genres": ["Comedy", "Drama"], "year": 1999}`; an '
    "item needs one of the values in every field named. Comparisons: "
    '`{"field": "price", "op": "<=", "value": 20}`, combined by `{"and": [...]}`, `{"or": [...]}` and '
    '`{"not": ...}`. Times are in ISO 8601.'
)
EXAMPLES: Final[list[dict[str, Any]]] = [
    {"genres": ["Comedy", "Drama"]},
    {"and": [{"genres": ["Comedy"]}, {"not": {"field": "year", "op": "<", "value": 1990}}]},
]
_VALUE: Final = {"type": ["string", "number", "boolean"]}
_FILTER: Final = {"type": "object"}
_SCHEMA: Final[dict[str, Any]] = {
    "anyOf": [
        {
            "type": "object",
            "required": ["field", "op", "value"],
            "properties": {
                "field": {"type": "string"},
                "op": {"enum": list(OPS)},
                "value": {"anyOf": [_VALUE, {"type": "array", "items": _VALUE, "minItems": 1}]},
            },
            "additionalProperties": False,
        },
        *(
            {
                "type": "object",
                "required": [name],
                "properties": {name: {"type": "array", "items": _FILTER, "minItems": 1}},
                "additionalProperties": False,
            }
            for name in ("and", "or")
        ),
        {
            "type": "object",
            "required": ["not"],
            "properties": {"not": _FILTER},
            "additionalProperties": False,
        },
        {
            "type": "object",
            "additionalProperties": {"anyOf": [_VALUE, {"type": "array", "items": _VALUE, "minItems": 1}]},
        },
    ]
}
FilterBody = Annotated[
    dict[str, Any], Field(description=DESCRIPTION, examples=EXAMPLES), WithJsonSchema(_SCHEMA)
]
