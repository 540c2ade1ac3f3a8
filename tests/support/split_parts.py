"""Short builders of datasets, for the tests of splits."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from features.dataset.tables import Dataset, InMemoryDataset
from features.splits.make import make_split
from features.splits.split import Split
from recsys.config import SplitConfig

Event = tuple[str, str, int] | tuple[str, str, int, bool]
Review = tuple[str, str, int | None]


def dataset(
    events: Sequence[Event],
    reviews: Sequence[Review] = (),
    *,
    has_clock: bool = True,
    contentless: Sequence[str] = (),
    extra_items: Sequence[str] = (),
    root: Path = Path("nowhere"),
    split_files: tuple[Path, Path] | None = None,
) -> Dataset:
    """Events are (user, item, time[, positive]), reviews (user, item, time)."""
    rows = [(*event, True)[:4] for event in events]
    frame = pl.DataFrame(rows, schema=["user_id", "item_id", "timestamp", "positive"], orient="row")
    frame = frame.with_columns(
        pl.lit("view").alias("event"),
        pl.lit(None, pl.Float64).alias("value"),
        pl.int_range(pl.len(), dtype=pl.Int64).alias("row"),
    ).select("user_id", "item_id", "timestamp", "event", "value", "positive", "row")
    ids = sorted({event[1] for event in events} | set(extra_items))
    items = pl.DataFrame(
        {
            "item_id": ids,
            "title": [None if name in contentless else name for name in ids],
            "text": [None] * len(ids),
            "image": [[]] * len(ids),
            "video": [[]] * len(ids),
            "created_at": [None] * len(ids),
        },
        schema={
            "item_id": pl.String, "title": pl.String, "text": pl.String, "image": pl.List(pl.String),
            "video": pl.List(pl.String), "created_at": pl.Int64,
        },
    )  # fmt: skip
    said = pl.DataFrame(
        list(reviews),
        schema={"user_id": pl.String, "item_id": pl.String, "timestamp": pl.Int64},
        orient="row",
    ).with_columns(
        pl.lit("words").alias("text"),
        pl.lit(None, pl.String).alias("audio"),
        pl.lit(None, pl.Float64).alias("value"),
        pl.int_range(pl.len(), dtype=pl.Int64).alias("row"),
    )
    return InMemoryDataset(
        name="test",
        root=root,
        items=items,
        interactions=frame.sort("timestamp", "row"),
        reviews=said,
        users=frame.select(pl.col("user_id").unique(maintain_order=True)),
        has_clock=has_clock,
        split_files=split_files,
    )


def pairs(frame: pl.DataFrame) -> list[tuple[str, str]]:
    return list(frame.select("user_id", "item_id").iter_rows())


def rows(frame: pl.DataFrame) -> list[int]:
    return sorted(frame["row"].to_list())


def disjoint(split: Split) -> bool:
    together = [*rows(split.train), *rows(split.validation), *rows(split.test), *rows(split.context)]
    return len(together) == len(set(together))


def one_user(length: int) -> list[Event]:
    return [("a", f"i{at}", at) for at in range(length)]


def given(tmp_path: Path, data: Dataset, train: pl.DataFrame, test: pl.DataFrame) -> Split:
    train.write_parquet(tmp_path / "train.parquet")
    test.write_csv(tmp_path / "test.csv")
    return make_split(
        data, SplitConfig(), train_file=tmp_path / "train.parquet", test_file=tmp_path / "test.csv"
    )
