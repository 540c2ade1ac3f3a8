"""`LiveItems`: the catalogue of a bundle with the items that came, changed and went since.

A change is stored first. Then the rows that the state has since the last look, those of other servers too,
become part of a new view; a request that runs goes on with the view that it took.
"""

import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from features.queries import QueryLimits
from recsys.bundle import Device
from recsys.columns import Columns
from recsys.errors import RequestError
from recsys.modalities import Modality
from serving.engine import Engine
from serving.items.catalogue import LiveCatalogue
from serving.items.change import Change
from serving.items.content import Content
from serving.items.encoder import ItemEncoder
from serving.items.fields import ItemFields, ItemSchema
from serving.search import SearchEngine, query_encoder
from serving.state import LiveItem

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class View:
    """What answers a request: of one state of the catalogue."""

    engine: Engine
    search: SearchEngine | None


@dataclass(frozen=True, kw_only=True)
class ItemEntry:
    """An item as it was sent."""

    item: str
    fields: Mapping[str, Any]
    place: str = ""  # goes before the names of fields in errors, such as "items.3."


@dataclass(frozen=True, kw_only=True)
class Stored:
    """The outcome of a change of one item."""

    item: str
    was_known: bool  # whether the catalogue had the item before
    read: tuple[str, ...] = ()  # the fields that lists and searches are made of
    ignored: tuple[str, ...] = ()  # the fields that no encoder and no graph of the bundle reads


class LiveItems:
    """Changes of the catalogue of `engine`; `view` answers with all of them. Thread-safe."""

    def __init__(self, engine: Engine, search: SearchEngine | None, encoder: ItemEncoder) -> None:
        """The rows that the state of `engine` has are part of the first view; raises `StateError`."""
        self.schema = ItemSchema(engine.bundle.catalogue)
        self.view = View(engine=engine, search=search)
        self._encoder, self._rows = encoder, engine.state.live
        self._catalogue = LiveCatalogue(engine, search, encoder)
        self._version = 0
        self._changing = threading.Lock()
        self.refresh()

    @classmethod
    def of(cls, engine: Engine, search: SearchEngine | None, device: Device = "cpu") -> "LiveItems":
        """Live items by the encoders of the bundle, which a search shares."""
        bundle = engine.bundle
        encoders = query_encoder(bundle, QueryLimits(), device) if search is None else search.encoder
        return cls(engine, search, ItemEncoder(bundle, encoders.models, device))

    @property
    def can_encode(self) -> bool:
        """Whether the bundle has what new items are encoded by; items are removed without it."""
        return self._encoder.has_tower or self.view.engine.recommender is None

    def put(self, entries: Sequence[ItemEntry]) -> list[Stored]:
        """Store the items in place of former ones, all or none, and show them from the next request on.

        Raises `RequestError` for a field that does not fit the catalogue and for an item of which nothing
        can be read, `StateError` where nothing can be stored.
        """
        fields = [self.schema.read(each.fields, each.place) for each in entries]
        contents = self._encoder.content(fields)
        outcomes = [self._outcome(*each) for each in zip(entries, fields, contents, strict=True)]
        rows = [
            LiveItem(item=entry.item, fields=entry.fields, content=content.to_bytes())
            for entry, content in zip(entries, contents, strict=True)
        ]
        self._store(rows)
        return outcomes

    def delete(self, item: str) -> bool:
        """Remove an item from every answer; returns whether there was one. Raises `StateError`."""
        was_known = self._catalogue.is_known(item)
        if was_known:
            self._store([LiveItem(item=item, fields={}, is_deleted=True)])
        return was_known

    def refresh(self) -> None:
        """Take over what the state has since the last look; raises `StateError`."""
        with self._changing:
            self._take_over()

    def _store(self, rows: Sequence[LiveItem]) -> None:
        with self._changing:
            self._rows.put_items(rows)
            self._take_over()

    def _take_over(self) -> None:
        rows = list(self._rows.items(after=self._version))
        if not rows:
            return
        changes = [change for row in rows if (change := self._change(row)) is not None]
        engine, search = self._catalogue.changed(changes)
        self.view = View(engine=engine, search=search)
        self._version = max(row.version for row in rows)

    def _change(self, row: LiveItem) -> Change | None:
        """The row in the terms of this bundle; None, with a warning, where it cannot be read in them."""
        if row.is_deleted:
            return Change(item=row.item, given=None)
        # Another bundle, with other fields and other encoders, may have stored the item.
        known = {name: value for name, value in row.fields.items() if name in self.schema.names}
        try:
            fields = self.schema.read(known)
        except RequestError as error:
            log.warning("the live item %r is left out: %s; put it again", row.item, error)
            return None
        content = Content.of_bytes(row.content)
        if not self._encoder.is_current(content):
            (content,) = self._encoder.content([fields])
        return Change(item=row.item, given=row.fields, fields=fields, content=content)

    def _outcome(self, entry: ItemEntry, fields: ItemFields, content: Content) -> Stored:
        given = [name for name in (Columns.TITLE, Columns.TEXT) if getattr(fields, name) is not None]
        given += [*fields.categories, *fields.numbers]
        read = [name for name in given if self._is_read(name, content)]
        if not read:
            readable = ", ".join(name for name in self.schema.names if self._is_read(name, None)) or "nothing"
            message = f"has nothing that this bundle reads; it reads {readable}"
            raise RequestError(entry.place.removesuffix(".") or "body", message, dict(entry.fields))
        ignored = tuple(name for name in given if name not in read)
        was_known = self._catalogue.is_known(entry.item)
        return Stored(item=entry.item, was_known=was_known, read=tuple(read), ignored=ignored)

    def _is_read(self, name: str, content: Content | None) -> bool:
        """Whether the field reaches lists or searches; `content` None: whether it could."""
        if name in self.schema.numbers:
            return self._encoder.reads(Modality.NUMERIC)
        search = self.view.search
        if search is not None and search.searcher.scorer.words is not None:
            return name in (*self.schema.categories, Columns.TITLE, Columns.TEXT)
        is_encoded = content is None or name in self.schema.categories or name in content.vectors
        return is_encoded and self._encoder.reads(name)
