"""The settings of a bundle's search, chosen on sentences that are taken out of the items' descriptions."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from features.encoders import Encoder
from features.queries import QueryEncoder, TextClause
from recsys.arrays import Floats
from recsys.config import Config
from recsys.item_features import ItemFeatures
from recsys.modalities import Modality
from recsys.progress import Progress, silent
from recsys.retrieval import Owners
from recsys.search import (
    AlignmentHeads,
    Document,
    EncodedQuery,
    LexicalIndex,
    Searcher,
    SearchSettings,
)
from training.search import WordEncoder, build_scorer, fit_search, labelled, sentence_queries


def fit_settings(
    features: ItemFeatures,
    documents: Sequence[Document],
    words: LexicalIndex,
    heads: AlignmentHeads | None,
    config: Config,
    text_encoder: Path | None,
    *,
    encode_words: WordEncoder | None = None,
    progress: Progress = silent,
) -> SearchSettings:
    """Fusion and relevance of `fit_search`; an item's vector and words have no sentence that is a query.

    `words` is the lexical index of `documents`. It loses these sentences here, and its saved folder does not.
    `text_encoder` is the directory of the encoder of texts, None where the bundle has none; `encode_words` is
    that of `build_scorer`.
    """
    seed = config.train.seed
    queries, left = sentence_queries(documents, max_queries=config.search.max_queries, seed=seed)
    encoder = None if text_encoder is None else Encoder.load(text_encoder)
    changed = [each for each, whole in zip(left, documents, strict=True) if each is not whole]
    if encoder is not None and changed and Modality.TEXT in features.dense:
        features = _with_texts(features, changed, encoder)
    if changed:
        words.update(changed)
    encode = _encoding(text_encoder)
    scorer = build_scorer(features, left, heads, words, encode_words=encode_words)
    return fit_search(
        Searcher(scorer, SearchSettings()),
        labelled(queries, encode, Owners(features.owners)),
        encode=encode,
        seed=seed,
        progress=progress,
    )


def _with_texts(features: ItemFeatures, changed: Sequence[Document], encoder: Encoder) -> ItemFeatures:
    """The features with the vectors of the changed descriptions."""
    vectors: Floats = features.dense[Modality.TEXT].copy()
    vectors[[each.item for each in changed]] = encoder.encode_texts([each.text for each in changed])
    dense: Mapping[str, Floats] = {**features.dense, Modality.TEXT: vectors}
    return replace(features, dense=dense)


def _encoding(text_encoder: Path | None) -> Callable[[str], EncodedQuery]:
    """A function from a text to its query."""
    encoder = QueryEncoder({} if text_encoder is None else {"text": text_encoder})
    return lambda text: encoder.encode([TextClause(name="query", text=text)]).query
