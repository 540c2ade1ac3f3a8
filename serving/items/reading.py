"""`ItemReader`: items as they were sent to rows of the state, with what is told of each."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from recsys.columns import Columns
from recsys.errors import RequestError
from recsys.modalities import Modality
from serving.items.content import Content
from serving.items.encoder import ItemEncoder
from serving.items.fields import ItemFields, ItemSchema
from serving.items.media import MEDIA, VIDEO, MediaEncoder
from serving.state import LiveItem

# The modalities that a file gives.
_OF_VIDEO = (Modality.VIDEO, Modality.VIDEO_AUDIO, Modality.VIDEO_SPEECH)


@dataclass(frozen=True, kw_only=True)
class ItemEntry:
    """An item as it was sent."""

    item: str
    fields: Mapping[str, Any]
    media: Mapping[str, bytes] = field(default_factory=dict)  # files by name, of `MEDIA`
    is_removal: bool = False
    place: str = ""  # goes before the names of fields in errors, such as "items.3."


@dataclass(frozen=True, kw_only=True)
class Stored:
    """The outcome of a change of one item."""

    item: str
    was_known: bool  # whether the catalogue had the item before
    is_removal: bool = False
    read: tuple[str, ...] = ()  # what lists and searches are made of
    ignored: tuple[str, ...] = ()  # what no encoder and no graph of the bundle reads
    stale: tuple[str, ...] = ()  # changed for showing and filtering; lists still read the former value


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A row that is ready to be stored."""

    row: LiveItem
    media: Mapping[str, bytes]
    stored: Stored


class ItemReader:
    """Reads items in the terms of one bundle; safe to use from many threads."""

    def __init__(
        self, schema: ItemSchema, encoder: ItemEncoder, media: MediaEncoder, *, has_words: bool
    ) -> None:
        """`has_words`: whether the bundle has a lexical index."""
        self.schema, self._encoder, self._media, self._has_words = schema, encoder, media, has_words

    def read(
        self, entries: Sequence[ItemEntry], is_known: Callable[[str], bool]
    ) -> list[Prepared | RequestError]:
        """A row for each of `entries`, or what is wrong with it."""
        found: list[Prepared | RequestError] = []
        fields: dict[int, ItemFields] = {}
        contents: dict[int, Content] = {}
        for at, entry in enumerate(entries):
            try:
                if not entry.is_removal:
                    fields[at] = self.schema.read(entry.fields, entry.place)
                    contents[at] = self._media.content(entry.media, entry.place)
            except RequestError as error:
                found.append(error)
                fields.pop(at, None)
                continue
            found.append(_removal(entry, is_known(entry.item)))
        texts = self._encoder.content(list(fields.values()))
        for (at, each), of_texts in zip(fields.items(), texts, strict=True):
            try:
                content = of_texts.joined(contents[at])
                found[at] = self._prepared(entries[at], each, content, is_known(entries[at].item))
            except RequestError as error:
                found[at] = error
        return found

    def content(self, fields: ItemFields, files: Mapping[str, bytes]) -> Content:
        """The vectors of an item by the present encoders; files that cannot be read any more are left out."""
        (content,) = self._encoder.content([fields])
        try:
            return content.joined(self._media.content(files))
        except RequestError:
            return content

    def is_read(self, name: str) -> bool:
        """Whether lists are made of the field, through an encoder or the item tower."""
        return self._encoder.reads(Modality.NUMERIC if name in self.schema.numbers else name)

    def _prepared(self, entry: ItemEntry, fields: ItemFields, content: Content, was_known: bool) -> Prepared:
        given = [name for name in (Columns.TITLE, Columns.TEXT) if getattr(fields, name) is not None]
        given += [*fields.categories, *fields.numbers, *entry.media]
        read = [name for name in given if self._reaches(name, content)]
        if not read:
            readable = ", ".join(name for name in (*self.schema.names, *MEDIA) if self._could_reach(name))
            message = f"has nothing that this bundle reads; it reads {readable or 'nothing'}"
            raise RequestError(entry.place.removesuffix(".") or "body", message, dict(entry.fields))
        ignored = tuple(name for name in given if name not in read)
        return Prepared(
            row=LiveItem(item=entry.item, fields=dict(entry.fields), content=content.to_bytes()),
            media=entry.media,
            stored=Stored(item=entry.item, was_known=was_known, read=tuple(read), ignored=ignored),
        )

    def _reaches(self, name: str, content: Content) -> bool:
        """Whether lists or searches are made of the field or file, given the vectors of it."""
        if not self._could_reach(name):
            return False
        if name == VIDEO:
            return any(each in content.vectors for each in _OF_VIDEO)
        is_vector = name in (*MEDIA, Columns.TITLE, Columns.TEXT)
        return not is_vector or name in content.vectors or (self._has_words and name not in MEDIA)

    def _could_reach(self, name: str) -> bool:
        if name == VIDEO:
            return any(self._encoder.reads(each) for each in _OF_VIDEO)
        is_word = name in (*self.schema.categories, Columns.TITLE, Columns.TEXT)
        return self.is_read(name) or (self._has_words and is_word)


def _removal(entry: ItemEntry, was_known: bool) -> Prepared:
    return Prepared(
        row=LiveItem(item=entry.item, fields={}, is_deleted=True),
        media={},
        stored=Stored(item=entry.item, was_known=was_known, is_removal=True),
    )
