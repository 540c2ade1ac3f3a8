"""Search between modalities on items that were held out of the alignment.

    python -m benchmarks.search.alignment DATASET [--seeds 0 1 2] [--categories genres]
        [--method auto|closed_form|trained] [--set trained.dropout=0.2] [--pairs 500] [--all-items]

DATASET is a dataset folder, or the name of one under RECSYS_DATA. A fifth of the items with two kinds of
media is drawn with each seed and held out; settings are chosen on a part of the others. Vectors are cached
under XDG_CACHE_HOME, so that a second call encodes nothing. `texts` is the mean of an item's title, its
description and its categories, each encoded as a text of its own. Items without events are left out, unless
--all-items is given.
"""

import argparse
import os
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

from features.conversion import default_cache_dir, ensure_encoder
from features.dataset import MediumVectors, load_dataset
from features.dataset.tables import InMemoryDataset
from features.encoders import EncoderSpec
from features.extraction import extract
from recsys.arrays import Bools, Floats, Ints, unit
from recsys.columns import Columns
from recsys.config import EncoderConfig, load_config
from recsys.modalities import BY_NAME, EncoderKind
from training.alignment import FittedAlignment, cross_modal_recall, fit_alignment

KINDS: Mapping[str, EncoderKind] = {"categories": "text", "texts": "text"}
PARTS = ("title", "text", "categories")
Vectors = dict[str, tuple[Floats, Bools]]


def main() -> None:
    options = _parser().parse_args()
    dataset = load_dataset(_folder(options.dataset))
    vectors = item_vectors(dataset, options.categories)
    used = _used_items(dataset, vectors, options.all_items)
    settings = [f"search.alignment.{each}" for each in (f"method={options.method}", *options.set)]
    config = load_config(overrides=settings).search.alignment
    tables = []
    for seed in options.seeds:
        held_out, fitted_on = split(used, options.held_out, seed)
        shown, fitted_on = _hide(vectors, fitted_on, options, seed)
        names = (*options.fit_on, *(name for name in vectors if name not in (*PARTS, "texts")))
        started = time.process_time()
        fitted = fit_alignment(
            {name: shown[name] for name in names},
            config,
            items=fitted_on,
            seed=seed,
            spaces=spaces(),
            kinds=KINDS,
        )
        _print(seed, fitted, time.process_time() - started)
        tables.append(cross_modal_recall(fitted, vectors, held_out, kinds=KINDS))
    with pl.Config(tbl_rows=-1, tbl_cols=-1, float_precision=4, tbl_hide_dataframe_shape=True):
        print(_mean(tables))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--held-out", type=float, default=0.2)
    parser.add_argument("--method", choices=["auto", "closed_form", "trained"], default="auto")
    parser.add_argument("--set", nargs="+", default=[], help="trained.dropout=0.2, say")
    parser.add_argument(
        "--fit-on", nargs="+", default=["texts"], help="the texts that the heads are fitted on"
    )
    parser.add_argument("--categories", nargs="*", default=[], help="category fields that become a text")
    parser.add_argument("--all-items", action="store_true", help="items without events, too")
    parser.add_argument("--pairs", type=int, help="items that the heads see with all media; others with one")
    parser.add_argument("--pairs-alone", action="store_true", help="the heads do not see the others at all")
    return parser


def item_vectors(dataset: InMemoryDataset, fields: list[str]) -> Vectors:
    """Vectors of the items' media, of the category `fields` as one text, and the mean of all texts."""
    vectors = _pooled(dataset)
    if fields:
        lists = [pl.col(f"cat:{name}").list.join(", ").fill_null("") for name in fields]
        vectors["categories"] = _pooled(_with_text(dataset, pl.concat_str(lists, separator=". ")))["text"]
    parts = [vectors[name] for name in PARTS if name in vectors]
    if parts:
        total = sum(unit(values) * has[:, None] for values, has in parts)
        vectors["texts"] = (unit(np.asarray(total, np.float32)), np.any([has for _, has in parts], axis=0))
    return vectors


