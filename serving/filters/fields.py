"""The fields of a catalogue that filters compare: categories, numbers, a time, texts.

Legend: N items.
"""

import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Final, Protocol

import numpy as np
import polars as pl

from recsys.arrays import Bools, Ints
from recsys.errors import RequestError, did_you_mean
from recsys.ids import NUM_RESERVED
from serving.filters.grammar import CONTAINS, EXISTS, IN, Comparison

_ORDERED: Final[Mapping[str, Callable[..., Bools]]] = {
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
}


class Field(Protocol):
    """One field of the catalogue."""

    def passing(self, asked: Comparison, visible: Bools | None) -> Bools:
        """The items that pass `asked`. Shape [N].

        Raises `RequestError` for an operation that the field does not have and a value of another type.
        """
        ...


class CategoryField:
    """A text, or a list of texts, of each item. A comparison holds where it holds for one of them."""

    def __init__(self, values: pl.Series) -> None:
        self._size = len(values) + NUM_RESERVED
        numbered = pl.DataFrame({"value": values}).with_row_index("id", offset=NUM_RESERVED)
        if isinstance(values.dtype, pl.List):
            numbered = numbered.explode("value")
        grouped = numbered.drop_nulls().unique().sort("id").group_by("value", maintain_order=True).agg("id")
        self.items_of: dict[str, Ints] = {
            value: np.asarray(ids, np.int64) for value, ids in grouped.select("value", "id").iter_rows()
        }

    @cached_property
    def flat(self) -> tuple[list[str], Ints, Ints]:
        """The values, the ids of their items one value after the other, and the value's number for each."""
        lengths = [len(ids) for ids in self.items_of.values()]
        return (
            list(self.items_of),
            np.concatenate([np.zeros(0, np.int64), *self.items_of.values()]),
            np.repeat(np.arange(len(lengths)), lengths),
        )

    def passing(self, asked: Comparison, visible: Bools | None) -> Bools:
        """As `Field.passing`. A value that no visible item has is an error for `in`."""
        mask = np.zeros(self._size, np.bool_)
        if asked.op == EXISTS:
            mask[self.flat[1]] = True
            return _wanted(mask, asked)
        _check_op(asked, (IN, CONTAINS), "a category")
        texts = [_text(value, place) for value, place in zip(asked.values, asked.value_places, strict=True)]
        if asked.op == CONTAINS:
            lowered = texts[0].lower()
            found = [ids for value, ids in self.items_of.items() if lowered in value.lower()]
            mask[np.concatenate([np.zeros(0, np.int64), *found])] = True
            return mask
        for value, place in zip(texts, asked.value_places, strict=True):
            if value not in self.items_of or not _any_of(visible, self.items_of[value]):
                known = [each for each, ids in self.items_of.items() if _any_of(visible, ids)]
                hint = did_you_mean(value, known) if known else "no item has any value"
                raise RequestError(place, f"no item has this value; {hint}", value)
            mask[self.items_of[value]] = True
        return mask

    def has(self, value: str, among: Bools) -> bool:
        """Whether an item of `among` [N] has this value."""
        return value in self.items_of and _any_of(among, self.items_of[value])


class OrderedField:
    """A number of each item, which `read` makes of a value of a filter; NaN is missing."""

    def __init__(self, values: pl.Series, read: Callable[[Any, str], float | int], kind: str) -> None:
        self._present = np.zeros(len(values) + NUM_RESERVED, np.bool_)
        self._present[NUM_RESERVED:] = values.is_not_null().to_numpy()
        filled = values.fill_null(0).to_numpy()
        if np.issubdtype(filled.dtype, np.floating):
            self._present[NUM_RESERVED:] &= ~np.isnan(filled)
        self._values_N = np.concatenate([np.zeros(NUM_RESERVED, filled.dtype), filled])
        self._read, self._kind = read, kind

    def passing(self, asked: Comparison, visible: Bools | None) -> Bools:
        """As `Field.passing`."""
        if asked.op == EXISTS:
            return _wanted(self._present, asked)
        _check_op(asked, (IN, *_ORDERED), self._kind)
        values = [self._read(*each) for each in zip(asked.values, asked.value_places, strict=True)]
        if asked.op == IN:
            return self._present & np.isin(self._values_N, values)
        return self._present & _ORDERED[asked.op](self._values_N, values[0])


class TextField:
    """A text of each item: equal, or with a part, in any case of letters."""

    def __init__(self, values: pl.Series) -> None:
        self._values = values

    def passing(self, asked: Comparison, visible: Bools | None) -> Bools:
        """As `Field.passing`. A text that no item has is no error."""
        mask = np.zeros(len(self._values) + NUM_RESERVED, np.bool_)
        if asked.op == EXISTS:
            mask[NUM_RESERVED:] = self._values.is_not_null().to_numpy()
            return _wanted(mask, asked)
        _check_op(asked, (IN, CONTAINS), "a text")
        texts = [_text(value, place) for value, place in zip(asked.values, asked.value_places, strict=True)]
        if asked.op == IN:
            found = self._values.is_in(texts)
        else:
            found = self._values.str.to_lowercase().str.contains(texts[0].lower(), literal=True)
        mask[NUM_RESERVED:] = found.fill_null(False).to_numpy()
        return mask


def as_number(value: Any, place: str) -> float:
    """A finite number, or a text that is one; raises `RequestError`."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            raise RequestError(place, "must be a number", value) from None
    if isinstance(value, bool) or not isinstance(value, int | float) or not _is_finite(value):
        raise RequestError(place, "must be a number", value)
    return float(value)


def as_microseconds(value: Any, place: str) -> int:
    """A date or a time in ISO 8601, of UTC where it names no zone, as microseconds since the epoch."""
    wanted = 'must be a date or a time, such as "2024-01-31" or "2024-01-31T18:00:00Z"'
    if not isinstance(value, str):
        raise RequestError(place, wanted, value)
    try:
        time = datetime.fromisoformat(value.strip())
    except ValueError:
        raise RequestError(place, wanted, value) from None
    elapsed = (time if time.tzinfo else time.replace(tzinfo=UTC)) - datetime(1970, 1, 1, tzinfo=UTC)
    return (elapsed.days * 86_400 + elapsed.seconds) * 1_000_000 + elapsed.microseconds


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond the largest float
        return False


def _text(value: Any, place: str) -> str:
    if not isinstance(value, str):
        raise RequestError(place, "must be a text; write it in quotes", value)
    return value


def _check_op(asked: Comparison, known: tuple[str, ...], kind: str) -> None:
    if asked.op not in known:
        listed = " ".join(["=", "!=", IN, "not in", *(op for op in known if op != IN), EXISTS])
        raise RequestError(asked.op_place, f"{asked.field} is {kind}, which has only {listed}", asked.op)


def _wanted(present: Bools, asked: Comparison) -> Bools:
    """The items with a value where the value of `exists` is true, else those without."""
    if not isinstance(asked.values[0], bool):
        raise RequestError(asked.value_places[0], "must be true or false", asked.values[0])
    return present.copy() if asked.values[0] else ~present


def _any_of(among: Bools | None, ids: Ints) -> bool:
    """Whether any of `ids` is in the mask `among`; None is all items."""
    return among is None or bool(among[ids].any())
