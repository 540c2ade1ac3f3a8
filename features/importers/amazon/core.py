"""The first event of each (user, item) pair, and the k-core of these events.

Users are hashed into buckets, so that all events of a user are in one bucket. Memory grows with the size of a
bucket and the number of items, not with the size of the log. The rules are the same as in the published
benchmarks of Amazon Reviews 2023 (hyp1231/AmazonReviews2023, benchmark_scripts/kcore_filtering.py).
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl

from features.importers.blocks import LINE
from features.importers.row_filters import num_rows
from recsys.errors import DataError
from recsys.progress import Progress, silent

ROWS_PER_BUCKET = 1_000_000


class EventKeys:
    """Line, user and item of the kept events of a log, in one Parquet file for each bucket of users."""

    def __init__(self, folder: Path, *, user: str, item: str, time: str) -> None:
        self.folder, self.user, self.item, self.time = folder, user, item, time
        self.files: list[Path] = []
        folder.mkdir()

    def partition(
        self,
        log: pl.LazyFrame,
        num_rows: int,
        *,
        rows_per_bucket: int = ROWS_PER_BUCKET,
        progress: Progress = silent,
    ) -> Iterator[pl.DataFrame]:
        """Keep the earliest event of each (user, item) pair, among equal times the event of the first line.

        Yields the other events, a bucket at a time.
        """
        num_buckets = max(-(-num_rows // rows_per_bucket), 1)
        pair = [self.user, self.item]
        bucket_of = pl.col(self.user).hash() % num_buckets
        for bucket in range(num_buckets):
            events = (
                log.select(LINE, *pair, self.time).filter(bucket_of == bucket).collect(engine="streaming")
            )
            events = events.sort(self.time, LINE)
            first = events.unique(pair, keep="first", maintain_order=True).select(LINE, *pair)
            self.files.append(self.folder / f"{bucket:06}.parquet")
            first.write_parquet(self.files[-1])
            progress("repeated reviews", bucket + 1, num_buckets)
            yield events.join(first, on=LINE, how="anti").sort(LINE)

    def reduce_to_core(self, k: int, progress: Progress = silent) -> None:
        """Keep the k-core: the largest set of events in which each user and item has at least `k` events.

        Raises `DataError` where the k-core is empty.
        """
        previous = -1
        while (current := self.num_rows()) != previous:
            previous = current
            frequent = self.items().filter(pl.col("len") >= k)
            for done, path in enumerate(self.files, 1):
                keys = pl.read_parquet(path, glob=False).join(
                    frequent, on=self.item, how="semi", maintain_order="left"
                )
                keys.filter(pl.len().over(self.user) >= k).write_parquet(path)
                progress(f"{k}-core", done, len(self.files), f"{previous:,} reviews")
        if not current:
            raise DataError(f"no user and no item is left in the {k}-core; choose a smaller --core")

    def num_rows(self) -> int:
        return num_rows(self.files)

    def num_users(self) -> int:
        return sum(
            pl.read_parquet(path, columns=[self.user], glob=False)[self.user].n_unique()
            for path in self.files
        )

    def items(self) -> pl.DataFrame:
        """The items, and the number of their events in a column `len`."""
        return pl.scan_parquet(self.files, glob=False).group_by(self.item).len().collect(engine="streaming")

    def is_kept(self, num_lines: int) -> pl.Expr:
        """An expression over `LINE` that is true for the kept rows of a log of `num_lines` lines."""
        mask = np.zeros(num_lines, np.bool_)
        for path in self.files:
            mask[pl.read_parquet(path, columns=[LINE], glob=False)[LINE].to_numpy()] = True
        return pl.col(LINE).map_batches(
            lambda lines: pl.Series(mask[lines.to_numpy()]), return_dtype=pl.Boolean, is_elementwise=True
        )
