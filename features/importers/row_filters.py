"""Rejected rows of an import, and tables written in parts. Both are on disk, not in memory."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from features.dataset import SCHEMA
from features.importers.blocks import LINE


class Rule(NamedTuple):
    """A row for which `bad` is true is rejected with `reason`."""

    column: str  # the value in this column is recorded with the rejected row
    reason: str
    bad: pl.Expr  # Boolean; null counts as false


class TableParts:
    """A table to which frames are appended. Each frame is one Parquet file in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files: list[Path] = []
        self.num_rows = 0
        folder.mkdir(parents=True)

    def add(self, frame: pl.DataFrame) -> None:
        """Append the rows of `frame`. All frames must have the same columns."""
        if frame.height or not self.files:
            self.files.append(self.folder / f"{len(self.files):06}.parquet")
            frame.write_parquet(self.files[-1])
            self.num_rows += frame.height

    def scan(self) -> pl.LazyFrame:
        """All rows, in the order in which they were added. At least one frame must have been added."""
        return pl.scan_parquet(self.files, glob=False)


class RowFilter:
    """Removes rows that match a rule from frames, and writes the rejected rows to disk."""

    def __init__(self, folder: Path) -> None:
        self.parts = TableParts(folder)
        self.parts.add(pl.DataFrame(schema=SCHEMA))

    def keep(self, frame: pl.DataFrame, table: str, path: Path, rules: Sequence[Rule]) -> pl.DataFrame:
        """The rows that match no rule. A row that matches several rules gets the reason of the first."""
        for rule in rules:
            bad = frame.select(rule.bad.fill_null(False).alias("bad"))["bad"]
            if bad.any():
                self.reject(frame.filter(bad), table, path, rule.column, rule.reason)
                frame = frame.filter(~bad)
        return frame

    def reject(self, frame: pl.DataFrame, table: str, path: Path, column: str, reason: str) -> None:
        """Record all rows of the frame as rejected, each with its value in `column`."""
        value = frame.get_column(column).cast(pl.String)
        rows = pl.DataFrame({"path": path.name, "row": frame[LINE], "value": value, "reason": reason})
        self.record(rows, table, column)

    def record(self, rows: pl.DataFrame, table: str, column: str = "") -> None:
        """Record rejected rows. `rows` has the columns path, row, value and reason."""
        named = rows.with_columns(table=pl.lit(table), column=pl.lit(column))
        self.parts.add(
            named.select(
                pl.col(name).cast(dtype).fill_null("" if dtype == pl.String else 0)
                for name, dtype in SCHEMA.items()
            )
        )

    def write(self, path: Path) -> list[dict[str, Any]]:
        """Write the rejected rows to `path`; no file is written where there are none.

        Returns the counts of the reasons, in the form of `features.dataset.count_reasons`.
        """
        key = ["table", "column", "reason"]
        first = [pl.col(name).first() for name in SCHEMA if name not in key]
        counted = self.parts.scan().group_by(key, maintain_order=True).agg(pl.len().alias("count"), *first)
        reasons = counted.collect().sort("count", descending=True, maintain_order=True)
        if reasons.height:
            self.parts.scan().sink_parquet(path)
        return [
            {**{name: row[name] for name in (*key, "count")}, "example": {name: row[name] for name in SCHEMA}}
            for row in reasons.iter_rows(named=True)
        ]


def num_rows(files: Path | list[Path]) -> int:
    """Number of rows of one or several Parquet files."""
    return int(pl.scan_parquet(files, glob=False).select(pl.len()).collect().item())
