"""A bundle of twelve coloured shirts and shoes that can be searched, with encoders of a few bytes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from bundle_parts import ITEMS, write_tiny_bundle
from tiny_encoders import write_tiny_audio, write_tiny_image, write_tiny_text

from features.encoders import Encoder
from recsys.arrays import Floats, unit
from recsys.bundle import Bundle
from recsys.ids import NUM_RESERVED
from recsys.search import DenseLeg, Document, LexicalIndex, LexicalSettings, SearchSettings, save_search

COLORS: Mapping[str, tuple[int, int, int]] = {
    "red": (200, 10, 10),
    "green": (10, 200, 10),
    "blue": (10, 10, 200),
}
OF_RECOMMENDER = ("user_tower.onnx", "item_vectors.npy", "item_tokens.npy", "token_mask.npy", "maps.json")
TITLES = tuple(f"{tuple(COLORS)[at % 3]} {('shirt', 'shoe')[at // 3 % 2]}" for at in range(len(ITEMS)))


def write_search_bundle(
    path: Path,
    *,
    kinds: str = "text image audio",
    alone: bool = False,
    titles: Sequence[str] = TITLES,
    owners: Sequence[str | None] | None = None,
) -> Bundle:
    """`kinds` of encoders are in it; with `alone` it has no recommender. i00 has a picture path.

    A category "of" names the `owners` where they are given.
    """

    def add(directory: Path) -> dict[str, Any]:
        encoders = {
            kind: make(directory / "encoders" / kind)
            for kind, make in (
                ("text", write_tiny_text),
                ("image", write_tiny_image),
                ("audio", write_tiny_audio),
            )
        }
        title_vectors = Encoder.load(encoders["text"]).encode_texts(titles)
        colors = np.array([COLORS[title.split()[0]] for title in TITLES], np.float32)
        LexicalIndex.build(_documents(titles, owners), LexicalSettings(), directory / "search" / "lexical")
        save_search(
            directory / "search",
            [_leg("title", "text", title_vectors), _leg("image", "image", colors)],
            has_words=_present(),
        )
        catalogue = pl.read_parquet(directory / "catalogue.parquet", glob=False)
        owned = (
            [pl.Series("owner", owners), pl.Series("cat:of", [[f"of {each}"] for each in owners])]
            if owners is not None
            else []
        )
        catalogue.with_columns(
            pl.Series("title", titles),
            pl.Series("image", ["pictures/0.png", *[None] * (len(ITEMS) - 1)]),
            *owned,
        ).write_parquet(directory / "catalogue.parquet")
        if alone:
            for name in OF_RECOMMENDER:
                (directory / name).unlink()
        return {
            "search": SearchSettings(),
            **(dict.fromkeys(("sequence_schema", "recommender")) if alone else {}),
            "encoders": {kind: f"encoders/{kind}" for kind in kinds.split()},
        }

    return write_tiny_bundle(path, add=add)


def _present() -> np.ndarray:
    return np.arange(len(ITEMS) + NUM_RESERVED) >= NUM_RESERVED


def _leg(name: str, kind: Any, vectors: Floats) -> DenseLeg:
    rows = np.concatenate([np.zeros((NUM_RESERVED, vectors.shape[1]), np.float32), unit(vectors)])
    return DenseLeg(name=name, kind=kind, vectors=rows.astype(np.float16), present=_present())


def _documents(titles: Sequence[str], owners: Sequence[str | None] | None) -> list[Document]:
    of = [()] * len(titles) if owners is None else [(f"of {each}",) for each in owners]
    return [
        Document(item=at, title=title, categories=("even" if at % 2 == 0 else "odd", *of[at - NUM_RESERVED]))
        for at, title in enumerate(titles, NUM_RESERVED)
    ]
