"""The grammar of filters: JSON to a tree of conditions. Every error names the place in the JSON.

    {"field": "price", "op": "<=", "value": 20}      a comparison
    {"and": [...]}   {"or": [...]}   {"not": ...}    of other filters
    {"genres": ["Comedy", "Drama"], "year": 1999}    short form: one of the values in every field

`OPS` has the operations. An item without a value in the field passes no comparison. `!=` and `not in` are the
opposites of `=` and `in`, as `not` is: an item without a value passes them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from recsys.errors import RequestError, did_you_mean

Filters = Mapping[str, Any]

IN, CONTAINS, EXISTS = "in", "contains", "exists"
OPS: Final = ("=", "!=", "<", "<=", ">", ">=", IN, "not in", CONTAINS, EXISTS)
MAX_DEPTH: Final = 16  # of filters within filters
MAX_COMPARISONS: Final = 1000
_COMPARISON_KEYS: Final = ("field", "op", "value")
_OPPOSITES: Final = {"!=": "=", "not in": IN}


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A field compared with values. `=` is `in` with one value."""

    field: str
    op: str  # <, <=, >, >=, in, contains or exists
    values: tuple[Any, ...]  # several for `in`
    field_place: str  # of the name, in the JSON
    op_place: str
    value_places: tuple[str, ...]


@dataclass(frozen=True)
class All:
    """Passed by an item that passes all parts."""

    parts: tuple["Condition", ...]


@dataclass(frozen=True)
class AnyOf:
    """Passed by an item that passes one of the parts."""

    parts: tuple["Condition", ...]


@dataclass(frozen=True)
class Not:
    """Passed by an item that does not pass the part."""

    part: "Condition"


Condition = Comparison | All | AnyOf | Not


def parse(filters: Filters, place: str = "filters") -> Condition:
    """The conditions of `filters`; nothing is demanded by an empty object.

    Raises `RequestError` for anything that is not of the grammar, filters more than `MAX_DEPTH` deep and more
    than `MAX_COMPARISONS` comparisons. Fields and values are not looked up.
    """
    condition = _condition(filters, place, 1)
    if (number := len(fields_of(condition))) > MAX_COMPARISONS:
        raise RequestError(place, f"has {number:,} comparisons; at most {MAX_COMPARISONS:,}")
    return condition


def fields_of(condition: Condition) -> list[str]:
    """The field of every comparison."""
    match condition:
        case Comparison():
            return [condition.field]
        case Not():
            return fields_of(condition.part)
        case All() | AnyOf():
            return [name for part in condition.parts for name in fields_of(part)]


def conjuncts(condition: Condition) -> tuple[Condition, ...]:
    """Conditions that all must hold, one by one, for `condition` to hold."""
    if isinstance(condition, All):
        return tuple(each for part in condition.parts for each in conjuncts(part))
    return (condition,)


def _condition(filters: Any, place: str, depth: int) -> Condition:
    if not isinstance(filters, Mapping):
        raise RequestError(place, 'must be an object, such as {"genres": ["Comedy"]}', filters)
    if depth > MAX_DEPTH:
        raise RequestError(place, f"is nested more than {MAX_DEPTH} deep")
    if {"field", "op"} <= filters.keys():
        return _comparison(filters, place)
    if len(filters) == 1:
        (key, value), *_ = filters.items()
        if key == "not" and isinstance(value, Mapping):
            return Not(_condition(value, f"{place}.not", depth + 1))
        if key in ("and", "or") and _holds_filters(value):
            parts = tuple(_condition(each, f"{place}.{key}.{at}", depth + 1) for at, each in enumerate(value))
            return All(parts) if key == "and" else AnyOf(parts)
    return All(tuple(_short(field, wanted, f"{place}.{field}") for field, wanted in filters.items()))


def _holds_filters(value: Any) -> bool:
    """Whether this is a list of filters. A list of texts is the short form of a field named "and" or "or"."""
    return (
        isinstance(value, list | tuple) and bool(value) and any(isinstance(each, Mapping) for each in value)
    )


def _short(field: str, wanted: Any, place: str) -> Condition:
    if isinstance(wanted, Mapping):
        raise RequestError(
            place,
            "must be a value or a list of values; a comparison is written as "
            '{"field": "price", "op": "<=", "value": 20}, and {"and": [...]}, {"or": [...]} and {"not": ...} '
            "stand alone in their object",
            dict(wanted),
        )
    values, places = _listed(wanted, place)
    return Comparison(
        field=field, op=IN, values=values, field_place=place, op_place=place, value_places=places
    )


def _comparison(filters: Mapping[str, Any], place: str) -> Condition:
    for key in filters:
        if key not in _COMPARISON_KEYS:
            raise RequestError(
                f"{place}.{key}", f"unknown; {did_you_mean(key, _COMPARISON_KEYS)}", filters[key]
            )
    field, op = filters["field"], filters["op"]
    if not isinstance(field, str):
        raise RequestError(f"{place}.field", "must be the name of a field", field)
    if not isinstance(op, str) or op not in (*OPS, "=="):
        raise RequestError(f"{place}.op", f"must be one of {' '.join(OPS)}", op)
    if "value" not in filters:
        raise RequestError(f"{place}.value", "is missing; add it")
    op = "=" if op == "==" else op
    plain = _OPPOSITES.get(op, op)
    value, value_place = filters["value"], f"{place}.value"
    if plain == IN:
        if not isinstance(value, list | tuple):
            raise RequestError(value_place, "must be a list of values", value)
        values, places = _listed(value, value_place)
    else:
        values, places = (_single(value, value_place),), (value_place,)
    found = Comparison(
        field=field,
        op=IN if plain == "=" else plain,
        values=values,
        field_place=f"{place}.field",
        op_place=f"{place}.op",
        value_places=places,
    )
    return Not(found) if op in _OPPOSITES else found


def _listed(wanted: Any, place: str) -> tuple[tuple[Any, ...], tuple[str, ...]]:
    """The values and their places."""
    if not isinstance(wanted, list | tuple):
        return (_single(wanted, place),), (place,)
    if not wanted:
        raise RequestError(place, "is empty; give at least one value", [])
    places = tuple(f"{place}.{at}" for at in range(len(wanted)))
    return tuple(_single(value, at) for value, at in zip(wanted, places, strict=True)), places


def _single(value: Any, place: str) -> Any:
    if value is None or (isinstance(value, Mapping | Sequence) and not isinstance(value, str)):
        raise RequestError(place, "must be a text, a number, true or false", value)
    return value
