"""Descriptions and captions to the table of items and to dataset.toml."""

import calendar
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import accumulate
from pathlib import Path, PurePosixPath
from typing import Any

import polars as pl

from features.importers.photos.describe import Description
from features.importers.photos.sidecars import Captions

ID = "photo"
CATEGORIES = ("album", "year", "month", "camera", "kind", "keyword")
ITEMS_SCHEMA: Mapping[str, pl.DataType | type[pl.DataType]] = {
    ID: pl.String,
    "title": pl.String,
    "description": pl.String,
    "image": pl.String,
    "video": pl.String,
    "album": pl.List(pl.String),  # the folder and the folders above it, each as a path
    "year": pl.String,
    "month": pl.String,
    "camera": pl.String,
    "owner": pl.String,
    "kind": pl.String,
    "keyword": pl.List(pl.String),
    "taken_at": pl.Datetime("us"),  # UTC
    "latitude": pl.Float64,
    "longitude": pl.Float64,
}
_DATE_IN_NAME = re.compile(
    r"(?<!\d)(?P<year>19\d\d|20\d\d)(?P<mark>[-_.]?)(?P<month>\d\d)(?P=mark)(?P<day>\d\d)"
    r"(?:[-_ T.]{1,3}(?P<hour>\d\d)(?P<colon>[-_.:]?)(?P<minute>\d\d)(?P=colon)(?P<second>\d\d)(?!\d))?(?!\d)"
)


@dataclass(frozen=True, kw_only=True)
class Owners:
    """Whose pictures they are: one person's, or those of the person who names the first folder."""

    name: str | None = None
    from_folder: bool = False

    def split(self, path: str) -> tuple[str | None, tuple[str, ...]]:
        """The owner of a file, and the folders that are its albums."""
        folders = PurePosixPath(path).parts[:-1]
        if self.from_folder:
            return (folders[0], folders[1:]) if folders else (None, ())
        return self.name, folders


def items_frame(
    descriptions: Sequence[Description], captions: Mapping[str, Captions], owners: Owners
) -> pl.DataFrame:
    """A row for each picture or video, with the columns `ITEMS_SCHEMA`."""
    rows = [_item(each, captions.get(each.path, Captions()), owners) for each in descriptions]
    return pl.DataFrame(rows, schema=ITEMS_SCHEMA)


def _item(each: Description, captions: Captions, owners: Owners) -> dict[str, Any]:
    metadata = each.metadata
    owner, folders = owners.split(each.path)
    time = metadata.taken_at or captions.taken_at or time_in_name(PurePosixPath(each.path).stem)
    title = captions.title or metadata.title or name_as_title(each.path)
    texts = dict.fromkeys(text for text in (*captions.descriptions, metadata.description) if text)
    has_place = metadata.latitude is not None
    return {
        ID: each.path,
        "title": title,
        "description": "\n\n".join(text for text in texts if text != title) or None,
        "image": each.path if each.kind == "photo" else None,
        "video": each.path if each.kind == "video" else None,
        "album": list(accumulate(folders, lambda above, name: f"{above}/{name}")),
        "year": f"{time.year:04}" if time is not None else None,
        "month": calendar.month_name[time.month] if time is not None else None,
        "camera": metadata.camera,
        "owner": owner,
        "kind": each.kind,
        "keyword": list(dict.fromkeys((*metadata.keywords, *captions.keywords))),
        "taken_at": _in_utc(time) if time is not None else None,
        "latitude": metadata.latitude if has_place else captions.latitude,
        "longitude": metadata.longitude if has_place else captions.longitude,
    }


def time_in_name(name: str) -> datetime | None:
    """The time in a name such as IMG_20190731_120000 or 2019-07-31; a date alone is its midnight."""
    for found in _DATE_IN_NAME.finditer(name):
        parts = [int(found[part] or 0) for part in ("year", "month", "day", "hour", "minute", "second")]
        with suppress(ValueError):  # no such day
            time = datetime(*parts)  # type: ignore[arg-type]
            if time.year <= datetime.now(UTC).year:
                return time
    return None


def name_as_title(path: str) -> str:
    """The title of a picture without a caption: the name of its file."""
    stem = PurePosixPath(path).stem
    return " ".join(stem.replace("_", " ").split()) or stem


def _in_utc(time: datetime) -> datetime:
    """The time in UTC, without its zone; a time without a zone as it is."""
    return time.astimezone(UTC).replace(tzinfo=None) if time.tzinfo is not None else time


def dataset_values(
    name: str, root: Path, items: pl.DataFrame, interactions: Mapping[str, Any] | None
) -> dict[str, Any]:
    """The content of dataset.toml; a role whose column is empty is left out."""

    def present(*columns: str) -> list[str]:
        lists = (pl.List(pl.String),)
        return [
            column
            for column in columns
            if (items[column].list.len().sum() if items.schema[column] in lists else items[column].count())
        ]

    table: dict[str, Any] = {"path": "items.parquet", "id": ID, "title": "title"}
    table |= {"text": ["description"]} if present("description") else {}
    table |= {column: column for column in present("image", "video")}
    table |= {"categories": present(*CATEGORIES)}
    table |= {"owner": "owner"} if present("owner") else {}
    table |= {"numeric": found} if (found := present("latitude", "longitude")) else {}
    table |= {"created_at": "taken_at", "time": "iso"} if present("taken_at") else {}
    spec: dict[str, Any] = {"name": name, "items": table, "media": {"roots": [str(root)]}}
    return spec | ({"interactions": dict(interactions)} if interactions else {})
