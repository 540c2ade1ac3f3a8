"""The fields of a live item, read against the columns of the bundle's catalogue."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import quote

import polars as pl

from recsys.columns import Columns
from recsys.errors import RequestError, clipped, did_you_mean
from serving.filters import as_microseconds

MAX_CHARACTERS: Final = 100_000  # of a text
MAX_VALUES: Final = 100  # of a category field
_TEXTS: Final = (Columns.TITLE, Columns.TEXT)


@dataclass(frozen=True, kw_only=True)
class ItemFields:
    """What is known of an item beside its media; every part may be missing."""

    title: str | None = None
    text: str | None = None
    categories: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    numbers: Mapping[str, float] = field(default_factory=dict)
    created_at: int | None = None  # microseconds since the epoch
    owner: str | None = None  # the user who alone may see it


class ItemSchema:
    """The fields that an item of this catalogue can have."""

    def __init__(self, catalogue: pl.DataFrame) -> None:
        columns = catalogue.columns
        self.categories = _names(columns, Columns.CATEGORY_PREFIX)
        # Of a category and a number with one name the category counts, as in filters.
        self.numbers = tuple(
            each for each in _names(columns, Columns.NUMERIC_PREFIX) if each not in self.categories
        )
        others = tuple(name for name in (Columns.CREATED_AT, Columns.OWNER) if name in columns)
        self.names: tuple[str, ...] = tuple(
            dict.fromkeys((*_TEXTS, *self.categories, *self.numbers, *others))
        )

    def read(self, given: Mapping[str, Any], place: str = "") -> ItemFields:
        """The fields of a JSON object; null is a field without a value.

        `place` goes before the name of a field in errors. Raises `RequestError` for an unknown field and a
        value of another type.
        """
        kept = {name: value for name, value in given.items() if value is not None}
        for name in given:
            if name not in self.names:
                raise RequestError(f"{place}{name}", f"unknown field; {did_you_mean(name, self.names)}")
        created_at, owner = kept.get(Columns.CREATED_AT), kept.get(Columns.OWNER)
        return ItemFields(
            title=_title(kept.get(Columns.TITLE), f"{place}{Columns.TITLE}"),
            text=_joined(kept.get(Columns.TEXT), f"{place}{Columns.TEXT}"),
            categories={
                name: _values(kept[name], f"{place}{name}") for name in self.categories if name in kept
            },
            numbers={name: _number(kept[name], f"{place}{name}") for name in self.numbers if name in kept},
            created_at=None if created_at is None else as_microseconds(created_at, f"{place}created_at"),
            owner=None if owner is None else _text(owner, f"{place}owner"),
        )


def row_of(
    item: str, fields: ItemFields, schema: Mapping[str, Any], *, has_picture: bool = False
) -> dict[str, Any]:
    """The row of an item in a catalogue with the columns of `schema`; without training events."""
    row: dict[str, Any] = dict.fromkeys(schema) | field_columns(fields, schema)
    known: dict[str, Any] = {
        Columns.ITEM: item,
        Columns.IMAGE: f"/v1/items/{quote(item, safe='')}/image" if has_picture else None,
        Columns.POPULARITY: 0,
        Columns.RECENT_POPULARITY: 0.0,
        Columns.TRAINED: False,
        Columns.REMOVED: False,
        Columns.IMPUTED: [],
    }
    return row | {name: value for name, value in known.items() if name in schema}


def field_columns(fields: ItemFields, schema: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of a catalogue, with those of `schema`, that the fields of an item fill."""
    row: dict[str, Any] = {}
    for name in schema:
        if name.startswith(Columns.CATEGORY_PREFIX):
            row[name] = list(fields.categories.get(name.removeprefix(Columns.CATEGORY_PREFIX), ()))
        elif name.startswith(Columns.NUMERIC_PREFIX):
            row[name] = fields.numbers.get(name.removeprefix(Columns.NUMERIC_PREFIX))
    known: dict[str, Any] = {
        Columns.TITLE: fields.title,
        Columns.CREATED_AT: fields.created_at,
        Columns.OWNER: fields.owner,
    }
    return row | {name: value for name, value in known.items() if name in schema}


def given_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a row of a catalogue as `ItemSchema.read` takes them, without missing values."""
    given: dict[str, Any] = {Columns.TITLE: row[Columns.TITLE]}
    for name, value in row.items():
        if name.startswith(Columns.NUMERIC_PREFIX):
            is_known = value is not None and abs(value) < float("inf")
            given[name.removeprefix(Columns.NUMERIC_PREFIX)] = value if is_known else None
    for name, value in row.items():  # of a category and a number with one name the category counts
        if name.startswith(Columns.CATEGORY_PREFIX):
            given[name.removeprefix(Columns.CATEGORY_PREFIX)] = list(value or ()) or None
    if (created_at := row.get(Columns.CREATED_AT)) is not None:
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=created_at)
        given[Columns.CREATED_AT] = moment.isoformat()
    given[Columns.OWNER] = row.get(Columns.OWNER)
    return {name: value for name, value in given.items() if value is not None}


def _names(columns: list[str], prefix: str) -> tuple[str, ...]:
    return tuple(name.removeprefix(prefix) for name in columns if name.startswith(prefix))


def _text(value: Any, place: str) -> str:
    if not isinstance(value, str):
        raise RequestError(place, "must be a text; write it in quotes", value)
    try:
        value.encode()
    except UnicodeEncodeError:
        raise RequestError(place, "is not valid Unicode: it has half of a surrogate pair") from None
    if "\0" in value:
        raise RequestError(place, "has a NUL character; remove it", clipped(value))
    if len(value) > MAX_CHARACTERS:
        raise RequestError(place, f"has {len(value):,} characters; at most {MAX_CHARACTERS:,}")
    return value


def _title(value: Any, place: str) -> str | None:
    return None if value is None else _text(value, place) or None


def _joined(value: Any, place: str) -> str | None:
    """Several texts are joined by a blank line, as those of a dataset are."""
    if value is None:
        return None
    if isinstance(value, list):
        parts = [_text(each, f"{place}.{at}") for at, each in enumerate(value)]
        return _text("\n\n".join(each for each in parts if each.strip()), place) or None
    return _text(value, place) or None


def _values(value: Any, place: str) -> tuple[str, ...]:
    if isinstance(value, str):
        return (_text(value, place),) if value else ()
    if not isinstance(value, list):
        raise RequestError(place, "must be a text or a list of texts", value)
    if len(value) > MAX_VALUES:
        raise RequestError(place, f"has {len(value)} values; at most {MAX_VALUES}")
    return tuple(_text(each, f"{place}.{at}") for at, each in enumerate(value))


def _number(value: Any, place: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise RequestError(place, "must be a number", value)
    try:
        number = float(value)
    except OverflowError:
        number = float("inf")
    if not abs(number) < float("inf"):
        raise RequestError(place, "must be a finite number", str(value)[:40])
    return number
