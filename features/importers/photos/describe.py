"""Pictures and videos to descriptions. A file that was read before and has not changed is not read again."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import polars as pl

from features.importers.photos.tree import FoundFile, Kind
from features.media import (
    MediumMetadata,
    load_frames,
    load_image,
    picture_metadata,
    prefetch,
    video_metadata,
)
from recsys.files import replacing
from recsys.progress import Progress

# A picture is decoded to find out whether it is whole; a large JPEG at a fraction of its size.
_CHECKED_SIDE = 64
_KEPT_EVERY = 500  # files
SCHEMA: Mapping[str, pl.DataType | type[pl.DataType]] = {
    "path": pl.String,
    "kind": pl.String,
    "num_bytes": pl.Int64,
    "modified_ns": pl.Int64,
    "taken_at": pl.Datetime("us"),  # by the clock of the place, in the zone of `offset_minutes`
    "offset_minutes": pl.Int16,
    "latitude": pl.Float64,
    "longitude": pl.Float64,
    "camera": pl.String,
    "title": pl.String,
    "description": pl.String,
    "keywords": pl.List(pl.String),
}


@dataclass(frozen=True, kw_only=True)
class Description:
    """A readable picture or video, with what the file says of itself."""

    path: str
    kind: Kind
    num_bytes: int
    modified_ns: int
    metadata: MediumMetadata


@dataclass(frozen=True)
class Described:
    """The readable files, in the order of their paths, and the others."""

    descriptions: list[Description]
    rejected: list[tuple[str, str]]  # path and reason
    num_new: int
    num_changed: int
    num_removed: int


def describe(
    root: Path,
    files: Sequence[FoundFile],
    known: Mapping[str, Description],
    *,
    kept: Path,
    num_threads: int,
    progress: Progress,
) -> Described:
    """The descriptions of `files` below `root`; those in `known` of the same size and time are taken.

    New descriptions are kept in the file `kept` from time to time, from which an interrupted call goes on.
    """
    before = {**known, **_interrupted(kept)}
    found = {file.path: before[file.path] for file in files if _is_unchanged(file, before.get(file.path))}
    unread = [file for file in files if file.path not in found]
    rejected: list[tuple[str, str]] = []
    with warnings.catch_warnings():  # Pillow warns of damaged metadata, which count as absent
        warnings.simplefilter("ignore")
        decoded = prefetch(unread, lambda file: _read(root, file), num_threads=num_threads)
        for done, each in enumerate(decoded, 1):
            if each.result is not None:
                found[each.source.path] = each.result
            else:
                rejected.append((each.source.path, str(each.reason)))
            if done % _KEPT_EVERY == 0:
                with replacing(kept) as temporary:
                    save_descriptions(list(found.values()), temporary)
            progress("pictures", done, len(unread))
    return Described(
        descriptions=[found[path] for path in sorted(found)],
        rejected=rejected,
        num_new=len(found.keys() - known.keys()),
        num_changed=sum(found[path] != known[path] for path in found.keys() & known.keys()),
        num_removed=len(known.keys() - found.keys()),
    )


def _interrupted(kept: Path) -> dict[str, Description]:
    """The descriptions that an interrupted call kept; a damaged file has none."""
    try:
        return load_descriptions(kept) if kept.exists() else {}
    except (OSError, KeyError, pl.exceptions.PolarsError):
        return {}


def _is_unchanged(file: FoundFile, known: Description | None) -> bool:
    stamp = (file.kind, file.num_bytes, file.modified_ns)
    return known is not None and (known.kind, known.num_bytes, known.modified_ns) == stamp


def _read(root: Path, file: FoundFile) -> Description:
    """Raises `MediumError` where the pixels of a picture or a frame of a video cannot be decoded."""
    path = root / file.path
    if file.kind == "photo":
        load_image(path, min_side=_CHECKED_SIDE)
        metadata = picture_metadata(path)
    else:
        list(load_frames(path, 1))
        metadata = video_metadata(path)
    return Description(
        path=file.path,
        kind=file.kind,
        num_bytes=file.num_bytes,
        modified_ns=file.modified_ns,
        metadata=metadata,
    )


def save_descriptions(descriptions: Sequence[Description], path: Path) -> None:
    rows = [_row(each) for each in descriptions]
    pl.DataFrame(rows, schema=SCHEMA).write_parquet(path)


def load_descriptions(path: Path) -> dict[str, Description]:
    """The result of `save_descriptions`, by path."""
    return {row["path"]: _description(row) for row in pl.read_parquet(path, glob=False).iter_rows(named=True)}


def _row(each: Description) -> dict[str, Any]:
    values = {field.name: getattr(each.metadata, field.name) for field in fields(MediumMetadata)}
    time: datetime | None = each.metadata.taken_at
    offset = time.utcoffset() if time is not None else None
    return values | {
        "path": each.path,
        "kind": each.kind,
        "num_bytes": each.num_bytes,
        "modified_ns": each.modified_ns,
        "taken_at": time.replace(tzinfo=None) if time is not None else None,
        "offset_minutes": None if offset is None else round(offset.total_seconds() / 60),
        "keywords": list(each.metadata.keywords),
    }


def _description(row: Mapping[str, Any]) -> Description:
    values = {field.name: row[field.name] for field in fields(MediumMetadata)}
    if row["offset_minutes"] is not None:
        zone = timezone(timedelta(minutes=row["offset_minutes"]))
        values["taken_at"] = row["taken_at"].replace(tzinfo=zone)
    return Description(
        path=row["path"],
        kind=row["kind"],
        num_bytes=row["num_bytes"],
        modified_ns=row["modified_ns"],
        metadata=MediumMetadata(**values | {"keywords": tuple(row["keywords"])}),
    )
