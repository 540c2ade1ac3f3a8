"""A store: the versions of a bundle in one directory, and a pointer to the current one that moves atomically.

    STORE/
      store.json             the format
      pointer.json           the current version, the one before it, and every move of the pointer
      versions/<version>/    one published bundle; the name is `Bundle.version`
        bundle/              a bundle directory whose files are links to blobs, or copies
        version.json         `Version`
        histories.parquet, predictions.parquet   never blobs: a user can ask to be erased
      blobs/                 files by sha256, equal files of all versions once
      drafts/                unfinished work, empty between two writes
      state.sqlite           the users' state of `recsys serve STORE`, shared by all versions

A version appears under its name when it is whole, by a rename; so does the pointer. A process that is killed
at any moment leaves a valid store: the next write removes what is in drafts/, a prune the blobs that no
version has.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from shlex import quote
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from recsys.bundle.blobs import Blobs
from recsys.bundle.load import Bundle
from recsys.bundle.manifest import MANIFEST, problems_of, read_manifest
from recsys.checksums import sha256_of, sync, sync_path
from recsys.errors import BundleError, DataError, did_you_mean
from recsys.files import exclusive, replace_text

STORE: Final = "store.json"
STORE_FORMAT: Final = 1
POINTER: Final = "pointer.json"
VERSION: Final = "version.json"
BUNDLE: Final = "bundle"  # the bundle in a version's directory, and in a run directory
REPAIR: Final = "repair"  # the move of a roll-back that replaced a damaged pointer
MAX_MOVES: Final = 1000  # that the pointer remembers; its file is read at every start of a server

T = TypeVar("T", bound=BaseModel)


class _DamagedError(BundleError):
    """A file of the store has not the content that it was written with."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Version(_Frozen):
    """What version.json says of a published bundle."""

    version: str
    published_at: str  # UTC, ISO 8601, to the microsecond, so that versions have an order
    run: str  # name of the run directory
    dataset: str
    dataset_fingerprint: str
    created_at: str  # of the bundle
    size_bytes: int
    metrics: Mapping[str, float] = Field(default_factory=dict)  # "warm ndcg@10" -> value, before the refit
    newest_event: int | None = None  # microseconds since the epoch; None without a clock or without histories
    failed: tuple[str, ...] | None = None  # bars of the gate that failed; None: the gate was not reached
    registered: str | None = None  # name and number in a registry, as "name/3"


class Move(_Frozen):
    """One move of the pointer."""

    at: str
    action: str  # "publish", "force", "rollback", or REPAIR
    version: str
    before: str | None
    reason: str = ""


class Pointer(_Frozen):
    """Which version is served, and which one a roll-back leads to."""

    current: str | None = None
    previous: str | None = None
    moves: tuple[Move, ...] = ()


class Pruned(_Frozen):
    """What a prune removed."""

    versions: tuple[str, ...]
    freed_bytes: int  # of blobs and of the files beside the bundles


