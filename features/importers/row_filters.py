"""Rows rejected by an import, and tables written part by part; neither is held in memory."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from features.dataset import SCHEMA
from features.importers.blocks import LINE


class Rule(NamedTuple):
    """Rows for which `bad` is true are rejected for `reason`."""

    column: str
    reason: str
    bad: pl.Expr


class Parts:
    """A table that is appended frame by frame, each kept in its own Parquet file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files: list[Path] = []
        self.num_rows = 0
        folder.mkdir(parents=True)

    def add(self, frame: pl.DataFrame) -> None:
        """Append the rows; frames must have the same columns."""
        if frame.height or not self.files:
            self.files.append(self.folder / f"{len(self.files):06}.parquet")
            frame.write_parquet(self.files[-1])
            self.num_rows += frame.height

    def scan(self) -> pl.LazyFrame:
        """All rows in the order of their addition; at least one frame must have been added."""
        return pl.scan_parquet(self.files, glob=False)


class Sieve:
    """Splits frames into kept and rejected rows, and keeps the rejected ones on disk."""

    def __init__(self, folder: Path) -> None:
        self.parts = Parts(folder)
        self.parts.add(pl.DataFrame(schema=SCHEMA))

    def keep(self, frame: pl.DataFrame, table: str, path: Path, rules: Sequence[Rule]) -> pl.DataFrame:
        """The rows that match no rule. Of a rejected row the first rule that it matches gives the reason."""
        for rule in rules:
            bad = frame.select(rule.bad.fill_null(False).alias("bad"))["bad"]
            if bad.any():
                self.drop(frame.filter(bad), table, path, rule.column, rule.reason)
                frame = frame.filter(~bad)
        return frame

    def drop(self, frame: pl.DataFrame, table: str, path: Path, column: str, reason: str) -> None:
        """Reject all rows of the frame, with their value in `column`."""
        value = frame.get_column(column).cast(pl.String)
        rows = pl.DataFrame({"path": path.name, "row": frame[LINE], "value": value, "reason": reason})
        self.note(rows, table, column)

    def note(self, rows: pl.DataFrame, table: str, column: str = "") -> None:
        """Record rejected rows, given by the columns path, row, value and reason."""
        named = rows.with_columns(table=pl.lit(table), column=pl.lit(column))
        self.parts.add(
            named.select(
                pl.col(name).cast(dtype).fill_null("" if dtype == pl.String else 0)
                for name, dtype in SCHEMA.items()
            )
        )

    def write(self, path: Path) -> list[dict[str, Any]]:
        """Write the rejected rows, if any, to `path`; returns their counts in the form of `count_reasons`."""
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


def num_rows(path: Path) -> int:
    """Rows of a Parquet file."""
    return int(pl.scan_parquet(path, glob=False).select(pl.len()).collect().item())
