"""The true factors of a shop, for the upper end of the scale; `dataset.toml` names them under [oracle].

    users.parquet   user_id, vector; with change over time also `since`: a vector holds from that time (unix
                    seconds) until the next one of the user
    items.parquet   item_id, vector; with families also `family`, `family_bonus` (utility where the user has
                    taken another item of the family) and `retired` (unix seconds; missing: never)
    options.json    the options of the shop

The dot product of both vectors is the utility of a choice, but for the attribute of the session.
"""

import json
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from features.sample.behaviour.families import NEVER
from features.sample.behaviour.tastes import START_S
from features.sample.shop import Shop

NUM_SPANS: Final = 24  # of equal length, each with the factors of its middle
VECTOR: Final = pl.List(pl.Float32)


def write_oracle(folder: Path, shop: Shop) -> None:
    """Write the three files into `folder`."""
    _users(shop).write_parquet(folder / "users.parquet")
    _items(shop).write_parquet(folder / "items.parquet")
    (folder / "options.json").write_text(json.dumps(asdict(shop.options), indent=2) + "\n", "utf-8")


def _users(shop: Shop) -> pl.DataFrame:
    if shop.dynamics.is_static:
        rows = {"user_id": shop.user_ids, "vector": shop.world.user_factors.tolist()}
        return pl.DataFrame(rows, schema={"user_id": pl.String, "vector": VECTOR})
    edges = np.linspace(START_S, shop.world.end_s, NUM_SPANS + 1).astype(np.int64)
    every = np.arange(len(shop.user_ids))
    tables = []
    for since, until in pairwise(edges):
        factors = shop.dynamics.user_factors(every, np.full(len(every), (since + until) // 2))
        rows = {"user_id": shop.user_ids, "vector": factors.tolist()}
        table = pl.DataFrame(rows, schema={"user_id": pl.String, "vector": VECTOR})
        tables.append(table.with_columns(pl.lit(int(since)).alias("since")))
    return pl.concat(tables)


def _items(shop: Shop) -> pl.DataFrame:
    rows = {"item_id": shop.catalogue.item_ids, "vector": shop.world.item_factors.tolist()}
    table = pl.DataFrame(rows, schema={"item_id": pl.String, "vector": VECTOR})
    families = shop.families
    if (families.number == 1).all():
        return table
    retired = pl.Series("retired", families.retire_s)
    return table.with_columns(
        pl.Series("family", families.first),
        pl.lit(shop.options.family_affinity).alias("family_bonus"),
        pl.when(retired < NEVER).then(retired).alias("retired"),
    )
