"""One event for each user and item, and the k-core of the remaining events.

Users are hashed into buckets, so that one bucket holds all events of a user. Memory grows with the size
of a bucket and the number of items, not with the log. The rules are those of the published benchmarks of
Amazon Reviews 2023 (hyp1231/AmazonReviews2023, benchmark_scripts/kcore_filtering.py).
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl

from features.importers.blocks import LINE
from recsys.errors import DataError
from recsys.progress import Progress, silent

ROWS_PER_BUCKET = 1_000_000


class Keys:
    """Line, user and item of the kept events of a log, in one file for each bucket of users."""

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
        """Keep each user's earliest event with an item, ties by line; yields each bucket's other events."""
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
        """Keep the k-core: the largest set of events in which every user and every item has `k` events.

        Raises `DataError` where the k-core is empty.
        """
        before = -1
        while (now := self.num_rows()) != before:
            before = now
            frequent = self.items().filter(pl.col("len") >= k)
            for done, path in enumerate(self.files, 1):
                keys = pl.read_parquet(path, glob=False).join(
                    frequent, on=self.item, how="semi", maintain_order="left"
                )
                keys.filter(pl.len().over(self.user) >= k).write_parquet(path)
                progress(f"{k}-core", done, len(self.files), f"{before:,} reviews")
        if not now:
            raise DataError(f"no user and item is left in the {k}-core; choose a smaller --core")

    def num_rows(self) -> int:
        return int(pl.scan_parquet(self.files, glob=False).select(pl.len()).collect().item())

    def num_users(self) -> int:
        return sum(
            pl.read_parquet(path, columns=[self.user], glob=False)[self.user].n_unique()
            for path in self.files
        )

    def items(self) -> pl.DataFrame:
        """Each item, and `len`, the number of its events."""
        return pl.scan_parquet(self.files, glob=False).group_by(self.item).len().collect(engine="streaming")

    def is_kept(self, num_lines: int) -> pl.Expr:
        """An expression that is true for the kept rows of a log of `num_lines` lines."""
        mask = np.zeros(num_lines, np.bool_)
        for path in self.files:
            mask[pl.read_parquet(path, columns=[LINE], glob=False)[LINE].to_numpy()] = True
        return pl.col(LINE).map_batches(
            lambda lines: pl.Series(mask[lines.to_numpy()]), return_dtype=pl.Boolean, is_elementwise=True
        )
