"""The bundle: what serving needs, in one directory that is whole and unaltered or refused.

    write_bundle(run / "bundle", fill)      fill(directory) writes the files, returns the manifest's values
    Bundle.open(run / "bundle")             checks the format version and the sha256 of every file

Layout, N rows of the catalogue with the two reserved ones, T tokens, D width:
    manifest.json        `Manifest`
    item_tower.onnx  user_tower.onnx  ranker.onnx (where there is one)
    item_ids.npy         external ids, the order of every array but for the two reserved rows
    item_vectors.npy     float32 [N, D]        item_tokens.npy  float16 [N, T, D]
    token_mask.npy       bool [N, T]           catalogue.parquet  N - 2 rows
    maps.json            external ids of event kinds and of the users' fields
    index/               a saved index (optional)
"""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, Final, TypeVar

import numpy as np
import numpy.typing as npt
import polars as pl
from pydantic import BaseModel, ConfigDict, Field, ValidationError

import recsys
from recsys.arrays import Bools, Floats
from recsys.checksums import files_below, sha256_of, sync
from recsys.columns import Columns
from recsys.errors import BundleError
from recsys.history import SequenceSchema
from recsys.ids import NUM_RESERVED, IdMap

FORMAT_VERSION: Final = 1
MANIFEST: Final = "manifest.json"
REMEDY: Final = "copy the bundle again from where it was whole, or export it again"
REQUIRED: Final = (
    "user_tower.onnx",
    "item_ids.npy",
    "item_vectors.npy",
    "item_tokens.npy",
    "token_mask.npy",
    "catalogue.parquet",
    "maps.json",
)


T = TypeVar("T")


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DatasetInfo(_Frozen):
    name: str
    fingerprint: str  # hash of the tables that the model was fitted on


class TensorInfo(_Frozen):
    dtype: str
    shape: tuple[int | str | None, ...]  # a dynamic axis is a name or None


class GraphSignature(_Frozen):
    inputs: Mapping[str, TensorInfo]
    outputs: Mapping[str, TensorInfo]


class Manifest(_Frozen):
    """What a bundle says of itself."""

    format_version: int
    recsys_version: str
    created_at: str  # UTC, ISO 8601
    config: Mapping[str, Any]
    dataset: DatasetInfo
    refit: bool  # True: trained once more on everything after the evaluation
    refit_description: str
    metrics: Mapping[str, Any]  # of the model before the refit
    sequence_schema: SequenceSchema
    modalities: tuple[str, ...]  # token names, the order of the axis T
    encoders: Mapping[str, str] = Field(default_factory=dict)  # kind -> directory in the bundle
    graphs: Mapping[str, GraphSignature]
    temperature: float = Field(gt=0)
    cold_bias: float
    cold_from: int = Field(default=1, ge=1)
    num_candidates: int = Field(ge=1)
    history_length: int = Field(ge=1)
    source_candidates: int = Field(default=0, ge=0)
    parity: Mapping[str, float]  # largest differences between torch and the graphs, by output
    files: Mapping[str, str]  # relative path -> sha256


