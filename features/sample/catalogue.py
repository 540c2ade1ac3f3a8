"""The products of a shop: titles, descriptions, pictures and recordings for the attributes of a `World`."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from features.sample import texts
from features.sample.behaviour.families import Families
from features.sample.behaviour.tastes import World
from features.sample.options import SampleOptions
from features.sample.pictures import Look
from features.sample.speech import Repertoire, draw_repertoire
from recsys.arrays import Bools, Ints


@dataclass(frozen=True, kw_only=True)
class Catalogue:
    """Products (N) by row, in random order, so that the row carries no information."""

    item_ids: tuple[str, ...]
    kinds: tuple[str, ...]
    looks: tuple[Look, ...]  # of each product
    themes: tuple[str, ...]  # of each product
    sayings: tuple[str, ...]  # of each product: the meaning of its spoken reviews
    theme_names: tuple[str, ...]  # themes of this shop, a sample of all themes
    repertoire: Repertoire
    has_picture: Bools  # [N]
    has_voice: Bools  # [N]
    table: pl.DataFrame  # items.parquet


def draw_catalogue(
    rng: np.random.Generator,
    world: World,
    families: Families,
    looks: Sequence[Look],
    options: SampleOptions,
) -> Catalogue:
    """Looks, themes and sayings for the attributes of `world`, and the texts that express the themes."""
    every_theme = sorted(texts.theme_sentences())
    theme_names = [every_theme[at] for at in rng.permutation(len(every_theme))[: options.num_text]]
    repertoire = draw_repertoire(
        rng,
        num_meanings=options.num_voice,
        num_voices=options.num_voices,
        num_phrasings=options.num_phrasings,
        held_out_voices=options.held_out_voices,
        held_out_phrasings=options.held_out_phrasings,
    )
    count = options.num_items
    width = max(5, len(str(count)))
    item_ids = tuple(f"P{number:0{width}d}" for number in range(1, count + 1))
    kinds = tuple(texts.KINDS[at] for at in rng.integers(len(texts.KINDS), size=count)[families.first])
    themes = tuple(theme_names[at] for at in world.attribute[:, 1])
    missing = rng.random((3, count)) < np.array(
        [[options.no_picture_fraction], [options.no_text_fraction], [options.no_voice_fraction]]
    )
    return Catalogue(
        item_ids=item_ids,
        kinds=kinds,
        looks=tuple(looks[at] for at in world.attribute[:, 0]),
        themes=themes,
        sayings=tuple(repertoire.meanings[at] for at in world.attribute[:, 2]),
        theme_names=tuple(theme_names),
        repertoire=repertoire,
        has_picture=~missing[0],
        has_voice=~missing[2],
        table=_table(rng, item_ids, kinds, themes, theme_names, missing, world, families, options),
    )


def _table(
    rng: np.random.Generator,
    item_ids: tuple[str, ...],
    kinds: tuple[str, ...],
    themes: tuple[str, ...],
    theme_names: list[str],
    missing: npt.NDArray[np.bool_],
    world: World,
    families: Families,
    options: SampleOptions,
) -> pl.DataFrame:
    brands = texts.generic_sentences()["brand"]
    makers = [brands[at] for at in rng.integers(len(brands), size=len(item_ids))[families.first]]
    names, descriptions = [], []
    for kind, maker, theme in zip(kinds, makers, themes, strict=True):
        names.append(texts.title(kind, maker, int(rng.integers(100, 1000))))
        others = [name for name in theme_names if name != theme]
        descriptions.append(texts.description(rng, kind, maker, theme, others, options.text_noise))
    source = _sources(families)
    images = [None if missing[0, row] else f"images/{name}.jpg" for row, name in enumerate(item_ids)]
    columns = {
        "item_id": item_ids,
        "title": [
            names[first] if number == 1 else texts.model_title(names[first], int(number))
            for first, number in zip(families.first, families.number, strict=True)
        ],
        "description": [None if missing[1, row] else descriptions[at] for row, at in enumerate(source)],
        "image": images,
        "kind": kinds,
        "brand": makers,
        "price": np.round(np.exp(rng.normal(3.2, 0.6, len(item_ids))), 2)[source],
        "launched": world.launch_s,
    }
    return pl.DataFrame(columns, schema_overrides={"description": pl.String, "image": pl.String})


def _sources(families: Families) -> Ints:
    """The row whose description and price each product has: of a variant, that of its original. Shape [N]."""
    source = np.arange(len(families.original))
    for row in np.argsort(families.number, kind="stable"):  # the originals of a family first
        if families.is_variant[row]:
            source[row] = source[families.original[row]]
    return source
