"""The importer of a photo library: a folder tree of pictures and videos to a dataset of items alone.

The pictures stay where they are: the dataset names their folder in [media] roots. An item's id is its path
below that folder. A second import into the same dataset updates it.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any

import polars as pl
import tomli_w

from features.dataset import (
    FILE_NAME,
    MAX_ID_LENGTH,
    DatasetSpec,
    MediaFolder,
    Rejected,
    count_reasons,
    write_rejected,
)
from features.importers.folder import ImportReport, new_folder
from features.importers.photos.describe import (
    Described,
    Description,
    describe,
    load_descriptions,
    save_descriptions,
)
from features.importers.photos.sidecars import SUFFIXES, Captions, read_captions
from features.importers.photos.tables import ID, Owners, dataset_values, items_frame, name_as_title
from features.importers.photos.tree import OTHER, Tree, walk
from features.importers.photos.views import read_views
from recsys.errors import ConfigError, DataError
from recsys.files import exclusive, replace_text, replacing
from recsys.progress import Progress, silent

ITEMS, VIEWS, FILES, REJECTED, MARK = (
    "items.parquet", "interactions.parquet", "files.parquet", "rejected.csv", "photos.json",
)  # fmt: skip
FORMAT = 1  # raised when the same files may give other descriptions


def import_photos(
    source: Path,
    out: Path,
    *,
    owner: str | None = None,
    owner_from_folder: bool = False,
    views: Path | None = None,
    progress: Progress = silent,
) -> ImportReport:
    """Write the dataset `out` of the pictures and videos below `source`, or update it.

    `owner` owns all of them; with `owner_from_folder` the first folder of a path names its owner. `views`
    is a table of user, path and time, which becomes the interactions; later imports keep them. Without
    changes in `source` an update reads no picture. Raises `DataError` where `source` has none, where `out` is
    not empty and not such a dataset, and where it is one of other pictures.
    """
    if owner is not None and owner_from_folder:
        raise ConfigError("--owner and --owner-from-folder contradict each other; give one of them")
    root = source.resolve()
    if not root.is_dir():
        raise DataError(f"{source}: no such folder of pictures")
    out.absolute().parent.mkdir(parents=True, exist_ok=True)
    with exclusive(out.absolute(), what=f"the import into {out}"):
        former = Former.of(out)
        library = _Library(root, out, former, progress)
        owners = Owners(name=owner, from_folder=owner_from_folder)
        if former is not None:
            report = library.write(out, owners, views)
        else:
            with new_folder(out) as folder:
                report = library.write(folder, owners, views)
        library.kept.unlink(missing_ok=True)
        return report


@dataclass(frozen=True, kw_only=True)
class Former:
    """The dataset that an earlier import wrote."""

    name: str
    root: str
    descriptions: Mapping[str, Description]
    interactions: Mapping[str, Any] | None  # of dataset.toml

    @classmethod
    def of(cls, out: Path) -> "Former | None":
        """None where `out` is new or empty. Raises `DataError` where it holds something else."""
        if not out.exists() or (out.is_dir() and not any(out.iterdir())):
            return None
        try:
            mark = json.loads((out / MARK).read_text("utf-8"))
            known = load_descriptions(out / FILES) if mark["format"] == FORMAT else {}
            root, interactions = str(mark["root"]), mark["interactions"]
        except (OSError, ValueError, KeyError, TypeError, pl.exceptions.PolarsError):
            raise DataError(
                f"{out} is not empty and was not made by `recsys import photos`; "
                "choose another folder or remove it"
            ) from None
        spec = DatasetSpec.load(out)
        return cls(name=spec.name, root=root, descriptions=known, interactions=interactions)


class _Library:
    """The pictures and videos below `root`, read; what cannot be read is in `rejected`."""

    def __init__(self, root: Path, out: Path, former: Former | None, progress: Progress) -> None:
        self.root, self.out, self.former = root, out, former
        self.kept = out.absolute().with_name(f".{out.name}.read-{FORMAT}.parquet")
        self.rejected: list[Rejected] = []
        self.tree = self._walk()
        known = former.descriptions if former is not None else {}
        if former is not None and known and not known.keys() & {file.path for file in self.tree.files}:
            raise DataError(
                f"{out} has the pictures of {former.root}, none of which is in {root}; choose another "
                "folder, or remove it to begin anew"
            )
        self.described = self._describe(known, progress)
        self.captions = self._captions()

    def write(self, folder: Path, owners: Owners, views: Path | None) -> ImportReport:
        """Write all files into `folder`, dataset.toml last."""
        items = items_frame(self.described.descriptions, self.captions, owners)
        name = self.former.name if self.former is not None else self.out.absolute().name
        interactions = self.former.interactions if self.former is not None else None
        counts = _counts(items, self.described)
        if views is not None:
            interactions, counts["views"] = self._write_views(folder, views, items)
        with replacing(folder / ITEMS) as temporary:
            items.write_parquet(temporary)
        with replacing(folder / FILES) as temporary:
            save_descriptions(self.described.descriptions, temporary)
        write_rejected(self.rejected, folder / REJECTED)
        replace_text(
            folder / MARK,
            json.dumps({"format": FORMAT, "root": str(self.root), "interactions": interactions}) + "\n",
        )
        replace_text(folder / FILE_NAME, tomli_w.dumps(dataset_values(name, self.root, items, interactions)))
        shown = quote(str(self.out))
        return ImportReport(
            out=self.out.absolute(),
            name=name,
            counts=counts | {word: n for word, n in sorted(self.tree.skipped.items()) if n},
            rejected=count_reasons(self.rejected),
            rejected_file=REJECTED,
            next_steps=[f"recsys check {shown}", f"recsys index {shown} --out bundle"],
        )

    def _write_views(self, folder: Path, views: Path, items: pl.DataFrame) -> tuple[dict[str, str], int]:
        """The section [interactions], and the number of views."""
        frame, unit, rejected = read_views(views, self.root, items[ID])
        self.rejected += rejected
        with replacing(folder / VIEWS) as temporary:
            frame.write_parquet(temporary)
        section = {"path": VIEWS, "user": "user", "item": "photo", "timestamp": "time", "time": unit}
        return section, frame.height

    def _walk(self) -> Tree:
        """The tree without the files whose names or places cannot be used."""
        tree = walk(self.root, without=self.out.resolve())
        self._reject(tree.problems)
        faults = _name_faults(self.root, [file.path for file in tree.files])
        self._reject(list(faults.items()))
        usable = [file for file in tree.files if file.path not in faults]
        if not usable:
            raise DataError(f"{self.root} has no pictures or videos that can be used")
        return Tree(usable, tree.skipped, [])

    def _describe(self, known: Mapping[str, Description], progress: Progress) -> Described:
        described = describe(
            self.root,
            self.tree.files,
            known,
            kept=self.kept,
            num_threads=os.cpu_count() or 1,
            progress=progress,
        )
        self._reject(described.rejected)
        if not described.descriptions:
            example, reason = described.rejected[0]
            raise DataError(f"{self.root}: no picture or video can be read; {example}: {reason}")
        return described

    def _captions(self) -> dict[str, Captions]:
        readable = {each.path for each in self.described.descriptions}
        captions: dict[str, Captions] = {}
        used: set[Path] = set()
        for file in self.tree.files:
            if file.path not in readable:
                continue
            folder = (self.root / file.path).parent
            found, problems = read_captions(folder, file)
            captions[file.path] = found
            used |= {folder / name for name in (*found.files, *problems)}
            for name, reason in problems.items():
                self._reject([((folder / name).relative_to(self.root).as_posix(), reason)], "caption")
        self.tree.skipped[OTHER] -= sum(path.suffix.lower() in SUFFIXES for path in used)
        return captions

    def _reject(self, problems: list[tuple[str, str]], column: str = "file") -> None:
        for name, reason in problems:
            path = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
            self.rejected.append(
                Rejected(
                    table="items", path=path, row=len(self.rejected), column=column, value=path, reason=reason
                )
            )


def _name_faults(root: Path, paths: list[str]) -> dict[str, str]:
    """Path -> why its file cannot be an item: its name, or where a link leads."""
    faults: dict[str, str] = {}
    for path in paths:
        if path.strip() != path:
            faults[path] = "its path begins or ends with white space; rename it"
        elif _has_surrogate(path):
            faults[path] = "its name is not UTF-8; rename it"
        elif len(path) > MAX_ID_LENGTH:
            faults[path] = f"a path of more than {MAX_ID_LENGTH:,} characters; shorten it"
    named = pl.Series([path for path in paths if path not in faults], dtype=pl.String)
    checked = MediaFolder(root).check(named).drop_nulls("reason")
    return faults | dict(checked.select("path", "reason").iter_rows())


def _num_captions(items: pl.DataFrame) -> int:
    """Number of items with a description, or with a title that is not the name of their file."""
    rows = items.select(ID, "title", "description").iter_rows()
    return sum(text is not None or title != name_as_title(path) for path, title, text in rows)


def _has_surrogate(path: str) -> bool:
    """Whether Python found bytes in the name that are not UTF-8."""
    return any(0xD800 <= ord(letter) <= 0xDFFF for letter in path)


def _counts(items: pl.DataFrame, described: Described) -> dict[str, int]:
    given = {name: items[name].count() for name in items.columns}
    return {
        "pictures": given["image"],
        "videos": given["video"],
        "with a caption": _num_captions(items),
        "with a time": given["taken_at"],
        "with a place": given["latitude"],
        "albums": items["album"].explode().drop_nulls().n_unique(),
        "owners": items["owner"].drop_nulls().n_unique(),
        "new": described.num_new,
        "changed": described.num_changed,
        "unchanged": items.height - described.num_new - described.num_changed,
        "removed": described.num_removed,
    }