def _with_text(dataset: InMemoryDataset, words: pl.Expr) -> InMemoryDataset:
    """The dataset with `words` as the items' text and no other media."""
    schema = dataset.items.schema
    items = dataset.items.with_columns(
        words.replace("", None).alias(Columns.TEXT),
        pl.lit(None, schema[Columns.TITLE]).alias(Columns.TITLE),
        *(pl.lit([], schema[name]).alias(name) for name in (Columns.IMAGE, Columns.VIDEO)),
    )
    return replace(dataset, items=items, reviews=dataset.reviews.clear())


def _pooled(dataset: InMemoryDataset) -> Vectors:
    """Item modality -> mean vector of each item; those of reviews are means over the item's reviews."""
    made = extract(dataset, EncoderConfig(), cache_dir=default_cache_dir())
    num_items = dataset.items.height
    vectors = {name: each.pooled(num_items) for name, each in made.items.items()}
    row_of = {item: row for row, item in enumerate(dataset.items[Columns.ITEM])}
    item_of = np.array([row_of.get(item, -1) for item in dataset.reviews[Columns.ITEM]], np.int64)
    for name, each in made.reviews.items():
        owner = item_of[each.owner]
        order = np.argsort(owner, kind="stable")[(owner < 0).sum() :]
        vectors[name] = MediumVectors(owner=owner[order], vectors=each.vectors[order]).pooled(num_items)
    return vectors


def split(items: Ints, fraction: float, seed: int) -> tuple[Ints, Ints]:
    """Held-out items and the others, both ascending."""
    order = np.random.default_rng(seed).permutation(items)
    count = round(fraction * len(items))
    return np.sort(order[:count]), np.sort(order[count:])


def spaces() -> dict[EncoderKind, str | None]:
    """The spaces of the encoders in use."""
    names: Mapping[EncoderKind, str] = {"text": EncoderConfig().text, "image": EncoderConfig().image}
    return {kind: EncoderSpec.read(ensure_encoder(name, kind=kind)).space for kind, name in names.items()}


def _used_items(dataset: InMemoryDataset, vectors: Vectors, all_items: bool) -> Ints:
    """Items with two kinds of media, and with an event unless `all_items`."""
    kinds = {name: KINDS.get(name) or BY_NAME[name].encoder for name in vectors}
    has = {
        kind: np.any([vectors[name][1] for name in vectors if kinds[name] == kind], axis=0)
        for kind in kinds.values()
    }
    keep = np.sum(list(has.values()), axis=0) > 1
    if not all_items:
        keep &= (
            dataset.items[Columns.ITEM]
            .is_in(dataset.interactions[Columns.ITEM].unique().implode())
            .to_numpy()
        )
    return np.flatnonzero(keep)


def _hide(vectors: Vectors, items: Ints, options: argparse.Namespace, seed: int) -> tuple[Vectors, Ints]:
    """All media of `options.pairs` of `items`; the texts of half of the others, the pictures of the rest."""
    if options.pairs is None:
        return vectors, items
    order = np.random.default_rng(seed).permutation(items)
    pairs, single = order[: options.pairs], order[options.pairs :]
    shown = {name: (values, has.copy()) for name, (values, has) in vectors.items()}
    for name, (_, has) in shown.items():
        has[single[::2] if name in KINDS or name in PARTS else single[1::2]] = False
    return shown, np.sort(pairs) if options.pairs_alone else items


def _print(seed: int, fitted: FittedAlignment, seconds: float) -> None:
    record = fitted.record
    scores = ", ".join(f"{method} {score:.4f}" for method, score in record.scores.items())
    print(
        f"seed {seed}: {record.method}, {record.num_items:,} items, {record.num_validation_items:,} of them "
        f"for validation ({scores}); {dict(record.settings)}; {seconds:.0f} CPU s",
        flush=True,
    )


def _mean(tables: list[pl.DataFrame]) -> pl.DataFrame:
    """Means over the seeds."""
    return pl.concat(tables).group_by("query", "item", maintain_order=True).mean()


def _folder(name: str) -> Path:
    path = Path(name)
    return path if path.is_dir() else Path(os.environ.get("RECSYS_DATA") or "RECSYS_DATA is not set") / name


if __name__ == "__main__":
    main()
