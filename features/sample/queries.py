"""Queries with known answers for a sample shop, typed, spoken and by picture, and queries without an answer.

    typed         "a vase for jazz": the kind and theme of a product
    unanswerable  likewise, of a kind or theme that no product has, or of a pair that no product has
    spoken        a recording of a saying that the shop does not use in its reviews
    written       the words of that recording
    picture       a new picture of a look on a kind of product

The attributes of the products are drawn again from the shop's options, since no file of the shop has them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
from PIL import Image

from features.sample import texts
from features.sample.catalogue import Catalogue
from features.sample.options import SampleOptions
from features.sample.pictures import Look, render
from features.sample.speech import Recording, recordings

# Products that no shop has.
OTHER_KINDS: Final = ("bicycle", "raincoat", "violin", "lawnmower", "aquarium", "tent", "drill", "necklace")


@dataclass(frozen=True, kw_only=True)
class SampleQuery:
    """A query by a text, a picture or a recording, and the ids of the products that answer it."""

    query_id: str
    relevant: tuple[str, ...]
    text: str | None = None
    picture: Image.Image | None = None
    recording: Recording | None = None


def typed_queries(shop: Catalogue, *, count: int = 60, seed: int = 0) -> list[SampleQuery]:
    """Pairs of a kind and a theme that products have, drawn."""
    found = [
        SampleQuery(query_id=f"typed {kind} {theme}", text=_typed(kind, theme), relevant=relevant)
        for kind, theme in product(texts.KINDS, shop.theme_names)
        if (relevant := _items(shop, [_has(shop, row, kind, theme) for row in range(len(shop.kinds))]))
    ]
    return _drawn(found, count, seed)


def unanswerable_queries(shop: Catalogue, *, count: int = 60, seed: int = 0) -> list[SampleQuery]:
    """Pairs of which no product has the kind, the theme or both together, drawn."""
    themes, pairs = sorted(texts.theme_sentences()), set(zip(shop.kinds, shop.themes, strict=True))
    found = [
        SampleQuery(query_id=f"unanswerable {kind} {theme}", text=_typed(kind, theme), relevant=())
        for kind, theme in product((*texts.KINDS, *OTHER_KINDS), themes)
        if (kind, theme) not in pairs
    ]
    return _drawn(found, count, seed)


def spoken_queries(shop: Catalogue, *, count: int = 60, seed: int = 0) -> list[SampleQuery]:
    """Recordings that no review of the shop uses; products with reviews of the same meaning are relevant."""
    used = {
        clip.file
        for pool in (shop.repertoire.known, shop.repertoire.held_out)
        for clips in pool.values()
        for clip in clips
    }
    found = [
        SampleQuery(
            query_id=f"spoken {clip.file}",
            recording=clip,
            relevant=_items(
                shop,
                [
                    saying == clip.meaning and bool(has)
                    for saying, has in zip(shop.sayings, shop.has_voice, strict=True)
                ],
            ),
        )
        for clip in recordings()
        if clip.meaning in shop.repertoire.meanings and clip.file not in used
    ]
    return _drawn(found, count, seed)


def written_queries(spoken: Sequence[SampleQuery]) -> list[SampleQuery]:
    """The words of spoken queries."""
    return [
        SampleQuery(query_id=f"written {each.query_id}", text=each.recording.text, relevant=each.relevant)
        for each in spoken
        if each.recording is not None
    ]


def picture_queries(
    shop: Catalogue, options: SampleOptions, *, count: int = 60, seed: int = 0
) -> list[SampleQuery]:
    """New pictures of a look on a kind; products with a picture of both are relevant."""
    pairs = sorted(
        {
            (look.pattern, look.palette, kind)
            for look, kind, has in zip(shop.looks, shop.kinds, shop.has_picture, strict=True)
            if has
        }
    )
    rng = np.random.default_rng([seed, options.seed, 2])
    found = []
    for at in np.sort(rng.permutation(len(pairs))[:count]):
        pattern, palette, kind = pairs[at]
        look = Look(pattern=pattern, palette=palette)
        picture = render(rng, look, kind, options.picture_size, options.picture_noise)
        shown = zip(shop.looks, shop.kinds, shop.has_picture, strict=True)
        relevant = _items(shop, [bool(has) and (of, each) == (look, kind) for of, each, has in shown])
        found.append(
            SampleQuery(query_id=f"picture {pattern} {palette} {kind}", picture=picture, relevant=relevant)
        )
    return found


def write_queries(queries: Sequence[SampleQuery], out: Path) -> tuple[Path, Path]:
    """Write queries.csv and qrels.txt, as `recsys evaluate --search` reads them, and their media, into `out`.

    A query without an answer has one judgement of grade 0.
    """
    out.mkdir(parents=True)
    rows = [
        dict(zip(("query_id", "query", "image", "audio"), _row(each, at, out), strict=True))
        for at, each in enumerate(queries)
    ]
    pl.DataFrame(rows, schema=dict.fromkeys(("query_id", "query", "image", "audio"), pl.String)).write_csv(
        out / "queries.csv"
    )
    lines = [
        f"{_id(each)}\t{item}\t{grade}"
        for each in queries
        for item, grade in ([(item, 1) for item in each.relevant] or [("none", 0)])
    ]
    (out / "qrels.txt").write_text("query-id\tcorpus-id\tscore\n" + "\n".join(lines) + "\n", "utf-8")
    return out / "queries.csv", out / "qrels.txt"


def _row(query: SampleQuery, at: int, out: Path) -> tuple[str, str | None, str | None, str | None]:
    image = audio = None
    if query.picture is not None:
        image = f"{at}.png"
        query.picture.save(out / image)
    if query.recording is not None:
        audio = f"{at}.opus"
        (out / audio).write_bytes(query.recording.path.read_bytes())
    return _id(query), query.text, image, audio


def _id(query: SampleQuery) -> str:
    return query.query_id.replace(" ", "-")


def _typed(kind: str, theme: str) -> str:
    return f"a {kind} for {theme.replace('_', ' ')}"


def _has(shop: Catalogue, row: int, kind: str, theme: str) -> bool:
    """Whether the product shows both; without a description it does not show its theme."""
    return (
        shop.kinds[row] == kind and shop.themes[row] == theme and shop.table["description"][row] is not None
    )


def _items(shop: Catalogue, is_relevant: Sequence[bool]) -> tuple[str, ...]:
    return tuple(name for name, flag in zip(shop.item_ids, is_relevant, strict=True) if flag)


def _drawn(queries: Sequence[SampleQuery], count: int, seed: int) -> list[SampleQuery]:
    rng = np.random.default_rng(seed)
    return [queries[at] for at in np.sort(rng.permutation(len(queries))[:count])]
