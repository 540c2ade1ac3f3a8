"""A folder tree to the pictures and videos in it, and counts of all that is skipped."""

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Literal

Kind = Literal["photo", "video"]

RAW_SUFFIXES = frozenset(
    (".arw", ".cr2", ".cr3", ".crw", ".dng", ".nef", ".orf", ".pef", ".raf", ".rw2", ".srw")
)
PICTURE_SUFFIXES = RAW_SUFFIXES | {
    ".avif", ".bmp", ".gif", ".heic", ".heif", ".hif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".png",
    ".tif", ".tiff", ".webp",
}  # fmt: skip
VIDEO_SUFFIXES = frozenset(
    (".3gp", ".avi", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".webm", ".wmv")
)
# Folders of previews and deleted files: Synology, QNAP, Windows, macOS, Linux, Android.
SYSTEM_FOLDERS = frozenset(
    (
        "@eadir", "@recycle", "#recycle", "#snapshot", "$recycle.bin", "system volume information",
        "__macosx", "lost+found", "thumbnails", "thumbs", "@__thumb",
    )
)  # fmt: skip
SYSTEM_FILES = frozenset(("thumbs.db", "desktop.ini", "ehthumbs.db"))

HIDDEN = "hidden files and folders"
PREVIEWS = "folders of previews or deleted files"
LIVE = "moving parts of live photos"
BURST = "further pictures of bursts"
RAW = "raw files beside a picture"
LINKS = "links to folders"
OTHER = "other files"
# Google: 00001IMG_00001_BURST20190101120000123_COVER.jpg; others: IMG_20190101_120000_BURST001.jpg.
_BURST_BY_NUMBER = re.compile(r"^(?P<group>.+?)_?BURST0*\d{1,4}(?P<cover>_COVER)?$", re.IGNORECASE)
_BURST_BY_TIME = re.compile(r"BURST(?P<group>\d{8,})(?P<cover>_COVER)?", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class FoundFile:
    """A picture or video."""

    path: str  # relative to the folder, with "/"
    kind: Kind
    num_bytes: int
    modified_ns: int
    beside: Mapping[str, str] = field(repr=False)  # names in its folder, by their lower case

    @property
    def name(self) -> str:
        return PurePosixPath(self.path).name


@dataclass(frozen=True)
class Tree:
    files: list[FoundFile]  # sorted by path
    skipped: Counter[str]  # by one of the words above
    problems: list[tuple[str, str]]  # paths that cannot be opened, with the reason


def walk(root: Path, *, without: Path) -> Tree:
    """The pictures and videos below `root`, but not those below the folder `without`."""
    tree = Tree([], Counter(), [])

    def note(error: OSError) -> None:
        path = os.path.relpath(os.fspath(error.filename), root)
        tree.problems.append((path, f"cannot be opened: {error.strerror}"))

    for place, folders, names in os.walk(root, onerror=note):
        folder = Path(place)
        folders[:] = [name for name in sorted(folders) if _is_wanted(folder / name, without, tree.skipped)]
        visible = [name for name in sorted(names) if not _is_hidden(name)]
        tree.skipped[HIDDEN] += len(names) - len(visible)
        beside = {name.lower(): name for name in visible}
        for name, kind in _media(visible, tree.skipped):
            try:
                tree.files.append(_found(folder / name, root, kind, beside))
            except OSError as error:
                note(error)
    tree.files.sort(key=lambda file: file.path)
    return tree


def _found(path: Path, root: Path, kind: Kind, beside: Mapping[str, str]) -> FoundFile:
    status = path.stat()
    return FoundFile(
        path=path.relative_to(root).as_posix(),
        kind=kind,
        num_bytes=status.st_size,
        modified_ns=status.st_mtime_ns,
        beside=beside,
    )


def _is_wanted(folder: Path, without: Path, skipped: Counter[str]) -> bool:
    if folder.is_symlink():
        skipped[LINKS] += 1
    elif folder.name.lower() in SYSTEM_FOLDERS:
        skipped[PREVIEWS] += 1
    elif folder.name.startswith("."):
        skipped[HIDDEN] += 1
    else:
        return folder != without
    return False


def _media(names: list[str], skipped: Counter[str]) -> Iterator[tuple[str, Kind]]:
    """The pictures and videos among the names of one folder, one for each photograph."""
    suffix_of = {name: PurePosixPath(name).suffix.lower() for name in names}
    pictures = [name for name in names if suffix_of[name] in PICTURE_SUFFIXES]
    stems = {_stem(name) for name in pictures if suffix_of[name] not in RAW_SUFFIXES}
    chosen = _one_of_each_burst(pictures)
    for name in names:
        if suffix_of[name] in VIDEO_SUFFIXES:
            if _stem(name) in stems:
                skipped[LIVE] += 1
            else:
                yield name, "video"
        elif suffix_of[name] not in PICTURE_SUFFIXES:
            skipped[OTHER] += 1
        elif suffix_of[name] in RAW_SUFFIXES and _stem(name) in stems:
            skipped[RAW] += 1
        elif name not in chosen:
            skipped[BURST] += 1
        else:
            yield name, "photo"


def _one_of_each_burst(pictures: list[str]) -> set[str]:
    """The pictures without those of a burst but its cover, or its first picture."""
    best: dict[str, str] = {}
    chosen = set()
    for name in pictures:
        stem = PurePosixPath(name).stem
        found = _BURST_BY_TIME.search(stem) or _BURST_BY_NUMBER.match(stem)
        if found is None:
            chosen.add(name)
        elif found["cover"] or found["group"] not in best:
            best[found["group"]] = name
    return chosen | set(best.values())


def _stem(name: str) -> str:
    return PurePosixPath(name).stem.lower()


def _is_hidden(name: str) -> bool:
    return name.startswith((".", "SYNOPHOTO_", "SYNOFILE_")) or name.lower() in SYSTEM_FILES
