"""Checksums of files, the files of a directory, and writing to the disk."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path


def sha256_of(path: Path) -> str:
    """Hexadecimal sha256 of the file at `path`."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def files_below(directory: Path) -> Iterator[str]:
    """Every file below `directory`, sorted, relative and with forward slashes; hidden ones left out.

    File managers and network drives create hidden files, which are not data.
    """
    for path in sorted(directory.rglob("*")):
        relative = path.relative_to(directory)
        if path.is_file() and not any(part.startswith(".") for part in relative.parts):
            yield relative.as_posix()


def sync(directory: Path) -> None:
    """Wait until every file below `directory`, and the names in it, are on the disk."""
    for path in [directory, *directory.rglob("*")]:
        sync_path(path)


def sync_path(path: Path) -> None:
    """Wait until the file, or the names in the directory, at `path` are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
