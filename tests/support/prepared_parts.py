"""Nasty random logs, for the tests of logs that are read in parts."""

import io
import json
from pathlib import Path

import numpy as np
import polars as pl
from dataset_parts import write

from features.event_log.dataset import StreamedDataset, load_streamed
from recsys.config import SplitConfig

SECTION: dict[str, object] = {"event": "kind", "value": "rating", "positive": "rating >= 2 OR kind = 'buy'"}
CONFIGS = {
    "leave_one_out": SplitConfig(protocol="leave_one_out"),
    "user_temporal": SplitConfig(protocol="user_temporal", test_fraction=0.3, cold_fraction=0.2),
    "global_temporal": SplitConfig(
        protocol="global_temporal", test_fraction=0.2, validation_fraction=0.15, cold_fraction=0.2
    ),
    "held_out_items": SplitConfig(protocol="held_out_items", cold_fraction=0.2),
    "auto": SplitConfig(),
}
ITEMS = "id,title\n" + "".join(f"{at},Title {at}\n" for at in range(1, 13))


def nasty_rows(seed: int, num_rows: int = 120, num_users: int = 9) -> list[list[str]]:
    """user, item, time, kind and rating as text; about a tenth of the rows has something wrong."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(num_rows):
        row = [
            f"u{rng.integers(num_users)}",
            str(rng.integers(1, 13)),
            str(1_600_000_000 + rng.integers(40)),  # many ties
            str(rng.choice(["view", "buy", "cart"])),
            str(rng.choice(["1", "1.5", "2", "4.25", ""])),
        ]
        wrong = rng.integers(40)
        if wrong < 5:
            row[wrong] = ["", "99", "soon", " ", "inf"][wrong]
        rows.append(row)
    return rows


def as_csv(rows: list[list[str]]) -> str:
    return "user,item,time,kind,rating\n" + "".join(",".join(row) + "\n" for row in rows)


def as_json_lines(rows: list[list[str]]) -> str:
    names = ["user", "item", "time", "kind", "rating"]
    return "".join(json.dumps(dict(zip(names, row, strict=True))) + "\n" for row in rows)


def as_parquet(rows: list[list[str]]) -> bytes:
    frame = pl.read_csv(io.StringIO(as_csv(rows)), infer_schema=False)
    buffer = io.BytesIO()
    typed = frame.with_columns(
        pl.col("item").cast(pl.Int64, strict=False),
        pl.col("time").cast(pl.Float64, strict=False),
        pl.col("rating").cast(pl.Float32, strict=False),
    )
    typed.write_parquet(buffer)
    return buffer.getvalue()


def nasty(root: Path, seed: int, **changes: object) -> Path:
    """A dataset of one CSV file of nasty rows, with reviews by most of the users."""
    rows = nasty_rows(seed)
    reviews = "user,item,time,text\n" + "".join(f"{u},{i},{t},words\n" for u, i, t, *_ in rows[::5])
    files = {"items.csv": ITEMS, "events.csv": as_csv(rows), "reviews.csv": reviews}
    names = {"path": "reviews.csv", "user": "user", "item": "item", "timestamp": "time", "text": "text"}
    return write(root, files, interactions=SECTION | changes, reviews=dict(names))


def streamed(root: Path, *, part_rows: int = 17, partition_events: int = 40) -> StreamedDataset:
    """Parts and partitions so small that they cut users and files apart."""
    return load_streamed(root, root / "prepared", part_rows=part_rows, partition_events=partition_events)
