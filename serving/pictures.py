"""Pictures of items, read from the folders that a caller names, and made small enough for a page."""

import hashlib
import io
import os
import stat
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, Final

import polars as pl

from features.media import load_image
from recsys.columns import Columns
from recsys.errors import DataError
from recsys.ids import NUM_RESERVED

MAX_SIDE: Final = 1024  # pixels
MAX_PIXELS: Final = 50_000_000  # of a file
MAX_FILE_BYTES: Final = 64_000_000
_QUALITY: Final = 85
_AT_ONCE: Final = 2  # decoded at the same time: one picture may take 150 MB


@dataclass(frozen=True, kw_only=True)
class PictureFile:
    """A picture of the catalogue, and the text that changes when its file does."""

    path: Path | None  # without links; None: `content` is the file
    tag: str
    content: bytes = b""


class CataloguePictures:
    """Finds the picture of an item in the folders of media, and nothing outside of them.

    `folders` are the dataset's folder and its media roots, in this order, as a catalogue numbers them. A
    catalogue's path may lead through links from one of them into another, and to no other place.
    """

    def __init__(self, catalogue: pl.DataFrame, folders: Sequence[Path]) -> None:
        """Raises `DataError` for a folder that does not exist."""
        missing = [f"--media {str(each)!r}: no such folder" for each in folders if not each.is_dir()]
        if missing:
            raise DataError("a folder of media is missing; name where it lies now", missing)
        self._folders = tuple(each.resolve() for each in folders)
        self._paths: list[str | None] = _column(catalogue, Columns.IMAGE, None)
        self._numbers: list[int | None] = _column(catalogue, Columns.IMAGE_FOLDER, 0)
        self._turns = threading.BoundedSemaphore(_AT_ONCE)

    def __bool__(self) -> bool:
        """Whether any item can have a picture."""
        return bool(self._folders) and any(path is not None for path in self._paths)

    def find(self, item: int) -> PictureFile | None:
        """The file of the item's picture; None where it has none, or none that may be shown."""
        if item - NUM_RESERVED >= len(self._paths):  # an item that came later
            return None
        path, number = self._paths[item - NUM_RESERVED], self._numbers[item - NUM_RESERVED]
        if path is None or number is None or number >= len(self._folders) or not _stays_inside(path):
            return None
        try:
            found = (self._folders[number] / path).resolve(strict=True)
            status = found.stat()
        except (OSError, ValueError, RuntimeError):  # gone, a byte of zero in the path, links in a circle
            return None
        is_inside = any(found.is_relative_to(folder) for folder in self._folders)
        if not is_inside or not stat.S_ISREG(status.st_mode) or status.st_size > MAX_FILE_BYTES:
            return None
        identity = f"{path}\0{status.st_mtime_ns}\0{status.st_size}".encode("utf-8", "surrogateescape")
        return PictureFile(path=found, tag=hashlib.sha256(identity).hexdigest()[:16])

    def jpeg(self, picture: PictureFile, side: int) -> bytes:
        """The picture as a JPEG of at most `side` pixels, upright and without the file's metadata.

        Raises `MediumError` where it cannot be read.
        """
        with self._turns:
            content = picture.content if picture.path is None else _read(picture.path)
            image = load_image(content, max_pixels=MAX_PIXELS, min_side=side)
            image.thumbnail((side, side))
            out = io.BytesIO()
            image.save(out, "JPEG", quality=_QUALITY)
        return out.getvalue()


def _read(path: Path) -> bytes:
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
    with os.fdopen(handle, "rb") as file:
        return file.read(MAX_FILE_BYTES)


def _column(catalogue: pl.DataFrame, name: str, otherwise: Any) -> list[Any]:
    return catalogue[name].to_list() if name in catalogue.columns else [otherwise] * catalogue.height


def _stays_inside(path: str) -> bool:
    """Whether the path is relative and has no step up, in the manner of any system."""
    anchored = PurePosixPath(path).is_absolute() or bool(PureWindowsPath(path).anchor)
    return not anchored and ".." not in PureWindowsPath(path).parts