class Store:
    """The versions in one directory. Reading needs no lock; a write is inside `with store.writing():`."""

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self._drafts = self.path / "drafts"
        self._versions = self.path / "versions"
        self._blobs = Blobs(self.path / "blobs", self._drafts)

    @classmethod
    def open(cls, path: Path) -> "Store":
        """The store in `path`. Raises `BundleError` where there is none, or one of another format."""
        store = cls(path)
        if not is_store(store.path):
            raise BundleError(
                f"{path} is no store: {STORE} is missing; make one with: recsys publish RUN --store {path}"
            )
        try:
            found = json.loads((store.path / STORE).read_text("utf-8"))["format"]
        except (ValueError, LookupError, TypeError):
            found = None
        if found != STORE_FORMAT:
            raise BundleError(
                f"{store.path / STORE}: format {found!r}; this recsys reads {STORE_FORMAT}. "
                "Use the version of recsys that wrote it, or publish into a new --store"
            )
        return store

    @classmethod
    def create(cls, path: Path) -> "Store":
        """The store in `path`, made where there is none; `BundleError` where other files are there."""
        cls.check_place(path)
        store = cls(path)
        if not is_store(store.path):
            store.path.mkdir(parents=True, exist_ok=True)
            _write_json(store.path / STORE, {"format": STORE_FORMAT})
        return cls.open(path)

    @staticmethod
    def check_place(path: Path) -> None:
        """Raise `BundleError` for a file, and for a folder of other files than a store."""
        if path.exists() and not is_store(path) and (not path.is_dir() or any(path.iterdir())):
            raise BundleError(f"{path} is not empty and no store; name another --store")

    @property
    def pointer(self) -> Pointer:
        """Raises `BundleError` where the file is damaged; `roll_back` to a named version replaces it."""
        path = self.path / POINTER
        store = quote(str(self.path))
        remedy = (
            f"write a new one with: recsys rollback {store} --to VERSION, one of: recsys versions {store}"
        )
        return _read(path, Pointer, remedy) if path.exists() else Pointer()

    def directory(self, version: str) -> Path:
        """The directory of `version`: its bundle and the files beside it."""
        return self._versions / version

    def bundle_path(self, version: str) -> Path:
        return self.directory(version) / BUNDLE

    def versions(self) -> list[Version]:
        """Every version, the newest first. Raises `BundleError` for a damaged version.json."""
        files = self._versions.glob(f"*/{VERSION}") if self._versions.is_dir() else ()
        return sorted(
            (_version_in(file.parent) for file in files), key=lambda each: each.published_at, reverse=True
        )

    def version(self, name: str) -> Version:
        """The version `name`, which may be cut short. Raises `BundleError` where it is none or not unique."""
        names = [each.version for each in self.versions()]
        found = [each for each in names if each.startswith(name)] if name else []
        if len(found) != 1:
            hint = f"several begin so: {', '.join(found)}" if found else did_you_mean(name, names)
            raise BundleError(f"{self.path} has no version {name!r}; {hint}")
        return _version_in(self.directory(found[0]))

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Keep other writers out, and remove what a killed one left.

        Raises `LockedError` if another process is writing.
        """
        with exclusive(self.path / STORE, what=f"the store {self.path}", remedy="wait for it"):
            self._clear_drafts()
            self._drafts.mkdir(exist_ok=True)
            self._versions.mkdir(exist_ok=True)
            try:
                yield
            finally:
                self._clear_drafts()

    def add(
        self, source: Path, record: Callable[[Bundle], Version], beside: Mapping[str, Path] = {}
    ) -> Version:
        """Put the bundle in `source` into the store; the pointer stays where it is.

        `record` makes the version's description; `beside` are files to copy beside the bundle, by name. Of a
        version that is there already only damaged files are replaced. Raises `BundleError` for a bundle that
        is not whole.
        """
        bundle = Bundle.open(source)
        target = self.directory(bundle.version)
        if (target / VERSION).is_file():
            self._repair(target / BUNDLE, bundle)
            return _version_in(target)
        draft = self._drafts / bundle.version
        files = bundle.manifest.files
        for name, sha256 in files.items():
            self._blobs.place(self._blobs.add(bundle.path / name, sha256), draft / BUNDLE / name)
        shutil.copyfile(bundle.path / MANIFEST, draft / BUNDLE / MANIFEST)
        for name, path in beside.items():
            shutil.copyfile(path, draft / name)
        version = record(bundle)
        _write_json(draft / VERSION, version.model_dump(mode="json"))
        Bundle.open(draft / BUNDLE)
        sync(draft)
        os.replace(draft, target)
        sync_path(self._versions)
        return version

    def _repair(self, target: Path, bundle: Bundle) -> None:
        """Replace each damaged file of a stored bundle by the one of `bundle`, the same version."""
        for name, sha256 in bundle.manifest.files.items():
            if not (target / name).is_file() or sha256_of(target / name) != sha256:
                draft = self._drafts / "repaired"
                self._blobs.place(self._blobs.add(bundle.path / name, sha256), draft / name)
                (target / name).parent.mkdir(parents=True, exist_ok=True)
                os.replace(draft / name, target / name)

    def update(self, version: Version) -> None:
        """Write the description of a version anew."""
        _write_json(self.directory(version.version) / VERSION, version.model_dump(mode="json"))

    def point_to(self, name: str, *, action: str, reason: str = "") -> Pointer:
        """Make `name` the current version; the one that was current is the previous one.

        A version that is current already stays so. Raises `BundleError` where its files are damaged.
        """
        before = self.pointer
        if before.current == name:
            return before
        return self._move(before, name, action, reason)

    def _move(self, before: Pointer, name: str, action: str, reason: str) -> Pointer:
        """The pointer `before` moved to `name`, after a check of the files of that version."""
        Bundle.open(self.bundle_path(name))
        move = Move(at=now(), action=action, version=name, before=before.current, reason=reason)
        pointer = Pointer(current=name, previous=before.current, moves=(*before.moves, move)[-MAX_MOVES:])
        _write_json(self.path / POINTER, pointer.model_dump(mode="json"))
        return pointer

    def roll_back(self, to: str | None = None, *, reason: str = "") -> Pointer:
        """Make `to`, by default the previous version, the current one.

        With `to` a damaged pointer is replaced: the previous version and the moves are lost, and the move has
        the action `REPAIR`. Raises `BundleError` where there is no such version or its files are damaged;
        then nothing moves.
        """
        try:
            pointer = self.pointer
        except _DamagedError:
            if to is None:
                raise
            return self._move(Pointer(), self.version(to).version, REPAIR, reason)
        name = pointer.previous if to is None else self.version(to).version
        if name is None:
            raise BundleError(
                f"{self.path} has no previous version; choose one of: recsys versions {self.path}"
            )
        if name == pointer.current:
            raise BundleError(f"{name} is the current version of {self.path} already")
        if not self.directory(name).is_dir():
            raise BundleError(
                f"{self.path}: the version {name} is gone; choose one of: recsys versions {self.path}"
            )
        return self.point_to(name, action="rollback", reason=reason)

    def prune(self, keep: int) -> Pruned:
        """Remove all but the newest `keep` versions, the current and the previous one.

        Blobs go that no version has any more. Raises `BundleError` where a version cannot be read, before
        anything is removed: its blobs would be unknown.
        """
        if keep < 0:
            raise DataError(f"--keep {keep}: at least 0")
        versions, pointer = self.versions(), self.pointer
        kept = {each.version for each in versions[:keep]} | {pointer.current, pointer.previous}
        manifests = {each.version: read_manifest(self.bundle_path(each.version)) for each in versions}
        removed = [each.version for each in versions if each.version not in kept]
        freed = 0
        for name in removed:
            gone = self._drafts / name
            os.replace(self.directory(name), gone)
            freed += sum(file.stat().st_size for file in gone.iterdir() if file.is_file())
            shutil.rmtree(gone)
        used = {
            sum_ for name, each in manifests.items() if name not in removed for sum_ in each.files.values()
        }
        return Pruned(versions=tuple(removed), freed_bytes=freed + self._blobs.sweep(used))

    def _clear_drafts(self) -> None:
        shutil.rmtree(self._drafts, ignore_errors=True)


def is_store(path: Path) -> bool:
    return (path / STORE).is_file()


def bundle_directory(path: Path) -> Path:
    """The bundle at `path`: `path` itself, the bundle of a run or version, or the current one of a store.

    Raises `BundleError` for a store without a current version.
    """
    if is_store(path):
        current = Store.open(path).pointer.current
        if current is None:
            raise BundleError(f"the store {path} has no current version; recsys versions {path} lists all")
        return Store(path).bundle_path(current)
    is_run = not (path / MANIFEST).exists() and (path / BUNDLE / MANIFEST).is_file()
    return path / BUNDLE if is_run else path


def state_directory(bundle: Path) -> Path:
    """Where the users' state lies by default: beside the bundle, or in the store that holds the bundle.

    All versions of a store share the state, so that an erasure holds for those that come later.
    """
    beside = bundle.resolve().parent
    store = beside.parent.parent
    return store if is_store(store) and Store(store).directory(beside.name) == beside else beside


def now() -> str:
    """The time, UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def _version_in(directory: Path) -> Version:
    remedy = f"move {directory} out of the store and publish its run again"
    return _read(directory / VERSION, Version, remedy)


def _read(path: Path, kind: type[T], remedy: str) -> T:
    try:
        return kind.model_validate_json(path.read_bytes())
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror}") from None
    except ValidationError as error:
        raise _DamagedError(f"{path} is damaged ({problems_of(error)}); {remedy}") from None


def _write_json(path: Path, values: Mapping[str, Any]) -> None:
    """The file appears whole or not at all, also where the machine stops."""
    replace_text(path, json.dumps(values, indent=2, ensure_ascii=False) + "\n")
