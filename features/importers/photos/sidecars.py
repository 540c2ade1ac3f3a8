"""Captions from the files beside a picture: texts, XMP, and the JSON of Google Takeout."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

from features.importers.photos.tree import FoundFile
from features.media import position, read_xmp
from recsys.errors import MediumError

MAX_BYTES = 2**20
SUFFIXES = (".txt", ".xmp", ".json")
NO_TAKEOUT = "not the JSON of a picture in Google Takeout; correct or remove it"
_TAKEOUT = ".supplemental-metadata"
_TAKEOUT_LENGTH = 46  # characters to which Takeout cuts the name before ".json"
_COUNTED = re.compile(r"^(?P<stem>.*)(?P<count>\(\d+\))(?P<suffix>\.\w+)$")


@dataclass(frozen=True, kw_only=True)
class Captions:
    """What the files beside a picture say of it."""

    title: str | None = None
    descriptions: tuple[str, ...] = ()
    keywords: tuple[str, ...] = ()
    taken_at: datetime | None = None
    latitude: float | None = None
    longitude: float | None = None
    files: tuple[str, ...] = field(default=(), repr=False)  # names that were read


def read_captions(folder: Path, file: FoundFile) -> tuple[Captions, dict[str, str]]:
    """The captions of `file`, whose folder is `folder`; the first file that has a title or time gives it.

    Beside them the reason for each file that cannot be read, by its name.
    """
    parts: list[Captions] = []
    problems: dict[str, str] = {}
    for name in sidecar_names(file):
        try:
            parts.append(_read(folder / name, file.name))
        except MediumError as problem:
            problems[name] = problem.reason
    placed = next((part for part in parts if part.latitude is not None), Captions())
    return Captions(
        title=next((part.title for part in parts if part.title), None),
        descriptions=tuple(dict.fromkeys(text for part in parts for text in part.descriptions)),
        keywords=tuple(dict.fromkeys(word for part in parts for word in part.keywords)),
        taken_at=next((part.taken_at for part in parts if part.taken_at), None),
        latitude=placed.latitude,
        longitude=placed.longitude,
        files=tuple(name for part in parts for name in part.files),
    ), problems


def sidecar_names(file: FoundFile) -> list[str]:
    """Names of the files beside `file` that belong to it: texts, then XMP, then Takeout."""
    name = file.name.lower()
    stem = PurePosixPath(name).stem
    wanted = [f"{name}.txt", f"{stem}.txt", f"{name}.xmp", f"{stem}.xmp", *_takeout_names(name)]
    return list(dict.fromkeys(file.beside[each] for each in wanted if each in file.beside))


def _takeout_names(name: str) -> Iterator[str]:
    """Names under which Takeout writes the JSON of the file `name`; IMG(1).jpg has IMG.jpg(1).json."""
    counted = _COUNTED.match(name)
    plain, count = (counted["stem"] + counted["suffix"], counted["count"]) if counted else (name, "")
    edited = plain.replace("-edited.", ".")
    for each in dict.fromkeys((plain, edited)):
        for ending in ("", _TAKEOUT):
            yield f"{(each + ending)[:_TAKEOUT_LENGTH]}{count}.json"
    yield f"{name}.json"


def _read(path: Path, picture: str) -> Captions:
    """The captions in one file. Raises `MediumError` where it is not what its suffix says."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise MediumError(path.name, f"a caption of more than {MAX_BYTES:,} bytes; shorten it")
        content = path.read_bytes()
        match path.suffix.lower():
            case ".txt":
                return _of_text(content.decode("utf-8-sig"), path.name)
            case ".json":
                return _of_takeout(json.loads(content.decode("utf-8-sig")), path.name, picture)
    except UnicodeDecodeError:
        raise MediumError(path.name, "a caption that is not UTF-8; save it as UTF-8") from None
    except (ValueError, RecursionError):
        raise MediumError(path.name, NO_TAKEOUT) from None
    except OSError as error:
        raise MediumError(path.name, f"cannot be opened: {error.strerror}") from None
    found = read_xmp(content)
    if found == type(found)():
        raise MediumError(path.name, "XMP without a title, description, subject or time that can be read")
    return Captions(
        title=found.title,
        descriptions=(found.description,) if found.description else (),
        keywords=found.keywords,
        taken_at=found.taken_at,
        files=(path.name,),
    )


def _of_text(text: str, name: str) -> Captions:
    """The first line is the title, and the text the description where it has more lines."""
    text = text.replace("\0", " ").strip()
    first, _, more = text.partition("\n")
    descriptions = (text,) if more.strip() else ()
    return Captions(title=first.strip() or None, descriptions=descriptions, files=(name,))


def _of_takeout(values: Any, name: str, picture: str) -> Captions:
    """`title` is in general the name of the file, which is no caption."""
    if not isinstance(values, dict):
        raise MediumError(name, NO_TAKEOUT)
    title, description = _text(values.get("title")), _text(values.get("description"))
    places = (values.get("geoDataExif"), values.get("geoData"))
    found = (position(_number(place, "latitude"), _number(place, "longitude")) for place in places)
    latitude, longitude = next((place for place in found if place[0] is not None), (None, None))
    is_name = title is None or PurePosixPath(title).suffix.lower() == PurePosixPath(picture).suffix.lower()
    return Captions(
        title=None if is_name else title,
        descriptions=(description,) if description else (),
        taken_at=_unix_time(values.get("photoTakenTime")),
        latitude=latitude,
        longitude=longitude,
        files=(name,),
    )


def _text(value: Any) -> str | None:
    return value.replace("\0", " ").strip() or None if isinstance(value, str) else None


def _number(place: Any, name: str) -> float | None:
    value = place.get(name) if isinstance(place, dict) else None
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _unix_time(value: Any) -> datetime | None:
    try:
        seconds = int(value["timestamp"])
        return datetime.fromtimestamp(seconds, UTC) if seconds else None
    except (TypeError, KeyError, ValueError, OverflowError, OSError):
        return None
