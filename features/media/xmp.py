"""Texts and time of an XMP packet, inside a picture or in a file beside it (ISO 16684-1)."""

import re
from dataclasses import dataclass
from datetime import datetime
from xml.etree import ElementTree

MAX_BYTES = 2**20
_DC = "{http://purl.org/dc/elements/1.1/}"
_RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
_LANGUAGE = "{http://www.w3.org/XML/1998/namespace}lang"
_TIMES = (
    "{http://ns.adobe.com/exif/1.0/}DateTimeOriginal",
    "{http://ns.adobe.com/photoshop/1.0/}DateCreated",
    "{http://ns.adobe.com/xap/1.0/}CreateDate",
)


@dataclass(frozen=True, kw_only=True)
class XmpTexts:
    title: str | None = None
    description: str | None = None
    keywords: tuple[str, ...] = ()
    taken_at: datetime | None = None  # with its zone where there is one


def read_xmp(content: bytes) -> XmpTexts:
    """The texts of the packet; empty where it cannot be read, is too long, or defines entities."""
    if len(content) > MAX_BYTES or b"<!" in content.replace(b"<!--", b""):
        return XmpTexts()
    try:
        root = ElementTree.fromstring(content.strip(b"\0 \t\r\n"))
    except (ElementTree.ParseError, ValueError, LookupError):  # LookupError: an unknown encoding
        return XmpTexts()
    times = [time for name in _TIMES for text in _texts(root, name) if (time := iso_time(text))]
    return XmpTexts(
        title=next(iter(_texts(root, f"{_DC}title")), None),
        description=next(iter(_texts(root, f"{_DC}description")), None),
        keywords=tuple(dict.fromkeys(_texts(root, f"{_DC}subject"))),
        taken_at=next(iter(times), None),
    )


def iso_time(text: str) -> datetime | None:
    """A time such as 2019-07-31T12:00:05.5+02:00, None where the text is none."""
    try:
        return datetime.fromisoformat(re.sub(r"([+-]\d\d)(\d\d)$", r"\1:\2", text.strip()))
    except ValueError:
        return None


def _texts(root: ElementTree.Element, name: str) -> list[str]:
    """The texts of the property, that in the default language first; as an attribute, a text or a list."""
    found = [element.attrib[name] for element in root.iter() if name in element.attrib]
    for element in root.iter(name):
        entries = list(element.iter(f"{_RDF}li")) or [element]
        entries.sort(key=lambda entry: entry.get(_LANGUAGE, "x-default") != "x-default")
        found += [entry.text or "" for entry in entries]
    return [text.strip() for text in found if text.strip()]
