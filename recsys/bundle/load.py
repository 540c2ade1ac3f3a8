"""Opening a bundle: its files are checked, and a damaged or altered bundle is refused.

Bundle.open(run / "bundle")             checks the format version and the sha256 of every file
"""

import json
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import polars as pl

from recsys.arrays import Bools, Floats
from recsys.bundle.format import check_names, check_sums
from recsys.bundle.manifest import MANIFEST, REMEDY, Manifest, read_manifest
from recsys.checksums import sha256_of
from recsys.columns import Columns
from recsys.errors import BundleError
from recsys.history import SequenceSchema
from recsys.ids import NUM_RESERVED, IdMap
from recsys.retrieval import Owners, RecommenderSettings

T = TypeVar("T")
_WITHOUT_RECOMMENDER = (
    "is a search bundle of items alone and cannot recommend; make one that can with: recsys run DATASET "
    "--out RUN"
)


class Bundle:
    """A checked bundle. Arrays are mapped into memory at their first use."""

    def __init__(self, path: Path, manifest: Manifest, version: str) -> None:
        self.path = path
        self.manifest = manifest
        self.version = version  # the first 12 digits of the manifest's sha256

    @classmethod
    def open(cls, path: Path, *, verify: bool = True) -> "Bundle":
        """The bundle in `path`; `verify=False` skips the comparison of the hashes.

        Raises `BundleError` for a missing or malformed manifest, another format version, and for a file
        that is missing, not in the manifest or altered, with the name of the file and both hashes.
        """
        path = Path(path)
        manifest = read_manifest(path)
        check_names(path, manifest)
        if verify:
            check_sums(path, manifest)
        bundle = cls(path, manifest, sha256_of(path / MANIFEST)[:12])
        bundle._check_shapes()
        return bundle

    def with_items(
        self, item_ids: IdMap, catalogue: pl.DataFrame, arrays: Mapping[str, npt.NDArray[Any]]
    ) -> "Bundle":
        """A copy with other items, for a served catalogue that changes; the files stay those of the bundle.

        `catalogue` may have a Boolean column "removed". `arrays` are `item_vectors`, `item_tokens` and
        `token_mask` of a bundle that recommends.
        """
        other = Bundle(self.path, self.manifest, self.version)
        maps = {"event_ids": self.event_ids, "profile_ids": self.profile_ids, "_maps": self._maps}
        own = {"item_ids": item_ids, "catalogue": catalogue, **maps, **arrays}
        other.__dict__.update(own)  # in place of what the cached properties read
        return other

    def graph(self, name: str) -> Path | None:
        """Path of the graph `name` ("user_tower", "ranker", ...), None where the bundle has none."""
        return self.path / f"{name}.onnx" if f"{name}.onnx" in self.manifest.files else None

    @property
    def sequence_schema(self) -> SequenceSchema:
        """The inputs of the user tower; raises `BundleError` for a bundle of items alone."""
        if self.manifest.sequence_schema is None:
            raise BundleError(f"{self.path} {_WITHOUT_RECOMMENDER}")
        return self.manifest.sequence_schema

    @property
    def recommender(self) -> RecommenderSettings:
        """The settings of the recommender; raises `BundleError` for a bundle of items alone."""
        if self.manifest.recommender is None:
            raise BundleError(f"{self.path} {_WITHOUT_RECOMMENDER}")
        return self.manifest.recommender

    @property
    def search_directory(self) -> Path | None:
        return self.path / "search" if self.manifest.search is not None else None

    @property
    def index_directory(self) -> Path | None:
        return self.path / "index" if "index/index.json" in self.manifest.files else None

    @property
    def sources_directory(self) -> Path | None:
        return self.path / "sources" if "sources/sources.json" in self.manifest.files else None

    @property
    def cold_ranker_directory(self) -> Path | None:
        return self.path / "cold_ranker" if "cold_ranker/cold_ranker.json" in self.manifest.files else None

    @cached_property
    def item_ids(self) -> IdMap:
        return self._read("item_ids.npy", IdMap.load)

    @cached_property
    def item_vectors(self) -> Floats:
        """Item vectors, of unit length; those of cold items may be shorter. Shape [N, D], read-only."""
        return self._array("item_vectors.npy")

    @cached_property
    def item_tokens(self) -> npt.NDArray[np.float16]:
        """Projected modality tokens. Shape [N, T, D], read-only."""
        return self._array("item_tokens.npy")

    @cached_property
    def token_mask(self) -> Bools:
        """Presence of the tokens of each item. Shape [N, T], read-only."""
        return self._array("token_mask.npy")

    @cached_property
    def catalogue(self) -> pl.DataFrame:
        """item_id, title, image, "cat:<field>" lists, popularity, trained, reviewers; row i is item i + 2.

        It has a column owner where the dataset names one.
        """
        return self._read("catalogue.parquet", _read_catalogue)

    @cached_property
    def trained(self) -> Bools:
        """Whether an item has training events. Shape [N]; False for the reserved rows."""
        return np.concatenate([np.zeros(NUM_RESERVED, np.bool_), self.catalogue[Columns.TRAINED].to_numpy()])

    @cached_property
    def popularity(self) -> Floats:
        """Positive training events of each item. Shape [N]; 0 for the reserved rows."""
        counts = self.catalogue[Columns.POPULARITY].to_numpy()
        return np.concatenate([np.zeros(NUM_RESERVED), counts]).astype(np.float32)

    @property
    def recent_popularity(self) -> Floats | None:
        """A decayed sum of these events. Shape [N]; None where no event counts more than another."""
        if Columns.RECENT_POPULARITY not in self.catalogue.columns:
            return None
        sums = self.catalogue[Columns.RECENT_POPULARITY].to_numpy()
        return np.concatenate([np.zeros(NUM_RESERVED), sums]).astype(np.float32)

    @property
    def reviewers(self) -> list[str | None]:
        """The annotation of each item by its reviews: "praise", "enthusiasm" or None."""
        known = Columns.REVIEWERS in self.catalogue.columns
        return self.catalogue[Columns.REVIEWERS].to_list() if known else [None] * self.catalogue.height

    @cached_property
    def owners(self) -> Owners:
        """Who may see which item."""
        catalogue = self.catalogue
        known, removed = Columns.OWNER in catalogue.columns, None
        if Columns.REMOVED in catalogue.columns:
            removed = catalogue[Columns.REMOVED].to_numpy()
        return Owners(catalogue[Columns.OWNER].to_list() if known else [None] * catalogue.height, removed)

    @property
    def imputed(self) -> list[list[str]]:
        """The modalities of each item whose vectors are imputed."""
        known = Columns.IMPUTED in self.catalogue.columns
        return self.catalogue[Columns.IMPUTED].to_list() if known else [[]] * self.catalogue.height

    @cached_property
    def event_ids(self) -> IdMap:
        return IdMap(self._maps["events"])

    @cached_property
    def profile_ids(self) -> Mapping[str, IdMap]:
        return {name: IdMap(ids) for name, ids in self._maps["profile"].items()}

    @cached_property
    def category_ids(self) -> Mapping[str, IdMap]:
        """The vocabularies of the item tower's category fields."""
        return {name: IdMap(ids) for name, ids in self._maps.get("categories", {}).items()}

    @cached_property
    def _maps(self) -> dict[str, Any]:
        if self.manifest.recommender is None:  # no user and no event was read
            return {"events": [], "profile": {}}
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
        if self.manifest.recommender is not None:
            self._check_recommender()
        listed = self.catalogue[Columns.ITEM].to_list()
        if listed != list(self.item_ids.external):
            raise BundleError(
                f"{self.path / 'catalogue.parquet'}: its items are not those of item_ids.npy, in order"
            )

    def _check_recommender(self) -> None:
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
        assert self._maps is not None, (
            "maps.json is read here, so that a damaged one is refused when the bundle is opened"
        )


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
