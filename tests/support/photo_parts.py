"""A small photo library, made by Pillow: pictures with metadata, captions beside them, and odd files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image

from features.dataset import Dataset, load_dataset
from features.importers import import_photos
from features.importers.folder import ImportReport

Tags = Mapping[int, Any]


def picture(seed: int = 0, size: tuple[int, int] = (24, 16)) -> Image.Image:
    """A picture whose pixels depend on `seed`; the left half is darker than the right one."""
    pixels = np.random.default_rng(seed).integers(0, 100, (size[1], size[0], 3))
    pixels[:, size[0] // 2 :] += 150
    return Image.fromarray(pixels.astype(np.uint8))


def exif(tags: Tags | None = None, details: Tags | None = None, gps: Tags | None = None) -> Image.Exif:
    """EXIF with tags of its main directory, of its directory of the exposure, and of its position."""
    made = Image.Exif()
    made.update(dict(tags or {}))
    if details:
        made.get_ifd(ExifTags.IFD.Exif).update(details)
    if gps:
        made.get_ifd(ExifTags.IFD.GPSInfo).update(gps)
    return made


def save(path: Path, seed: int = 0, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture(seed).save(path, **options)
    return path


def write(path: Path, text: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def imported(source: Path, out: Path, **options: Any) -> tuple[Dataset, ImportReport]:
    report = import_photos(source, out, **options)
    return load_dataset(out), report


def item(dataset: Dataset, name: str) -> dict[str, Any]:
    """The row of the item `name`."""
    rows = dataset.items.filter(dataset.items["item_id"] == name).rows(named=True)
    assert len(rows) == 1, name
    return rows[0]
