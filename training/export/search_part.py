"""The search part of a bundle: lexical index, legs, alignment heads and settings of search."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from recsys.config import Config
from recsys.progress import Progress, silent
from recsys.search import (
    LexicalIndex,
    LexicalSettings,
    SearchSettings,
    build_legs,
    items_with_words,
    save_search,
)
from training.export.search_fit import fit_settings
from training.search import KINDS, Searchable, align, item_words, word_encoder

SEARCH: Final = "search"  # the folder of the search part in a bundle


def write_search_part(
    directory: Path,
    searchable: Searchable,
    config: Config,
    encoders: Mapping[str, str],
    settings: SearchSettings | None = None,
    *,
    progress: Progress = silent,
) -> tuple[SearchSettings, dict[str, float]]:
    """Write the folder `search` into the bundle `directory`, whose `encoders` are there already.

    Returns the settings for the manifest and the largest difference of each alignment head to torch. The
    settings are `settings`; where it is None they are chosen on the items' descriptions.
    """
    features = searchable.features
    directories = {kind: directory / encoders[kind] for kind in KINDS if kind in encoders}
    aligned = align(searchable, config, directories, progress=progress)
    legs = build_legs(features, aligned if aligned.kinds else None)
    documents = searchable.documents()
    parity: dict[str, float] = {}

    def write_heads(folder: Path) -> None:
        parity.update({f"alignment.{kind}": value for kind, value in aligned.write(folder).items()})

    progress("lexical index", 0, 1)
    words = LexicalIndex.build(documents, LexicalSettings(), directory / SEARCH / "lexical")
    progress("lexical index", 1, 1)
    encode_words = word_encoder(directories)
    progress("vectors of words", 0, 1)
    of_items = item_words(documents, features.size, encode_words)
    progress("vectors of words", 1, 1)
    save_search(
        directory / SEARCH,
        legs,
        item_words=of_items,
        has_words=items_with_words(documents, features.size),
        write_heads=write_heads if aligned.kinds else None,
        index_kind=config.index.kind,
    )
    if settings is None:
        text = directory / encoders["text"] if "text" in encoders else None
        settings = fit_settings(
            features,
            documents,
            words,
            aligned if aligned.kinds else None,
            config,
            text,
            encode_words=encode_words,
            progress=progress,
        )
    return settings, parity
