"""Filters on the catalogue: the fields that can be filtered, and the items with a wanted value."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Final

import numpy as np
import polars as pl

from recsys.arrays import Bools, Ints
from recsys.columns import Columns
from recsys.errors import RequestError, did_you_mean
from recsys.ids import NUM_RESERVED

ANNOTATIONS: Final = (Columns.REVIEWERS,)  # columns of the catalogue that are filtered like categories


class CatalogueFilter:
    """Reads filters of the form `{field: wanted values}` against the table `catalogue`.

    A field is a category of the dataset ("genres" for the column "cat:genres") or one of `ANNOTATIONS`; its
    column holds strings or lists of strings. A category with the name of an annotation hides the annotation.
    """

    def __init__(self, catalogue: pl.DataFrame) -> None:
        self._catalogue = catalogue
        self._size = catalogue.height + NUM_RESERVED

    def mask(self, filters: Mapping[str, Sequence[str]], visible: Bools | None = None) -> Bools:
        """Items with one of the wanted values in every field of `filters`. Shape [N].

        Of the items `visible` [N], all by default. Raises `RequestError` for an unknown field, for a value
        that no visible item has, and for an empty list of values.
        """
        keep = np.ones(self._size, np.bool_) if visible is None else visible.copy()
        keep[:NUM_RESERVED] = False
        for field, values in filters.items():
            keep &= self._with_value(field, values, visible)
        return keep

    def has_value(self, value: str, among: Bools) -> bool:
        """Whether an item of `among` [N] has this value in any field."""
        return any(_any_of(among, by_value[value]) for by_value in self._fields.values() if value in by_value)

    def counts(
        self, among: Bools, filters: Mapping[str, Sequence[str]], visible: Bools | None = None
    ) -> dict[str, list[tuple[str, int]]]:
        """Of every field the values and the numbers of items that have them, most frequent first.

        Counted are the items of `among` [N] that pass the filters of all other fields: the count of a value
        is what one more wanted value of its field would add. Values without an item are left out. `among`
        has only items that may be seen. Raises `RequestError` as `mask`.
        """
        masks = {field: self.mask({field: values}, visible) for field, values in filters.items()}
        found = {}
        for field in self._fields:
            keep = among.copy()
            for other, mask in masks.items():
                if other != field:
                    keep &= mask
            values, items, place = self._flat[field]
            numbers = np.bincount(place[keep[items]], minlength=len(values))
            some = np.flatnonzero(numbers)
            counted = zip((values[at] for at in some), numbers[some].tolist(), strict=True)
            found[field] = sorted(counted, key=lambda each: (-each[1], each[0]))
        return found

    def _with_value(self, field: str, values: Sequence[str], visible: Bools | None) -> Bools:
        if field not in self._fields:
            hint = did_you_mean(field, self._fields) if self._fields else "the catalogue has none"
            raise RequestError(f"filters.{field}", f"unknown category field; {hint}", list(values))
        if not values:
            raise RequestError(f"filters.{field}", "is empty; give at least one value", [])
        by_value = self._fields[field]
        for at, value in enumerate(values):
            if value not in by_value or not _any_of(visible, by_value[value]):
                known = [each for each, ids in by_value.items() if _any_of(visible, ids)]
                hint = did_you_mean(value, known) if known else "no item has any value"
                raise RequestError(f"filters.{field}.{at}", f"no item has this value; {hint}", value)
        mask = np.zeros(self._size, np.bool_)
        mask[np.concatenate([by_value[value] for value in values])] = True
        return mask

    @cached_property
    def _fields(self) -> dict[str, dict[str, Ints]]:
        """Field -> value -> ids of the items that have it."""
        columns = {name: name for name in ANNOTATIONS if name in self._catalogue.columns}
        for name in self._catalogue.columns:
            if name.startswith(Columns.CATEGORY_PREFIX):
                columns[name.removeprefix(Columns.CATEGORY_PREFIX)] = name
        return {field: self._by_value(column) for field, column in columns.items()}

    @cached_property
    def _flat(self) -> dict[str, tuple[list[str], Ints, Ints]]:
        """Field -> its values, the ids of their items one value after the other, and the value of each."""
        return {
            field: (
                list(by_value),
                np.concatenate([np.zeros(0, np.int64), *by_value.values()]),
                np.repeat(np.arange(len(by_value)), [len(ids) for ids in by_value.values()]),
            )
            for field, by_value in self._fields.items()
        }

    def _by_value(self, column: str) -> dict[str, Ints]:
        numbered = self._catalogue.with_row_index("id", offset=NUM_RESERVED)
        values = numbered.select("id", pl.col(column).alias("value"))
        if isinstance(values.schema["value"], pl.List):
            values = values.explode("value")
        grouped = values.drop_nulls().unique().sort("id").group_by("value", maintain_order=True).agg("id")
        return {value: np.asarray(ids, np.int64) for value, ids in grouped.iter_rows()}


def _any_of(among: Bools | None, ids: Ints) -> bool:
    """Whether any of `ids` is in the mask `among`; None is all items."""
    return among is None or bool(among[ids].any())
