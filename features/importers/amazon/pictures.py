"""A folder of downloaded pictures, which are found by item id or by the file name in their URL."""

from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

import polars as pl

from features.importers.folder import PICTURE_SUFFIXES, link
from recsys.errors import DataError

SIZES = ("hi_res", "large", "thumb")  # URLs of one picture, the highest resolution first
FOLDER = "images"


class PictureFolder:
    """Finds the pictures of items in a flat folder and links them into the dataset.

    Raises `DataError` where the folder does not exist.
    """

    def __init__(self, source: Path, out: Path) -> None:
        if not source.is_dir():
            raise DataError(f"no folder of pictures at {source}")
        self.source, self.out = source, out
        names = [path.name for path in source.iterdir() if path.suffix.lower() in PICTURE_SUFFIXES]
        self._by_name = set(names)
        self._by_stem = {PurePosixPath(name).stem: name for name in names}

    def link_all(self, ids: pl.Series, images: pl.Series) -> pl.Series:
        """Paths in the dataset of the pictures of each item: `<id>.jpg` where it exists, else by URL.

        List(String), as long as `ids`.
        """
        found = [list(self._names(item, urls)) for item, urls in zip(ids, images.to_list(), strict=True)]
        for name in {name for names in found for name in names}:
            link(self.source / name, self.out / FOLDER / name)
        paths = [[f"{FOLDER}/{name}" for name in names] for names in found]
        return pl.Series("image", paths, dtype=pl.List(pl.String))

    def _names(self, item: str, images: Iterable[Mapping[str, str | None] | None] | None) -> Iterable[str]:
        if item in self._by_stem:
            yield self._by_stem[item]
            return
        for sizes in images or ():
            names = (PurePosixPath((sizes or {}).get(size) or "").name for size in SIZES)
            name = next((name for name in names if name in self._by_name), None)
            if name is not None:
                yield name
