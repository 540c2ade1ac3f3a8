"""The files of a bundle: the required names, and the comparison of names and hashes with the manifest.

Layout, with N rows of the catalogue (the two reserved ones included), T tokens, D width:
    manifest.json        `Manifest`
    item_tower.onnx  user_tower.onnx  ranker.onnx (where there is one)
    item_ids.npy         N - 2 external ids, in the order of the rows from 2 of every array
    item_vectors.npy     float32 [N, D]        item_tokens.npy  float16 [N, T, D]
    token_mask.npy       bool [N, T]           catalogue.parquet  N - 2 rows
    maps.json            external ids of event kinds and of the users' fields
    index/               a saved index (optional)
    sources/             the candidate sources (where the ranker reads any)
    cold_ranker/         weights and evidence of the cold ranker (where there is one)
    search/              the search part (optional), see recsys/search/files.py
A bundle without a recommender has item_ids.npy, catalogue.parquet and search/.
"""

from pathlib import Path, PurePosixPath
from typing import Final

from recsys.bundle.manifest import MANIFEST, REMEDY, Manifest
from recsys.checksums import files_below, sha256_of
from recsys.errors import BundleError

REQUIRED: Final = ("item_ids.npy", "catalogue.parquet")
REQUIRED_OF_RECOMMENDER: Final = (
    "user_tower.onnx",
    "item_vectors.npy",
    "item_tokens.npy",
    "token_mask.npy",
    "maps.json",
)
REQUIRED_OF_SEARCH: Final = ("search/has_words.npy",)


def check_names(path: Path, manifest: Manifest) -> None:
    """Raises `BundleError` if a file of `manifest` is missing in `path`, or a file is not in `manifest`."""
    for name in manifest.files:
        parts = PurePosixPath(name)
        if parts.is_absolute() or ".." in parts.parts:
            raise BundleError(f"{path / MANIFEST}: file {name!r} is outside the bundle")
    required = [*REQUIRED]
    required += REQUIRED_OF_RECOMMENDER if manifest.recommender is not None else ()
    required += REQUIRED_OF_SEARCH if manifest.search is not None else ()
    for name in sorted({*required, *manifest.files}):
        if name not in manifest.files:
            raise BundleError(f"{path / MANIFEST} names no {name}, which such a bundle has")
        if not (path / name).is_file():
            raise BundleError(f"{path / name} is missing; expected sha256 {manifest.files[name]}; {REMEDY}")
    unknown = sorted(set(files_below(path)) - set(manifest.files) - {MANIFEST})
    if unknown:
        raise BundleError(f"{path / unknown[0]} is not in the manifest; a bundle is never altered in place")


def check_sums(path: Path, manifest: Manifest) -> None:
    """Raises `BundleError` for a file with another sha256 than in `manifest`."""
    for name, expected in manifest.files.items():
        found = sha256_of(path / name)
        if found != expected:
            raise BundleError(
                f"{path / name} was altered: expected sha256 {expected}, found {found}; {REMEDY}"
            )
