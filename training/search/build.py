"""A searcher in memory over a fitted model's catalogue, with what a split allows it to read.

Evaluation asks it while the test is held out; a bundle has the same legs, made after the refit.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
import polars as pl

from features.conversion import ensure_encoder
from features.dataset import Dataset, MediaVectors
from features.documents import item_documents
from features.encoders import Encoder, EncoderSpec
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
    ItemWords,
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

WordEncoder = Callable[[Sequence[str]], Floats]  # words to unit vectors [V, D]
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
    *,
    encode_words: WordEncoder | None = None,
) -> Searcher:
    """The searcher of all items; its lexical index is in memory. `encode_words`: see `build_scorer`."""
    used = heads if heads.kinds else None
    scorer = build_scorer(searchable.features, searchable.documents(), used, encode_words=encode_words)
    return Searcher(scorer, settings, personalizer)


def build_scorer(
    features: ItemFeatures,
    documents: Sequence[Document],
    heads: AlignmentHeads | None,
    words: LexicalIndex | None = None,
    *,
    encode_words: WordEncoder | None = None,
) -> Scorer:
    """All legs over `features` and the words of `documents`.

    `words` is the lexical index of `documents`; where it is None, one in memory is built. `encode_words`
    gives the vectors [V, D] of words; without it no query is judged word by word.
    """
    return Scorer(
        build_legs(features, heads),
        num_items=features.size,
        heads=heads,
        words=LexicalIndex.build(documents, LexicalSettings()) if words is None else words,
        item_words=item_words(documents, features.size, encode_words),
        has_words=items_with_words(documents, features.size),
        popularity=features.popularity,
    )


def item_words(
    documents: Sequence[Document], num_items: int, encode_words: WordEncoder | None
) -> ItemWords | None:
    """The words of `documents` with their vectors; None where nothing encodes words."""
    if encode_words is None:
        return None
    return ItemWords.of(documents, num_items, encode_words, LexicalSettings().stemmed)


def word_encoder(encoders: Mapping[EncoderKind, Path]) -> WordEncoder | None:
    """The text encoder of the directories, loaded at its first call; it keeps the vectors of words.

    None without one, and where another encoder shares its space, as in CLIP: pictures answer words that no
    text has.
    """
    if "text" not in encoders:
        return None
    path = encoders["text"]
    spaces = [EncoderSpec.read(each).space for each in encoders.values()]
    own = EncoderSpec.read(path).space
    if own is not None and spaces.count(own) > 1:
        return None
    kept: dict[str, Floats] = {}

    def encode(words: Sequence[str]) -> Floats:
        new = [word for word in words if word not in kept]
        if new:
            kept.update(zip(new, Encoder.load(path).encode_texts(new), strict=True))
        return np.stack([kept[word] for word in words])

    return encode


def encoder_directories(config: Config, features: ItemFeatures) -> dict[EncoderKind, Path]:
    """The directories of the encoders that have made vectors of `features`, by kind."""
    names = {kind: getattr(config.encoders, kind) for kind in KINDS}
    needed = [kind for kind in KINDS if not set(features.dense).isdisjoint(encoded_by(kind))]
    return {kind: ensure_encoder(names[kind], kind=kind) for kind in needed}


def query_encoder(config: Config, encoders: Mapping[EncoderKind, Path]) -> QueryEncoder:
    """Encodes queries as a bundle with the same configuration does."""
    speech = config.encoders.transcriber if config.search.speech else None
    return QueryEncoder(encoders, transcriber=speech)
