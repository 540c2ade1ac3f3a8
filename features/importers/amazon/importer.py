"""The importer of Amazon Reviews 2023 (McAuley Lab): reviews and metadata of one category.

The log is read once, block by block. One block, the ids of one bucket of users, one byte for each line and
the ids of all items are in memory.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from shlex import quote
from typing import Any

import polars as pl
import tomli_w

from features.dataset import DUPLICATE_ID, FILE_NAME
from features.importers.amazon.core import ROWS_PER_BUCKET, EventKeys
from features.importers.amazon.pictures import PictureFolder
from features.importers.amazon.tables import (
    CATEGORIES,
    DATASET,
    EVENT_COLUMNS,
    ITEM,
    ITEM_SCHEMA,
    ITEM_TEXTS,
    PICTURE_SCHEMA,
    RATING,
    REVIEW_SCHEMA,
    TEXT,
    TIME,
    USER,
    CategoryFiles,
    find_category,
    item_rules,
    items_frame,
    review_rules,
    reviews_frame,
    write_split,
)
from features.importers.blocks import BLOCK_BYTES, LINE, Schema, json_lines, read_blocks
from features.importers.folder import ImportReport, check_positive, new_folder
from features.importers.row_filters import RowFilter, TableParts, num_rows
from recsys.errors import DataError
from recsys.progress import Progress, silent

POSITIVE = "rating >= 4"
ITEMS = "items.parquet"
REPEATED_REVIEW = "the user reviewed the item before; the earliest review was kept"


def import_amazon(
    source: Path,
    out: Path,
    *,
    category: str | None = None,
    images: Path | None = None,
    core: int = 0,
    split: Path | None = None,
    positive: str | None = None,
    progress: Progress = silent,
    block_bytes: int = BLOCK_BYTES,
    rows_per_bucket: int = ROWS_PER_BUCKET,
) -> ImportReport:
    """Write the dataset `out` from the folder `source`, which has the raw files of a category.

    An item is a parent_asin. Of several reviews of an item by the same user the earliest is kept.
    `images`: a folder of pictures, named `<parent_asin>.jpg` or as in their URLs; without the folder no item
    has a picture.
    `core`: only the k-core is kept, in which every user and every item has at least `core` reviews; 0 keeps
    all reviews.
    `split`: a folder with the published `<category>.train.csv`, `.valid.csv` and `.test.csv`.
    `positive`: the SQL expression of dataset.toml over user_id, parent_asin, rating, timestamp and
    verified_purchase; with "" every review is positive. The default is a rating of at least 4. With `split`
    every review is positive by default, as in the published benchmark.
    If the import fails, `out` is not created. Raises `DataError` where a file is missing or damaged, a table
    has no valid row, `out` exists and is not empty, or `positive` is invalid.
    """
    files = find_category(source, category)
    if positive is None:
        positive = "" if split else POSITIVE
    if positive:
        check_positive(positive, EVENT_COLUMNS)
    with new_folder(out) as folder:
        importer = _Importer(files, folder, progress, block_bytes)
        counts = importer.events(core, rows_per_bucket)
        counts |= importer.items(images, only_reviewed=core > 0)
        if split:
            counts |= write_split(split, files.category, folder / "splits")
        spec = _spec(files.category, positive, has_images=images is not None, has_split=split is not None)
        (folder / FILE_NAME).write_text(tomli_w.dumps(spec), "utf-8")
        rejected = importer.row_filter.write(folder / "rejected.parquet")
        shutil.rmtree(importer.work)
    return ImportReport(
        out=out.absolute(),
        name=str(spec["name"]),
        counts=counts,
        rejected=rejected,
        next_steps=[f"recsys check {quote(str(out))}", f"recsys run {quote(str(out))} --out run"],
    )


class _Importer:
    """Writes events, reviews and items of one category to `folder`."""

    def __init__(self, files: CategoryFiles, folder: Path, progress: Progress, block_bytes: int) -> None:
        self.files, self.folder, self.work = files, folder, folder / "unfinished"
        self.progress, self.block_bytes = progress, block_bytes
        self.row_filter = RowFilter(self.work / "rejected")
        self.num_lines = 0  # of the file that was read last
        self.reviewed = pl.DataFrame(schema={ITEM: pl.String})  # items with a kept review

    def events(self, core: int, rows_per_bucket: int) -> dict[str, int]:
        """Write interactions.parquet and reviews.parquet, in the order of the log."""
        log = self._log()
        keys = EventKeys(self.work / "keys", user=USER, item=ITEM, time=TIME)
        repeated = keys.partition(
            log.scan(), log.num_rows, rows_per_bucket=rows_per_bucket, progress=self.progress
        )
        for events in repeated:
            self.row_filter.reject(events, "interactions", self.files.reviews, ITEM, REPEATED_REVIEW)
        if core > 1:
            keys.reduce_to_core(core, self.progress)
        self.reviewed = keys.items().select(ITEM)
        kept = log.scan().filter(keys.is_kept(self.num_lines))
        kept.select(EVENT_COLUMNS).sink_parquet(self.folder / "interactions.parquet")
        written = kept.filter(pl.col(TEXT).is_not_null()).select(USER, ITEM, RATING, TIME, TEXT)
        written.sink_parquet(self.folder / "reviews.parquet")
        return {
            "lines of reviews": self.num_lines,
            "interactions": keys.num_rows(),
            "users": keys.num_users(),
            "written reviews": num_rows(self.folder / "reviews.parquet"),
        }

    def _log(self) -> TableParts:
        """All valid events, with the texts of the reviews."""
        log = TableParts(self.work / "log")
        for raw in self._read(self.files.reviews, "interactions", REVIEW_SCHEMA):
            log.add(
                reviews_frame(self.row_filter.keep(raw, "interactions", self.files.reviews, review_rules()))
            )
        if not log.num_rows:
            raise DataError(f"{self.files.reviews} has no valid review in the layout of {DATASET}")
        return log

    def items(self, images: Path | None, *, only_reviewed: bool) -> dict[str, int]:
        """Write items.parquet: items with metadata, then the ids of reviewed items without metadata."""
        parts = TableParts(self.work / "items")
        pictures = PictureFolder(images, self.folder) if images else None
        schema = {**ITEM_SCHEMA, **(PICTURE_SCHEMA if pictures else {})}
        for raw in self._read(self.files.metadata, "items", schema):
            items = items_frame(self.row_filter.keep(raw, "items", self.files.metadata, item_rules()))
            if only_reviewed:
                items = items.join(self.reviewed, on=ITEM, how="semi", maintain_order="left")
            if pictures:
                items = items.with_columns(pictures.link_all(items[ITEM], items["images"])).drop("images")
            parts.add(items)
        if not parts.num_rows:
            raise DataError(f"{self.files.metadata} has no valid item in the layout of {DATASET}")
        ids = parts.scan().select(ITEM, LINE).collect()
        repeated = ids.filter(~pl.col(ITEM).is_first_distinct())
        self.row_filter.reject(repeated, "items", self.files.metadata, ITEM, DUPLICATE_ID)
        unknown = self.reviewed.join(ids, on=ITEM, how="anti").sort(ITEM)
        known = parts.scan().filter(~pl.col(LINE).is_in(repeated[LINE].implode()))
        pl.concat([known, unknown.lazy()], how="diagonal").drop(LINE).sink_parquet(self.folder / ITEMS)
        counts = {"items": num_rows(self.folder / ITEMS), "items without metadata": unknown.height}
        if pictures:
            has_picture = pl.col("image").list.len() > 0
            items_file = pl.scan_parquet(self.folder / ITEMS, glob=False)
            counts["items with a picture"] = int(items_file.select(has_picture.sum()).collect().item())
        return counts

    def _read(self, path: Path, table: str, schema: Schema) -> Iterator[pl.DataFrame]:
        """The rows of the file, a block at a time. Unreadable lines are rejected."""
        for block in read_blocks(path, step=table, progress=self.progress, block_bytes=self.block_bytes):
            self.num_lines = block.first_line + block.num_lines()
            frame, unreadable = json_lines(block, schema)
            self.row_filter.record(unreadable, table)
            yield frame


def _spec(category: str, positive: str, *, has_images: bool, has_split: bool) -> dict[str, Any]:
    """The content of dataset.toml."""
    event = {"user": USER, "item": ITEM, "timestamp": TIME, "value": RATING}
    items: dict[str, Any] = {"path": ITEMS, "id": ITEM, "title": "title", "text": list(ITEM_TEXTS)}
    items |= {"image": "image"} if has_images else {}
    items |= {"categories": list(CATEGORIES), "numeric": ["price"]}
    interactions = {"path": "interactions.parquet", **event, "time": "unix_ms"}
    spec: dict[str, Any] = {
        "name": f"amazon-2023-{category}",
        "items": items,
        "interactions": interactions | ({"positive": positive} if positive else {}),
        "reviews": {"path": "reviews.parquet", **event, "text": TEXT},
    }
    if has_split:
        spec["split"] = {part: f"splits/{part}.parquet" for part in ("train", "test")}
    return spec
