"""A sample shop as a dataset folder."""

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import tomli_w

from features.sample.behaviour.choices import KINDS
from features.sample.catalogue import Catalogue
from features.sample.options import SampleOptions
from features.sample.oracle import write_oracle
from features.sample.pictures import render
from features.sample.reviews import Review, review_table
from features.sample.shop import Shop, draw_shop
from recsys.errors import DataError

Progress = Callable[[str, int, int], None]

DATASET = {
    "name": "sample-shop",
    "items": {
        "path": "items.parquet",
        "id": "item_id",
        "title": "title",
        "text": ["description"],
        "image": "image",
        "categories": ["kind", "brand"],
        "numeric": ["price"],
        "created_at": "launched",
    },
    "interactions": {
        "path": "interactions.csv",
        "user": "user_id",
        "item": "item_id",
        "timestamp": "timestamp",
        "time": "unix_s",
        "event": "event",
        "value": "rating",
        "positive": "rating IS NULL OR rating >= 3",
    },
    "reviews": {
        "path": "reviews.csv",
        "user": "user_id",
        "item": "item_id",
        "timestamp": "timestamp",
        "text": "text",
        "audio": "audio",
        "value": "rating",
    },
    "users": {"path": "users.csv", "id": "user_id", "categories": ["region", "came_by"]},
    "split": {"train": "splits/train.parquet", "test": "splits/test.parquet"},
    "oracle": {"users": "oracle/users.parquet", "items": "oracle/items.parquet"},
}
REGIONS = ("north", "south", "east", "west", "abroad")
CAME_BY = ("friend", "search", "advertisement", "newspaper")


def write_sample_shop(out: Path, options: SampleOptions, *, progress: Progress | None = None) -> None:
    """Generate a shop by `options` and write it to `out` as a dataset; equal options give the same shop.

    `features.sample.behaviour` has the model of tastes and choices. `oracle/` holds the options and the true
    factors. `progress` is called with a stage, the steps done and all steps. `out` appears whole or not at
    all. Raises `DataError` if `out` exists and is not empty.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"{out} exists and is not an empty folder; remove it or choose another")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as unfinished:
        folder = Path(unfinished) / "shop"
        _write(folder, options, progress or _silent)
        if out.exists():
            out.rmdir()
        folder.rename(out)


def _write(folder: Path, options: SampleOptions, progress: Progress) -> None:
    shop = draw_shop(options)
    for name in ("images", "audio", "splits", "oracle"):
        (folder / name).mkdir(parents=True)
    (folder / "dataset.toml").write_text(tomli_w.dumps(DATASET), "utf-8")
    shop.catalogue.table.write_parquet(folder / "items.parquet")
    review_table(shop.reviews).write_csv(folder / "reviews.csv")
    _user_table(shop.rng, shop.user_ids).write_csv(folder / "users.csv")
    _write_events(folder, shop)
    write_oracle(folder / "oracle", shop)
    _write_recordings(folder / "audio", shop.reviews, progress)
    _write_pictures(folder / "images", shop.catalogue, options, progress)


def _user_table(rng: np.random.Generator, user_ids: tuple[str, ...]) -> pl.DataFrame:
    """users.csv; no column depends on the tastes."""
    return pl.DataFrame(
        {
            "user_id": user_ids,
            "region": [REGIONS[at] for at in rng.integers(len(REGIONS), size=len(user_ids))],
            "came_by": [CAME_BY[at] for at in rng.integers(len(CAME_BY), size=len(user_ids))],
        }
    )


def _write_events(folder: Path, shop: Shop) -> None:
    """interactions.csv, and its rows before and from the cut-off as the split."""
    events = shop.events
    table = pl.DataFrame(
        {
            "user_id": np.array(shop.user_ids)[events.user],
            "item_id": np.array(shop.catalogue.item_ids)[events.item],
            "timestamp": events.timestamp_s,
            "event": np.array(KINDS)[events.kind],
            "rating": events.rating,
        }
    ).with_columns(pl.when(pl.col("rating") > 0).then("rating").alias("rating"))
    table.write_csv(folder / "interactions.csv")
    before = pl.col("timestamp") < shop.world.cutoff_s
    table.filter(before).write_parquet(folder / "splits" / "train.parquet")
    table.filter(~before).write_parquet(folder / "splits" / "test.parquet")


def _write_recordings(folder: Path, reviews: list[Review], progress: Progress) -> None:
    """Copy each used recording once."""
    used = {review.recording.public_name: review.recording for review in reviews if review.recording}
    for done, name in enumerate(sorted(used), 1):
        with used[name].path.open("rb") as source, (folder / name).open("wb") as target:
            shutil.copyfileobj(source, target)
        progress("recordings", done, len(used))


def _write_pictures(folder: Path, catalogue: Catalogue, options: SampleOptions, progress: Progress) -> None:
    rows = np.flatnonzero(catalogue.has_picture)
    for done, row in enumerate(rows, 1):
        rng = np.random.default_rng([options.seed, 1, int(row)])
        picture = render(
            rng, catalogue.looks[row], catalogue.kinds[row], options.picture_size, options.picture_noise
        )
        picture.save(folder / f"{catalogue.item_ids[row]}.jpg", quality=88)
        progress("pictures", done, len(rows))


def _silent(_stage: str, _done: int, _total: int) -> None:
    """The progress callback that does nothing."""
