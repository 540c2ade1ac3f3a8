"""Media paths of a table to absolute paths, after a check that media may come from their folders."""

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PureWindowsPath

import polars as pl

from features.dataset.values.casting import array_as_list
from recsys.columns import Columns
from recsys.errors import DataError

_LINK_OUTSIDE = "a link to a file outside of the dataset's folder; put the file itself into the folder"
_LINK_OUTSIDE_ALL = (
    "a link to a file outside of the dataset's folder and of the [media] roots; name the folder of the file "
    "as a root"
)
_ABSOLUTE = (
    "an absolute path; write it relative to the dataset's folder, or name its folder in the [media] roots"
)
_ABSOLUTE_OUTSIDE = (
    "an absolute path outside of the [media] roots, or through a link out of them; name its folder as a root"
)


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


@dataclass(frozen=True)
class MediaFolders:
    """The folders from which media may come: the dataset's folder, then the [media] roots, all resolved.

    In a bundle a medium is known by the number of its folder (0 is the dataset's, i the i-th root) and by its
    path in that folder. Neither depends on where the folders lie.
    """

    folders: tuple[Path, ...]

    @classmethod
    def of(cls, root: Path, roots: Sequence[str] = ()) -> "MediaFolders":
        """The dataset's folder `root`, and the folders `roots`, absolute or relative to it.

        Raises `DataError` whose `problems` names every root that is not a folder.
        """
        root = root.resolve()
        found = [_folder(root, name) for name in roots]
        problems = [f"[media] roots: {each}" for each in found if isinstance(each, str)]
        if problems:
            raise DataError("a folder of media cannot be used", problems)
        return cls((root, *(each for each in found if isinstance(each, Path))))

    def first_media(self, items: pl.DataFrame) -> pl.DataFrame:
        """Of each item's pictures and of its videos the first: its folder's number and its path in it.

        `items` is `Dataset.items`. Columns: image, image_folder, video, video_folder; null without one.
        """
        first = items.select(pl.col(Columns.IMAGE, Columns.VIDEO).list.first())
        columns = []
        for name, folder in ((Columns.IMAGE, Columns.IMAGE_FOLDER), (Columns.VIDEO, Columns.VIDEO_FOLDER)):
            places = [self.place(path) if path is not None else (None, None) for path in first[name]]
            columns.append(pl.Series(name, [path for _, path in places], dtype=pl.String))
            columns.append(pl.Series(folder, [number for number, _ in places], dtype=pl.UInt16))
        return pl.DataFrame(columns)

    def place(self, path: str) -> tuple[int, str]:
        """The number of the folder and the path in it, with "/"; of nested folders the first."""
        for number, folder in enumerate(self.folders):
            if Path(path).is_relative_to(folder):
                return number, Path(path).relative_to(folder).as_posix()
        raise AssertionError(f"{path} is in no folder of the dataset")

    def holds(self, path: Path) -> bool:
        return any(path.is_relative_to(folder) for folder in self.folders)


def _folder(root: Path, name: str) -> Path | str:
    """The folder, resolved, or why it cannot be used."""
    try:
        path = (root / Path(name).expanduser()).resolve()
        if path.is_dir():
            is_all = path == Path(path.anchor)
            return f"{name!r} is the whole file system; name a folder in it" if is_all else path
    except (OSError, ValueError, RuntimeError):  # of a name that no folder can have
        pass
    return f"no such folder: {name!r}; mount it, or write where it lies now"


class MediaFolder:
    """Checks media paths of one dataset. Each parent folder is resolved only once.

    A path is relative to the dataset's folder, or, if it names nothing there, to the first root that has it;
    or it is absolute and inside a root. Links may lead from any of these folders into any other.
    """

    def __init__(self, root: Path, roots: Sequence[str] = ()) -> None:
        self._media = MediaFolders.of(root, roots)
        self._has_roots = len(roots) > 0
        self._real_parent = cache(self._resolve_parent)

    @property
    def folders(self) -> tuple[Path, ...]:
        return self._media.folders

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
        if ".." in path.split("/"):
            return None, "a path with '..'; put the file into the dataset's folder"
        if os.path.isabs(path) and self._has_roots:
            return self._find(path, _ABSOLUTE_OUTSIDE) or (None, "no such file")
        if os.path.isabs(path) or PureWindowsPath(path).anchor:
            return None, _ABSOLUTE
        for folder in self._media.folders:
            found = self._find(f"{folder}/{path}", _LINK_OUTSIDE_ALL if self._has_roots else _LINK_OUTSIDE)
            if found is not None:
                return found
        also = " or to a root of [media]" if self._has_roots else ""
        return None, f"no such file; paths are relative to the dataset's folder{also}"

    def _find(self, path: str, outside: str) -> tuple[str | None, str | None] | None:
        """The real path of a file, or the reason why it is rejected; None where there is no such file."""
        try:
            parent, name = os.path.split(os.path.normpath(path))
            real_parent = self._real_parent(parent)
            if real_parent is None:
                return None, outside
            found = os.path.join(real_parent, name)
            status = os.lstat(found)
            if stat.S_ISLNK(status.st_mode):
                found = os.path.realpath(found, strict=True)
                if not self._media.holds(Path(found)):
                    return None, outside
                status = os.stat(found)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError, RuntimeError) as error:
            return None, f"cannot be opened: {error}"
        if not stat.S_ISREG(status.st_mode):
            return None, "a folder or device, not a file"
        return found, None

    def _resolve_parent(self, parent: str) -> str | None:
        """The folder with all links resolved; None where it is outside of all folders of media."""
        real = Path(parent).resolve()
        return str(real) if self._media.holds(real) else None
