"""The search part of a bundle: lexical index, legs, alignment heads and settings of search."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from features.dataset import Dataset, MediaVectors
from features.documents import item_documents
from features.encoders import EncoderSpec
from recsys.config import Config
from recsys.ids import NUM_RESERVED
from recsys.item_features import ItemFeatures
from recsys.modalities import BY_NAME, EncoderKind
from recsys.progress import Progress, silent
from recsys.search import (
    LexicalIndex,
    LexicalSettings,
    SearchSettings,
    build_legs,
    items_with_words,
    save_search,
)
from training.alignment import FittedAlignment, fit_alignment
from training.export.search_fit import fit_settings

SEARCH = "search"  # the folder of the search part in a bundle


@dataclass(frozen=True)
class Searchable:
    """What is searched: the items of `features`, with the words of the dataset."""

    dataset: Dataset
    features: ItemFeatures
    vectors: MediaVectors  # for transcripts
    reviews: pl.DataFrame  # rows of `dataset.reviews` that may be read


def write_search_part(
    directory: Path,
    searchable: Searchable,
    config: Config,
    encoders: Mapping[str, str],
    *,
    progress: Progress = silent,
) -> tuple[SearchSettings, dict[str, float]]:
    """Write the folder `search` into the bundle `directory`, whose `encoders` are there already.

    Returns the settings for the manifest and the largest difference of each alignment head to torch.
    """
    features = searchable.features
    aligned = _aligned(directory, features, config, encoders, progress)
    legs = build_legs(features, aligned if aligned.kinds else None)
    documents = list(
        item_documents(
            searchable.dataset,
            features.item_ids,
            reviews=searchable.reviews,
            vectors=searchable.vectors,
            popularity=features.popularity,
        )
    )
    parity: dict[str, float] = {}

    def write_heads(folder: Path) -> None:
        parity.update({f"alignment.{kind}": value for kind, value in aligned.write(folder).items()})

    progress("lexical index", 0, 1)
    LexicalIndex.build(documents, LexicalSettings(), directory / SEARCH / "lexical")
    progress("lexical index", 1, 1)
    save_search(
        directory / SEARCH,
        legs,
        has_words=items_with_words(documents, features.size),
        write_heads=write_heads if aligned.kinds else None,
        index_kind=config.index.kind,
    )
    text = directory / encoders["text"] if "text" in encoders else None
    settings = fit_settings(
        features, documents, aligned if aligned.kinds else None, config, text, progress=progress
    )
    return settings, parity


def _aligned(
    directory: Path,
    features: ItemFeatures,
    config: Config,
    encoders: Mapping[str, str],
    progress: Progress,
) -> FittedAlignment:
    vectors = {
        name: (features.dense[name], features.present[name])
        for name in features.dense
        if BY_NAME[name].encoder is not None
    }
    spaces: dict[EncoderKind, str | None] = {
        kind: EncoderSpec.read(directory / encoders[kind]).space
        for kind in ("text", "image", "audio")
        if kind in encoders
    }
    return fit_alignment(
        vectors,
        config.search.alignment,
        items=np.arange(NUM_RESERVED, features.size, dtype=np.int64),
        seed=config.train.seed,
        spaces=spaces,
        progress=progress,
    )