class Bundle:
    """A bundle that was checked when it was opened; arrays are mapped into memory when first asked for."""

    def __init__(self, path: Path, manifest: Manifest, version: str) -> None:
        self.path = path
        self.manifest = manifest
        self.version = version  # the first 12 digits of the manifest's sha256

    @classmethod
    def open(cls, path: Path, *, verify: bool = True) -> "Bundle":
        """The bundle in `path`; `verify=False` skips only the sums of the files.

        Raises `BundleError` for a missing or malformed manifest, a newer format version, and for a file
        that is missing, unknown to the manifest or altered, naming the file and both sums.
        """
        path = Path(path)
        manifest = _read_manifest(path)
        _check_names(path, manifest)
        if verify:
            _check_sums(path, manifest)
        bundle = cls(path, manifest, sha256_of(path / MANIFEST)[:12])
        bundle._check_shapes()
        return bundle

    def graph(self, name: str) -> Path | None:
        """Path of the graph `name` ("user_tower", "ranker", ...), None where the bundle has none."""
        return self.path / f"{name}.onnx" if f"{name}.onnx" in self.manifest.files else None

    @property
    def index_directory(self) -> Path | None:
        return self.path / "index" if "index/index.json" in self.manifest.files else None

    @property
    def sources_directory(self) -> Path | None:
        return self.path / "sources" if "sources/sources.json" in self.manifest.files else None

    @cached_property
    def item_ids(self) -> IdMap:
        return self._read("item_ids.npy", IdMap.load)

    @cached_property
    def item_vectors(self) -> Floats:
        """Item vectors, of unit length, new items' shorter. Shape [N, D], read-only."""
        return self._array("item_vectors.npy")

    @cached_property
    def item_tokens(self) -> npt.NDArray[np.float16]:
        """Projected modality tokens. Shape [N, T, D], read-only."""
        return self._array("item_tokens.npy")

    @cached_property
    def token_mask(self) -> Bools:
        """Which tokens an item has. Shape [N, T], read-only."""
        return self._array("token_mask.npy")

    @cached_property
    def catalogue(self) -> pl.DataFrame:
        """item_id, title, image, "cat:<field>" lists, popularity, trained, reviewers; row i is item i + 2."""
        return self._read("catalogue.parquet", _read_catalogue)

    @cached_property
    def trained(self) -> Bools:
        """Which items had training events. Shape [N]; False for the reserved rows."""
        return np.concatenate([np.zeros(NUM_RESERVED, np.bool_), self.catalogue[Columns.TRAINED].to_numpy()])

    @cached_property
    def popularity(self) -> Floats:
        """Positive training events of each item. Shape [N]; 0 for the reserved rows."""
        counts = self.catalogue[Columns.POPULARITY].to_numpy()
        return np.concatenate([np.zeros(NUM_RESERVED), counts]).astype(np.float32)

    @property
    def reviewers(self) -> list[str | None]:
        """What is sure of each item's reviewers, "praise" or "enthusiasm"; None in bundles of before, too."""
        known = Columns.REVIEWERS in self.catalogue.columns
        return self.catalogue[Columns.REVIEWERS].to_list() if known else [None] * self.catalogue.height

    @cached_property
    def event_ids(self) -> IdMap:
        return IdMap(self._maps["events"])

    @cached_property
    def profile_ids(self) -> Mapping[str, IdMap]:
        return {name: IdMap(ids) for name, ids in self._maps["profile"].items()}

    @cached_property
    def _maps(self) -> dict[str, Any]:
        maps: dict[str, Any] = self._read("maps.json", _read_maps)
        return maps

    def _array(self, name: str) -> npt.NDArray[Any]:
        return self._read(name, lambda path: np.load(path, mmap_mode="r", allow_pickle=False))

    def _read(self, name: str, read: Callable[[Path], T]) -> T:
        try:
            return read(self.path / name)
        except (OSError, EOFError, ValueError, LookupError, pl.exceptions.PolarsError) as error:
            raise BundleError(f"{self.path / name} cannot be read: {_first_line(error)}; {REMEDY}") from None

    def _check_shapes(self) -> None:
        num_items, dim = self.item_ids.size, (self.item_vectors.shape or (0,))[-1]
        num_tokens = len(self.manifest.modalities)
        expected: dict[str, tuple[npt.NDArray[Any], type[np.generic], tuple[int, ...]]] = {
            "item_vectors.npy": (self.item_vectors, np.float32, (num_items, dim)),
            "item_tokens.npy": (self.item_tokens, np.float16, (num_items, num_tokens, dim)),
            "token_mask.npy": (self.token_mask, np.bool_, (num_items, num_tokens)),
        }
        for name, (array, dtype, shape) in expected.items():
            if array.shape != shape or array.dtype != dtype:
                raise BundleError(
                    f"{self.path / name} is {array.dtype}{list(array.shape)}; the manifest and item_ids.npy "
                    f"ask for {np.dtype(dtype)}{list(shape)}"
                )
        assert self._maps is not None, "read now, so that a damaged one is refused at once"
        listed = self.catalogue[Columns.ITEM].to_list()
        if listed != list(self.item_ids.external):
            raise BundleError(
                f"{self.path / 'catalogue.parquet'}: its items are not those of item_ids.npy, in order"
            )


