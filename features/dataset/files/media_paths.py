"""Media paths of a table to absolute paths, after a check that they are in the dataset's folder."""

import stat
from functools import cache
from pathlib import Path, PurePosixPath, PureWindowsPath

import polars as pl

from features.dataset.values.casting import array_as_list
from recsys.errors import DataError

_LINK_OUTSIDE = "a link to a file outside of the dataset's folder; put the file itself into the folder"


def media_lists(series: pl.Series) -> pl.Series:
    """The paths in a column of strings or of lists of strings. List(String); an empty list for null."""
    if series.dtype == pl.Null:
        series = series.cast(pl.String)
    series = array_as_list(series)
    if series.dtype == pl.String:
        series = series.str.strip_chars()
        lists = series.reshape((-1, 1)).cast(pl.List(pl.String))
    elif series.dtype == pl.List(pl.String):
        lists = series.list.eval(pl.element().str.strip_chars())
    elif series.dtype == pl.List(pl.Null):
        lists = series.cast(pl.List(pl.String))
    else:
        raise DataError(f"is {series.dtype}, not a path or a list of paths")
    frame = pl.DataFrame({"paths": lists}).select(
        pl.col("paths").list.eval(pl.element().filter(pl.element().is_not_null() & (pl.element() != "")))
    )
    return frame["paths"].fill_null(pl.Series([[]], dtype=pl.List(pl.String))).alias(series.name)


class MediaFolder:
    """Checks media paths of one dataset. Each parent folder is resolved only once."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self._real_parent = cache(self._resolve_parent)

    def check(self, paths: pl.Series) -> pl.DataFrame:
        """A row for each distinct path: `path`, `absolute`, and `reason`, why the path is rejected.

        Either `absolute` or `reason` is null.
        """
        unique = paths.drop_nulls().unique(maintain_order=True)
        checked = [self._check(path) for path in unique.to_list()]
        return pl.DataFrame(
            {
                "path": unique,
                "absolute": [absolute for absolute, _ in checked],
                "reason": [reason for _, reason in checked],
            },
            schema=dict.fromkeys(("path", "absolute", "reason"), pl.String),
        )

    def _check(self, path: str) -> tuple[str | None, str | None]:
        if "://" in path or path.startswith("data:"):
            return None, "a URL; download the file and write its path"
        pure = PurePosixPath(path)
        if pure.is_absolute() or PureWindowsPath(path).anchor:
            return None, "an absolute path; write it relative to the dataset's folder"
        if ".." in pure.parts:
            return None, "a path with '..'; put the file into the dataset's folder"
        try:
            parent = self._real_parent(str(pure.parent))
            if parent is None:
                return None, _LINK_OUTSIDE
            found = parent / pure.name
            status = found.lstat()
            if stat.S_ISLNK(status.st_mode):
                found = found.resolve(strict=True)
                if not found.is_relative_to(self.root):
                    return None, _LINK_OUTSIDE
                status = found.stat()
        except FileNotFoundError:
            return None, "no such file; paths are relative to the dataset's folder"
        except (OSError, ValueError, RuntimeError) as error:
            return None, f"cannot be opened: {error}"
        if not stat.S_ISREG(status.st_mode):
            return None, "a folder or device, not a file"
        return str(found), None

    def _resolve_parent(self, parent: str) -> Path | None:
        """The folder with all links resolved; None where it is outside of the dataset's folder."""
        real = (self.root / parent).resolve()
        return real if real.is_relative_to(self.root) else None
