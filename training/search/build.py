"""A searcher in memory over a fitted model's catalogue, with what a split allows it to read.

Evaluation asks it while the test is held out; a bundle has the same legs, made after the refit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
import polars as pl

from features.conversion import ensure_encoder
from features.dataset import Dataset, MediaVectors
from features.documents import item_documents
from features.encoders import EncoderSpec
from features.queries import QueryEncoder
from recsys.arrays import Bools, Floats, Ints
from recsys.config import Config
from recsys.ids import NUM_RESERVED
from recsys.item_features import ItemFeatures
from recsys.modalities import BY_NAME, EncoderKind, encoded_by
from recsys.progress import Progress, silent
from recsys.search import (
    AlignmentHeads,
    Document,
    LexicalIndex,
    LexicalSettings,
    Personalizer,
    Scorer,
    Searcher,
    SearchSettings,
    build_legs,
    items_with_words,
)
from training.alignment import FittedAlignment, fit_alignment

KINDS: tuple[EncoderKind, ...] = get_args(EncoderKind)


@dataclass(frozen=True)
class Searchable:
    """What is searched: the items of `features`, with the words of the dataset."""

    dataset: Dataset
    features: ItemFeatures
    vectors: MediaVectors  # for transcripts
    reviews: pl.DataFrame  # rows of `dataset.reviews` that may be read

    @property
    def items(self) -> Ints:
        """Ids of all items."""
        return np.arange(NUM_RESERVED, self.features.size, dtype=np.int64)

    @property
    def modality_vectors(self) -> dict[str, tuple[Floats, Bools]]:
        """Vectors [N, D] of each modality that an encoder has made, and which items have one [N].

        Imputed vectors are left out: nothing is learned from them.
        """
        dense, observed = self.features.dense, self.features.observed
        return {name: (dense[name], observed(name)) for name in dense if BY_NAME[name].encoder is not None}

    def documents(self) -> list[Document]:
        """The words of the items."""
        documents = item_documents(
            self.dataset,
            self.features.item_ids,
            reviews=self.reviews,
            vectors=self.vectors,
            popularity=self.features.popularity,
        )
        return list(documents)


def align(
    searchable: Searchable,
    config: Config,
    encoders: Mapping[EncoderKind, Path],
    *,
    items: Ints | None = None,
    progress: Progress = silent,
) -> FittedAlignment:
    """The shared space, fitted on `items` (None: on all items). `encoders` are directories by kind."""
    spaces: dict[EncoderKind, str | None] = {
        kind: EncoderSpec.read(path).space for kind, path in encoders.items()
    }
    return fit_alignment(
        searchable.modality_vectors,
        config.search.alignment,
        items=searchable.items if items is None else items,
        seed=config.train.seed,
        spaces=spaces,
        progress=progress,
    )


def build_searcher(
    searchable: Searchable,
    heads: FittedAlignment,
    settings: SearchSettings,
    personalizer: Personalizer | None = None,
) -> Searcher:
    """The searcher of all items; its lexical index is in memory."""
    used = heads if heads.kinds else None
    return Searcher(build_scorer(searchable.features, searchable.documents(), used), settings, personalizer)


def build_scorer(
    features: ItemFeatures, documents: Sequence[Document], heads: AlignmentHeads | None
) -> Scorer:
    """All legs over `features` and the words of `documents`, whose lexical index is in memory."""
    return Scorer(
        build_legs(features, heads),
        num_items=features.size,
        heads=heads,
        words=LexicalIndex.build(documents, LexicalSettings()),
        has_words=items_with_words(documents, features.size),
        popularity=features.popularity,
    )


def encoder_directories(config: Config, features: ItemFeatures) -> dict[EncoderKind, Path]:
    """The directories of the encoders that have made vectors of `features`, by kind."""
    names = {kind: getattr(config.encoders, kind) for kind in KINDS}
    needed = [kind for kind in KINDS if not set(features.dense).isdisjoint(encoded_by(kind))]
    return {kind: ensure_encoder(names[kind], kind=kind) for kind in needed}


def query_encoder(config: Config, encoders: Mapping[EncoderKind, Path]) -> QueryEncoder:
    """Encodes queries as a bundle with the same configuration does."""
    speech = config.encoders.transcriber if config.search.speech else None
    return QueryEncoder(encoders, transcriber=speech)