def write_bundle(target: Path, fill: Callable[[Path], Mapping[str, Any]]) -> Bundle:
    """Write, check and put in place a bundle at `target`; what stood there before is replaced at the end.

    `fill` gets an empty directory beside `target`, writes the files into it and returns the manifest's
    values but for format_version, recsys_version, created_at and files. If it fails, or what it wrote is
    not a bundle (`BundleError`), `target` stays as it was.
    """
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    workshop = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        draft = workshop / "new"
        draft.mkdir()
        values = fill(draft)
        _write_manifest(draft, values)
        sync(draft)
        Bundle.open(draft)
        _put_in_place(draft, target, aside=workshop / "old")
    finally:
        shutil.rmtree(workshop, ignore_errors=True)
    return Bundle.open(target, verify=False)


def _write_manifest(directory: Path, values: Mapping[str, Any]) -> None:
    files = {name: sha256_of(directory / name) for name in files_below(directory)}
    described = dict(values) | {
        "format_version": FORMAT_VERSION,
        "recsys_version": recsys.__version__,
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "files": files,
    }
    try:
        manifest = Manifest.model_validate(described)
    except ValidationError as error:
        raise BundleError(f"this is no manifest: {_problems(error)}") from None
    (directory / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n", "utf-8")


def _put_in_place(draft: Path, target: Path, *, aside: Path) -> None:
    had_one = target.exists()
    if had_one:
        target.rename(aside)
    try:
        draft.rename(target)
    except OSError:
        if had_one:
            aside.rename(target)
        raise
    handle = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(handle)  # the new name itself
    finally:
        os.close(handle)


def _read_manifest(path: Path) -> Manifest:
    file = path / MANIFEST
    try:
        values = json.loads(file.read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise BundleError(f"{path} is no bundle: {MANIFEST} is missing") from None
    except OSError as error:
        raise BundleError(f"{file} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:  # bad JSON, bad UTF-8, numbers and lists without end
        raise BundleError(f"{file} is not JSON: {error}; {REMEDY}") from None
    version = values.get("format_version") if isinstance(values, dict) else None
    # Before the rest: a newer manifest may have other fields.
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise BundleError(
            f"{file}: format version {version}; this recsys {recsys.__version__} reads up to "
            f"{FORMAT_VERSION}. Upgrade recsys, or export the bundle again with this version"
        )
    try:
        return Manifest.model_validate(values)
    except ValidationError as error:
        raise BundleError(f"{file}: {_problems(error)}") from None


def _problems(error: ValidationError) -> str:
    return "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0]


def _read_maps(path: Path) -> dict[str, Any]:
    maps: dict[str, Any] = json.loads(path.read_text("utf-8"))
    lists = [maps["events"], *maps["profile"].values()] if isinstance(maps, dict) else []
    if not lists or not all(isinstance(name, str) for names in lists for name in names):
        raise ValueError("not lists of names under 'events' and 'profile'")
    return maps


def _read_catalogue(path: Path) -> pl.DataFrame:
    catalogue = pl.read_parquet(path, glob=False)
    for name in (Columns.ITEM, Columns.TITLE, Columns.POPULARITY, Columns.TRAINED):
        if name not in catalogue.columns:
            raise ValueError(f"no column {name!r}")
    return catalogue


def _check_names(path: Path, manifest: Manifest) -> None:
    for name in manifest.files:
        parts = PurePosixPath(name)
        if parts.is_absolute() or ".." in parts.parts:
            raise BundleError(f"{path / MANIFEST}: file {name!r} is outside the bundle")
    for name in sorted({*REQUIRED, *manifest.files}):
        if name not in manifest.files:
            raise BundleError(f"{path / MANIFEST} names no {name}, which every bundle has")
        if not (path / name).is_file():
            raise BundleError(f"{path / name} is missing; expected sha256 {manifest.files[name]}; {REMEDY}")
    unknown = sorted(set(files_below(path)) - set(manifest.files) - {MANIFEST})
    if unknown:
        raise BundleError(f"{path / unknown[0]} is not in the manifest; a bundle is never altered in place")


def _check_sums(path: Path, manifest: Manifest) -> None:
    for name, expected in manifest.files.items():
        found = sha256_of(path / name)
        if found != expected:
            raise BundleError(
                f"{path / name} was altered: expected sha256 {expected}, found {found}; {REMEDY}"
            )
