"""Parts that every bundle has: the table of its items, and the encoders that queries and new items need."""

import shutil
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Final

import polars as pl

from features.conversion.registry import ensure_encoder
from features.dataset import Dataset
from features.encoders import EncoderSpec, Kind
from features.extraction import copy_transcriber
from recsys.arrays import Floats
from recsys.columns import Columns
from recsys.config import Config
from recsys.ids import NUM_RESERVED
from recsys.item_features import ItemFeatures
from recsys.modalities import encoded_by

ENCODERS: Final = "encoders"
TRANSCRIBER: Final = "transcriber"
_KINDS: Final[tuple[Kind, ...]] = ("text", "image", "audio")


def write_catalogue(
    directory: Path,
    dataset: Dataset,
    features: ItemFeatures,
    reviewers: Sequence[str | None] | None,
    recent_popularity: Floats | None = None,
) -> None:
    """Write catalogue.parquet and item_ids.npy."""
    others = [
        name
        for name in dataset.items.columns
        if name.startswith((Columns.CATEGORY_PREFIX, Columns.NUMERIC_PREFIX))
        or name in (Columns.CREATED_AT, Columns.OWNER)
    ]
    # A bundle has no path of the machine that made it: paths of media are relative to a numbered folder.
    catalogue = dataset.items.select(Columns.ITEM, Columns.TITLE, *others).with_columns(
        *dataset.media.first_media(dataset.items),
        pl.Series(Columns.POPULARITY, features.popularity[NUM_RESERVED:]),
        pl.Series(Columns.TRAINED, features.trained[NUM_RESERVED:]),
        pl.Series(Columns.REVIEWERS, reviewers or [None] * len(features.item_ids), dtype=pl.String),
    )
    if recent_popularity is not None:
        recent = pl.Series(Columns.RECENT_POPULARITY, recent_popularity[NUM_RESERVED:])
        catalogue = catalogue.with_columns(recent)
    if features.imputed:
        catalogue = catalogue.with_columns(_imputed(features))
    catalogue.write_parquet(directory / "catalogue.parquet")
    features.item_ids.save(directory / "item_ids.npy")


def _imputed(features: ItemFeatures) -> pl.Series:
    """The modalities of each item whose vectors are imputed. List(String)."""
    names = [
        [name for name, has_N in features.imputed.items() if has_N[item]]
        for item in range(NUM_RESERVED, features.size)
    ]
    return pl.Series(Columns.IMPUTED, names, dtype=pl.List(pl.String))


def write_encoders(directory: Path, modalities: Collection[str], config: Config) -> dict[str, str]:
    """Copy the encoders of `modalities`, and with search the transcriber; kind -> path in the bundle.

    With search the encoders that share a space with one of them are copied, too: words find pictures by the
    text side of CLIP in a catalogue without texts.
    """
    names = {kind: getattr(config.encoders, kind) for kind in _KINDS}
    needed = [kind for kind in _KINDS if not set(modalities).isdisjoint(encoded_by(kind))]
    paths = {kind: ensure_encoder(names[kind], kind=kind) for kind in needed}
    if config.search.enabled:
        spaces = {EncoderSpec.read(path).space for path in paths.values()} - {None}
        for kind in _KINDS if spaces else ():
            if kind not in paths:
                path = ensure_encoder(names[kind], kind=kind)
                paths |= {kind: path} if EncoderSpec.read(path).space in spaces else {}
    for kind, path in paths.items():
        shutil.copytree(path, directory / ENCODERS / kind)
    written = {str(kind): f"{ENCODERS}/{kind}" for kind in paths}
    if config.search.enabled and config.search.speech:
        target = directory / ENCODERS / TRANSCRIBER
        if copy_transcriber(config.encoders.transcriber, target):
            written[TRANSCRIBER] = f"{ENCODERS}/{TRANSCRIBER}"
    return written
