"""Code shared by all importers: the atomic creation of a folder, links to media files, the report."""

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from features.dataset import positive_columns
from recsys.errors import DataError

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")


@dataclass(frozen=True, kw_only=True)
class ImportReport:
    """The result of an import.

    `rejected` counts the rejected rows by reason, in the form of `features.dataset.count_reasons`.
    """

    out: Path
    name: str  # of the dataset
    counts: Mapping[str, int]  # for example of items, users and interactions
    rejected: Sequence[Mapping[str, Any]] = ()
    rejected_file: str = "rejected.parquet"  # in `out`
    next_steps: Sequence[str] = ()  # commands


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A temporary folder. It is renamed to `out` after the `with` block, and removed if the block raises.

    Raises `DataError` where `out` exists and is not empty.
    """
    out = out.absolute()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"{out} exists and is not empty; choose another folder or remove it")
    unfinished = out.with_name(f".{out.name}.{os.getpid()}.unfinished")
    unfinished.mkdir(parents=True)
    try:
        yield unfinished
        unfinished.replace(out)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise


def link(source: Path, target: Path) -> None:
    """Make `target` a hard link to `source`, or a copy where that fails. An existing `target` is kept."""
    if target.exists():
        return  # two rows name the same file
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def check_positive(positive: str, known: Sequence[str]) -> None:
    """Raises `DataError` where the SQL expression is invalid or uses a column that is not in `known`."""
    try:
        columns = positive_columns(positive)
    except ValueError as error:
        raise DataError(f"positive = {positive!r}: {error}") from None
    unknown = set(columns) - set(known)
    if unknown:
        raise DataError(f"positive = {positive!r}: no column {min(unknown)!r}; known: {', '.join(known)}")
