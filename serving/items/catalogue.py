"""`LiveCatalogue`: a bundle's items with the changes since, as an engine and a search over them.

Items keep their numbers: those of the bundle, then the live items by the time of their first row. A removed
item keeps its number and is visible to nobody. Every engine and search that was made stays as it is; only
the lexical index is one for all of them, and their masks of allowed items leave out what it has beyond.

Legend: N items, R changed items.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import polars as pl

from recsys.arrays import Ints
from recsys.bundle import Bundle, item_arrays
from recsys.columns import Columns
from recsys.ids import NUM_RESERVED, IdMap
from recsys.retrieval import ExtendedIndex, Recommender
from serving.engine import Engine
from serving.items.arrays import GrowingArray
from serving.items.change import Change
from serving.items.encoder import ItemEncoder
from serving.items.fields import field_columns, given_of, row_of
from serving.items.searching import LiveSearch
from serving.search import SearchEngine

_MAX_CHUNKS: Final = 64  # of the table, before it is copied to one


class LiveCatalogue:
    """The items of `engine` and their changes; one change at a time."""

    def __init__(self, engine: Engine, search: SearchEngine | None, encoder: ItemEncoder) -> None:
        self._base, self._encoder = engine, encoder
        self._search = None if search is None else LiveSearch(search, encoder)
        bundle = engine.bundle
        self._item_ids, self._num_base = bundle.item_ids, bundle.item_ids.size
        self._table = bundle.catalogue.with_columns(pl.lit(False).alias(Columns.REMOVED))
        self._arrays: dict[str, GrowingArray] = {}
        if engine.recommender is not None:
            given = ("item_vectors", "item_tokens", "token_mask")
            self._arrays = {name: GrowingArray(np.asarray(getattr(bundle, name))) for name in given}
        self._encoded: set[int] = set()  # items with vectors of their own, in place of or after the bundle's

    @property
    def of_bundle(self) -> IdMap:
        """The items of the bundle."""
        return self._base.bundle.item_ids

    def fields_of(self, item: str) -> dict[str, Any]:
        """The fields of an item in the form in which they are sent."""
        return given_of(self._table.row(self._place(item), named=True))

    def is_known(self, item: str) -> bool:
        """Whether the catalogue has the item now."""
        return item in self._item_ids and not self._table[Columns.REMOVED][self._place(item)]

    def changed(self, changes: Sequence[Change]) -> tuple[Engine, SearchEngine | None]:
        """An engine and a search after `changes`, each of another item."""
        kept = [each for each in changes if not each.is_removal or each.item in self._item_ids]
        new = [each.item for each in kept if each.item not in self._item_ids]
        if new:
            self._item_ids = self._item_ids.extended(new)
        rows = self._item_ids.encode(each.item for each in kept)
        order = np.argsort(rows)
        rows, kept = rows[order], [kept[at] for at in order]
        self._change_table(rows, kept)
        self._change_arrays(rows, kept)
        bundle = self._base.bundle.with_items(
            self._item_ids, self._table, {name: array.rows for name, array in self._arrays.items()}
        )
        engine = self._base.over(bundle, self._recommender(bundle))
        return engine, None if self._search is None else self._search.changed(engine, rows, kept)

    def _place(self, item: str) -> int:
        return self._item_ids.get(item) - NUM_RESERVED

    def _change_table(self, rows: Ints, changes: Sequence[Change]) -> None:
        schema = self._table.schema
        values = [row_of(each.item, each.fields, schema, has_picture=each.has_picture) for each in changes]
        place = rows - NUM_RESERVED
        for at, each in enumerate(changes):
            if place[at] < self._num_base - NUM_RESERVED:
                values[at] |= self._of_bundle(int(place[at]), each)
            values[at][Columns.REMOVED] = each.is_removal
        changed = pl.DataFrame(values, schema=schema, orient="row")
        old = self._table.height
        is_old = place < old
        table = pl.concat([self._table, changed.filter(pl.Series(~is_old))])
        if is_old.any():
            order = np.arange(table.height)
            order[place[is_old]] = table.height + np.arange(int(is_old.sum()))
            table = pl.concat([table, changed.filter(pl.Series(is_old))])[order]
        self._table = table.rechunk() if table.n_chunks() > _MAX_CHUNKS else table

    def _of_bundle(self, place: int, change: Change) -> dict[str, Any]:
        """What training knows of an item of the bundle; a removed one counts for nothing."""
        if change.is_removal:
            counts = {Columns.TRAINED: False, Columns.POPULARITY: 0, Columns.RECENT_POPULARITY: 0.0}
            former = self._table.row(place, named=True)
            return former | {name: value for name, value in counts.items() if name in former}
        if change.content is None:  # fields alone
            row = self._base.bundle.catalogue.row(place, named=True)
            return row | field_columns(change.fields, row)
        of_training = (Columns.TRAINED, Columns.POPULARITY, Columns.RECENT_POPULARITY)
        row = self._base.bundle.catalogue.row(place, named=True)
        return {name: row[name] for name in of_training if name in row}

    def _change_arrays(self, rows: Ints, changes: Sequence[Change]) -> None:
        if not self._arrays:
            return
        gone = np.array([each.is_removal for each in changes], np.bool_)
        contents = [None if each.is_removal else each.content for each in changes]
        present = np.flatnonzero([each is not None for each in contents])
        if len(present):
            table = self._table[rows[present] - NUM_RESERVED]
            given = [each for each in contents if each is not None]
            found = self._encoder.tower(rows[present], table, given)
            self._arrays["item_vectors"].put(rows[present], found.vectors)
            self._arrays["item_tokens"].put(rows[present], found.tokens)
            self._arrays["token_mask"].put(rows[present], found.token_mask)
            self._encoded.update(rows[present].tolist())
        if gone.any():
            mask = self._arrays["token_mask"]
            mask.put(rows[gone], np.zeros((int(gone.sum()), *mask.rows.shape[1:]), np.bool_))

    def _recommender(self, bundle: Bundle) -> Recommender | None:
        base = self._base.recommender
        if base is None:
            return None
        items = item_arrays(bundle)
        scanned = np.array(sorted(self._encoded), np.int64)
        size = len(items.vectors)
        index = ExtendedIndex(
            base.index, self._num_base, rows=scanned, vectors=items.vectors[scanned], num_items=size
        )
        cold_ranker = None if base.cold_ranker is None else base.cold_ranker.over(size)
        return base.over(items, index, cold_ranker)
