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
from serving.engine import Engine
from serving.items.catalogue import LiveCatalogue
from serving.items.change import Change
from serving.items.content import Content
from serving.items.encoder import ItemEncoder
from serving.items.fields import ItemSchema
from serving.items.media import IMAGE, MEDIA, MediaEncoder
from serving.items.reading import ItemEntry, ItemReader, Prepared, Stored
from serving.search import SearchEngine, query_encoder
from serving.state import LiveItem

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class View:
    """What answers a request: of one state of the catalogue."""

    engine: Engine
    search: SearchEngine | None


class LiveItems:
    """Changes of the catalogue of `engine`; `view` answers with all of them. Thread-safe."""

    def __init__(
        self, engine: Engine, search: SearchEngine | None, reader: ItemReader, encoder: ItemEncoder
    ) -> None:
        """The rows that the state of `engine` has are part of the first view; raises `StateError`."""
        self.view = View(engine=engine, search=search)
        self._reader, self._encoder, self._rows = reader, encoder, engine.state.live
        self._catalogue = LiveCatalogue(engine, search, encoder)
        self._current: dict[str, Change] = {}  # the live items that are not removed
        self._version = 0
        self._changing = threading.Lock()
        self.refresh()

    @classmethod
    def of(cls, engine: Engine, search: SearchEngine | None, device: Device = "cpu") -> "LiveItems":
        """Live items by the encoders of the bundle, which a search shares."""
        bundle = engine.bundle
        queries = query_encoder(bundle, QueryLimits(), device) if search is None else search.encoder
        encoder = ItemEncoder(bundle, queries.models, device)
        seconds = bundle.manifest.config.get("encoders", {}).get("video_sound_seconds")
        has_words = search is not None and search.searcher.scorer.words is not None
        reader = ItemReader(
            ItemSchema(bundle.catalogue),
            encoder,
            MediaEncoder(queries.models, queries.limits, seconds),
            has_words=has_words,
        )
        return cls(engine, search, reader, encoder)

    @property
    def can_encode(self) -> bool:
        """Whether the bundle has what new items are encoded by; items are removed without it."""
        return self._encoder.has_tower or self.view.engine.recommender is None

    def put(self, entries: Sequence[ItemEntry]) -> list[Stored]:
        """Store the items in place of former ones, all or none, and show them from the next request on.

        Raises `RequestError` for a field or file that does not fit and for an item of which nothing can be
        read, `StateError` where nothing can be stored.
        """
        outcomes = self.change(entries, is_atomic=True)
        for each in outcomes:
            if isinstance(each, RequestError):
                raise each
        return [each for each in outcomes if isinstance(each, Stored)]

    def change(self, entries: Sequence[ItemEntry], *, is_atomic: bool) -> list[Stored | RequestError]:
        """Put and remove items of different ids: what was stored of each, or what is wrong with it.

        With `is_atomic` nothing is stored where anything is wrong. Raises `StateError`.
        """
        read = self.check(entries)
        prepared = [each for each in read if isinstance(each, Prepared)]
        if len(prepared) == len(read) or not is_atomic:
            # A removal of what nobody has needs no row.
            rows = [each for each in prepared if not each.stored.is_removal or each.stored.was_known]
            with self._changing:
                media = {each.row.item: each.media for each in rows}
                self._store([each.row for each in rows], media)
        return [each.stored if isinstance(each, Prepared) else each for each in read]

    def check(self, entries: Sequence[ItemEntry]) -> list[Prepared | RequestError]:
        """What would be stored of each of the entries, or what is wrong with it."""
        return self._reader.read(entries, self._catalogue.is_known)

    def delete(self, item: str) -> bool:
        """Remove an item from every answer; returns whether there was one. Raises `StateError`."""
        (stored,) = self.put([ItemEntry(item=item, fields={}, is_removal=True)])
        return stored.was_known

    def patch(self, item: str, changes: Mapping[str, Any]) -> Stored | None:
        """Change fields of an item without encoding anything; None where there is no such item.

        Null takes a value away. Raises `RequestError` for the text, which encoders read, and for a field that
        does not fit, `StateError`.
        """
        if Columns.TEXT in changes:
            message = "is read by the encoders; send the whole item by PUT"
            raise RequestError(Columns.TEXT, message, changes[Columns.TEXT])
        with self._changing:
            self._take_over()
            if not self._catalogue.is_known(item):
                return None
            current = self._current.get(item)
            former = current.given if current is not None else self._catalogue.fields_of(item)
            assert former is not None, "a removed item is not current"
            fields = {name: value for name, value in {**former, **changes}.items() if value is not None}
            self._reader.schema.read(changes)
            own = None if current is None else current.content
            row = LiveItem(item=item, fields=fields, content=b"" if own is None else own.to_bytes())
            self._store([row], None)
        # The item tower reads the categories and numbers of an item whose vectors are at hand.
        is_stale = self._reader.is_read
        stale = [name for name in changes if is_stale(name) and (name == Columns.TITLE or own is None)]
        return Stored(item=item, was_known=True, stale=tuple(stale))

    @property
    def has_pictures(self) -> bool:
        """Whether any live item came with a picture."""
        return any(
            each.content is not None and IMAGE in each.content.vectors for each in self._current.values()
        )

    def picture(self, item: str) -> tuple[bytes | None, int] | None:
        """The picture that came with a live item, and the version of the item; None for one of the bundle."""
        current = self._current.get(item)
        if current is None or current.content is None:
            return None
        return self._rows.item_medium(item, IMAGE), current.version

    def refresh(self) -> None:
        """Take over what the state has since the last look; raises `StateError`."""
        with self._changing:
            self._take_over()

    def _store(self, rows: Sequence[LiveItem], media: Mapping[str, Mapping[str, bytes]] | None) -> None:
        self._rows.put_items(rows, media)
        self._take_over()

    def _take_over(self) -> None:
        rows = list(self._rows.items(after=self._version))
        if not rows:
            return
        changes = [change for row in rows if (change := self._change(row)) is not None]
        engine, search = self._catalogue.changed(changes)
        self.view = View(engine=engine, search=search)
        for each in changes:
            self._current.pop(each.item, None)
        self._current |= {each.item: each for each in changes if not each.is_removal}
        self._version = max(row.version for row in rows)

    def _change(self, row: LiveItem) -> Change | None:
        """The row in the terms of this bundle; None, with a warning, where it cannot be read in them."""
        if row.is_deleted:
            return Change(item=row.item, given=None, version=row.version)
        # Another bundle, with other fields and other encoders, may have stored the item.
        schema = self._reader.schema
        known = {name: value for name, value in row.fields.items() if name in schema.names}
        try:
            fields = schema.read(known)
        except RequestError as error:
            log.warning("the live item %r is left out: %s; put it again", row.item, error)
            return None
        content = Content.of_bytes(row.content) if row.content else None
        if content is None and row.item in self._catalogue.of_bundle:
            return Change(item=row.item, given=row.fields, fields=fields, content=None, version=row.version)
        if content is None or not self._encoder.is_current(content):
            files = {name: self._rows.item_medium(row.item, name) for name in MEDIA}
            content = self._reader.content(
                fields, {name: file for name, file in files.items() if file is not None}
            )
        return Change(item=row.item, given=row.fields, fields=fields, content=content, version=row.version)
