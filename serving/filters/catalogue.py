"""Filters on the catalogue: the items that pass, and how many items have each value.

Legend: N items.
"""

from functools import cached_property
from typing import Final

import numpy as np
import polars as pl

from recsys.arrays import Bools, Ints
from recsys.columns import Columns
from recsys.errors import RequestError, did_you_mean
from recsys.ids import NUM_RESERVED
from serving.filters.fields import (
    CategoryField,
    Field,
    OrderedField,
    TextField,
    as_microseconds,
    as_number,
)
from serving.filters.grammar import (
    All,
    AnyOf,
    Comparison,
    Condition,
    Filters,
    Not,
    conjuncts,
    fields_of,
    parse,
)

ANNOTATIONS: Final = (Columns.REVIEWERS,)  # columns of the catalogue that are filtered like categories
TEXTS: Final = (Columns.ITEM, Columns.TITLE)


class CatalogueFilter:
    """Reads filters (`serving.filters.grammar`) against the table `catalogue`.

    A field is a category of the dataset ("genres" for the column "cat:genres") or one of `ANNOTATIONS`, a
    number ("year" for "num:year"), "created_at", "item_id" or "title". Of two with one name the category
    counts, then the number.
    """

    def __init__(self, catalogue: pl.DataFrame) -> None:
        self._catalogue = catalogue
        self._size = catalogue.height + NUM_RESERVED

    def mask(self, filters: Filters, visible: Bools | None = None, *, place: str = "filters") -> Bools:
        """Items that pass `filters`. Shape [N].

        Of the items `visible` [N], all by default. `place` is that of the filters in the request. Raises
        `RequestError` for filters that are not of the grammar, an unknown field, a value of another type than
        its field, and a category that no visible item has.
        """
        return self._real(self._passing(parse(filters, place), visible), visible)

    def category_values(self, name: str, *, place: str) -> tuple[Ints, Ints]:
        """The numbers of the values of the category `name`, of item i from starts[i] to starts[i + 1].

        Starts [N + 1] and values. Raises `RequestError` for an unknown category.
        """
        if name not in self._categories:
            raise RequestError(place, f"unknown category; {did_you_mean(name, self._categories)}", name)
        _, items, number = self._categories[name].flat
        starts = np.concatenate([[0], np.cumsum(np.bincount(items, minlength=self._size))])
        return starts, number[np.argsort(items, kind="stable")]

    def has_value(self, value: str, among: Bools) -> bool:
        """Whether an item of `among` [N] has this value in any category."""
        return any(field.has(value, among) for field in self._categories.values())

    def counts(
        self, among: Bools, filters: Filters, visible: Bools | None = None
    ) -> dict[str, list[tuple[str, int]]]:
        """Of every category the values and the numbers of items that have them, most frequent first.

        Counted are the items of `among` [N] that pass the conditions on all other fields: the count of a
        value is what one more wanted value of its field would add. A condition that names several fields
        always counts. Values without an item are left out. `among` has only items that may be seen. Raises
        `RequestError` as `mask`.
        """
        parts = conjuncts(parse(filters))
        masks = [(set(fields_of(part)), self._passing(part, visible)) for part in parts]
        found = {}
        for name, field in self._categories.items():
            keep = among.copy()
            for named, mask in masks:
                if named != {name}:
                    keep &= mask
            values, items, place = field.flat
            numbers = np.bincount(place[keep[items]], minlength=len(values))
            some = np.flatnonzero(numbers)
            counted = zip((values[at] for at in some), numbers[some].tolist(), strict=True)
            found[name] = sorted(counted, key=lambda each: (-each[1], each[0]))
        return found

    def _passing(self, condition: Condition, visible: Bools | None) -> Bools:
        match condition:
            case Comparison():
                return self._field(condition).passing(condition, visible)
            case Not():
                return ~self._passing(condition.part, visible)
            case All():
                keep = np.ones(self._size, np.bool_)
                for part in condition.parts:
                    keep &= self._passing(part, visible)
                return keep
            case AnyOf():
                keep = np.zeros(self._size, np.bool_)
                for part in condition.parts:
                    keep |= self._passing(part, visible)
                return keep

    def _real(self, keep: Bools, visible: Bools | None) -> Bools:
        keep[:NUM_RESERVED] = False
        return keep if visible is None else keep & visible

    def _field(self, asked: Comparison) -> Field:
        if (field := self._fields.get(asked.field)) is None:
            raise RequestError(
                asked.field_place,
                f"unknown field; {did_you_mean(asked.field, self._fields)}",
                list(asked.values),
            )
        return field

    @cached_property
    def _categories(self) -> dict[str, CategoryField]:
        columns = {name: name for name in ANNOTATIONS if name in self._catalogue.columns}
        columns |= self._named(Columns.CATEGORY_PREFIX)
        return {name: CategoryField(self._catalogue[column]) for name, column in columns.items()}

    @cached_property
    def _fields(self) -> dict[str, Field]:
        columns = set(self._catalogue.columns)
        fields: dict[str, Field] = {
            name: TextField(self._catalogue[name]) for name in TEXTS if name in columns
        }
        if Columns.CREATED_AT in columns:
            times = self._catalogue[Columns.CREATED_AT]
            fields[Columns.CREATED_AT] = OrderedField(times, as_microseconds, "a time")
        for name, column in self._named(Columns.NUMERIC_PREFIX).items():
            fields[name] = OrderedField(self._catalogue[column], as_number, "a number")
        return fields | self._categories

    def _named(self, prefix: str) -> dict[str, str]:
        """Names of the fields whose columns begin with `prefix`, and the columns."""
        return {
            column.removeprefix(prefix): column
            for column in self._catalogue.columns
            if column.startswith(prefix)
        }
