"""Rows that an import leaves out, and tables written bit by bit: both without holding them in memory."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from features.dataset import SCHEMA
from features.importers.blocks import LINE


class Rule(NamedTuple):
    """Rows for which `bad` is true are left out."""

    column: str
    reason: str
    bad: pl.Expr


class Parts:
    """A table that grows by frames and is written to one Parquet file in the end."""

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
        """All rows, in the order in which they came; at least one frame must have been added."""
        return pl.scan_parquet(self.files, glob=False)


class Sieve:
    """Splits frames into rows to keep and rows to reject, and remembers the latter on disk."""

    def __init__(self, folder: Path) -> None:
        self.parts = Parts(folder)
        self.parts.add(pl.DataFrame(schema=SCHEMA))

    def keep(self, frame: pl.DataFrame, table: str, path: Path, rules: Sequence[Rule]) -> pl.DataFrame:
        """The rows that no rule is against; of the others the first rule gives the reason."""
        for rule in rules:
            bad = frame.select(rule.bad.fill_null(False).alias("bad"))["bad"]
            if bad.any():
                self.drop(frame.filter(bad), table, path, rule.column, rule.reason)
                frame = frame.filter(~bad)
        return frame

    def drop(self, frame: pl.DataFrame, table: str, path: Path, column: str, reason: str) -> None:
        """Set all rows of the frame aside, with their value in `column`."""
        value = frame.get_column(column).cast(pl.String)
        aside = pl.DataFrame({"path": path.name, "row": frame[LINE], "value": value, "reason": reason})
        self.note(aside, table, column)

    def note(self, aside: pl.DataFrame, table: str, column: str = "") -> None:
        """Reject what has a path, row, value and reason."""
        named = aside.with_columns(table=pl.lit(table), column=pl.lit(column))
        self.parts.add(
            named.select(
                pl.col(name).cast(dtype).fill_null("" if dtype == pl.String else 0)
                for name, dtype in SCHEMA.items()
            )
        )

    def write(self, path: Path) -> list[dict[str, Any]]:
        """Write all to `path` if there is any; counts as `count_reasons` gives them."""
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
