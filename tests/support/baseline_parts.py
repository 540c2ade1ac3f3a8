"""Splits and items in a few words, for the tests of the baselines."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from features.splits.split import InMemorySplit, Split
from recsys.arrays import Bools, Ints
from recsys.ids import NUM_RESERVED, IdMap
from recsys.item_features import ItemFeatures
from training.evaluation.evaluate import TopK

Pairs = Sequence[tuple[str, str]]


def make_events(pairs: Pairs, positive: bool = True) -> pl.DataFrame:
    schema = {"user_id": pl.String, "item_id": pl.String}
    table = pl.DataFrame(list(pairs), schema=schema, orient="row")
    table = table.with_columns(positive=pl.lit(positive)).with_row_index("row")
    return table.with_columns(timestamp=pl.col("row").cast(pl.Int64))


def make_split(train: Pairs, validation: Pairs = (), test: Pairs = ()) -> Split:
    empty = make_events([])
    return InMemorySplit(
        protocol="hand-written", description="", train=make_events(train),
        validation=make_events(validation), test=make_events(test), context=empty, reviews=empty,
    )  # fmt: skip


def make_items(names: str) -> ItemFeatures:
    ids = IdMap(names.split())
    return ItemFeatures(
        item_ids=ids, dense={}, present={}, categories={}, category_ids={},
        trained=np.ones(ids.size, np.bool_), popularity=np.zeros(ids.size, np.float32),
    )  # fmt: skip


def names_of(model: TopK, items: ItemFeatures, user: str, k: int, allowed: Bools | None = None) -> list[str]:
    ids = model.recommend([user], k, allowed=allowed)[0]
    return items.item_ids.decode(ids[ids >= NUM_RESERVED])


def only(items: ItemFeatures, names: str) -> Bools:
    mask = np.zeros(items.size, np.bool_)
    mask[items.item_ids.encode(names.split())] = True
    return mask


# A checkerboard: even users like even items, odd users odd items; user n has not met item n.
ITEMS = make_items(" ".join(f"i{n}" for n in range(8)) + " cold")
CHECKERBOARD = [
    (f"u{user}", f"i{item}") for user in range(8) for item in range(user % 2, 8, 2) if item != user
]
SEEN: dict[str, Ints] = {
    f"u{user}": ITEMS.item_ids.encode([item for name, item in CHECKERBOARD if name == f"u{user}"])
    for user in range(8)
}
