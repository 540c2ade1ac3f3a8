"""The checks of features/dataset/table_checker.py on a table that is read a part at a time.

`ColumnStatistics` describes whole columns. Four of its fields decide how values are cast: whether the ids of
a text column are all like "123.0", whether the times of a column are dates, which kind of values a text
column of the `positive` expression has, and for which kinds the expression cannot be computed.
The first part sets these fields. A later part that changes one of them raises `StatisticsChanged`, and the
log is read again with the fields known so far. Each field changes in one direction only, so the log is read
a few times at most.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import polars as pl

from features.dataset import (
    SCHEMA,
    RawTable,
    Remark,
    TableChecker,
    TimeUnit,
    casting,
    named_files,
    times,
    value_text,
)
from recsys.errors import DataError

# Nodes of SQL aggregates and windows, which `meta.is_row_separable` of polars 2.1 does not detect.
_MULTI_ROW_NODES = {"Agg", "Over", "Len", "Rolling", "Quantile", "Correlation"}


class StatisticsChanged(Exception):
    """Earlier parts were cast by statistics that are wrong for the whole column."""


@dataclass(kw_only=True)
class ColumnStatistics:
    """Statistics of whole columns over the parts that have been read; `as_dict` is stored as JSON."""

    num_parts: int = 0
    whole: dict[str, bool] = field(default_factory=dict)  # ids of a text column are all "123.0"
    kinds: dict[str, casting.TextKind] = field(default_factory=dict)  # of text columns in `positive`
    failures: dict[str, str] = field(default_factory=dict)  # column types that fail -> error
    readable: dict[str, dict[str, Any]] = field(default_factory=dict)
    truths: dict[str, list[int]] = field(default_factory=dict)  # problem -> numbers of rows and of true rows
    dated: dict[str, bool] = field(default_factory=dict)  # the times of a column are dates
    times: dict[str, list[list[float]]] = field(default_factory=dict)  # buckets of the raw times
    num_given: dict[str, int] = field(default_factory=dict)  # values of a column of times
    remarks: dict[str, Remark] = field(default_factory=dict)  # as `TableChecker.remarks`

    @classmethod
    def restore(cls, values: dict[str, Any]) -> "ColumnStatistics":
        remarks = {key: Remark(**remark) for key, remark in values["remarks"].items()}
        kinds = {column: casting.TextKind(**kind) for column, kind in values["kinds"].items()}
        return cls(**values | {"remarks": remarks, "kinds": kinds})

    def are_final(self) -> bool:
        """Whether no later part can change the type of a column that the `positive` expression reads."""
        return not any(kind.numbers or kind.booleans for kind in self.kinds.values())

    def casting_decisions(self) -> "ColumnStatistics":
        """The fields that decide how values are cast: the statistics with which the log is read again."""
        return ColumnStatistics(whole=self.whole, kinds=self.kinds, failures=self.failures, dated=self.dated)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def warnings(self, files: Sequence[str]) -> list[str]:
        """One sentence for each remark, with the table and its files."""
        return [f"[interactions] {named_files(files)}: {remark}" for remark in self.remarks.values()]

    def problems(self, files: Sequence[str], unit: TimeUnit) -> list[str]:
        """Problems of whole columns, once all parts have been read."""
        hints = {f"column {column!r}": self.unit_hint(column, unit) for column in self.times}
        found = []
        for subject, seen in self.readable.items():
            if hint := hints.get(subject):
                found.append(f"{subject} {hint}")
            elif seen["problem"] and not seen["any"]:
                found.append(f"{subject} {seen['problem']}")
        # Where the unit of the times is wrong, no row is kept, so that `truths` counts no row.
        has_times = not any(hints.values())
        false = [each for each, (rows, true) in self.truths.items() if has_times and rows and not true]
        return [f"[interactions] {named_files(files)}: {each}" for each in found] + false

    def unit_hint(self, column: str, unit: TimeUnit) -> str | None:
        """`times.unit_hint` of the whole column, from two values that have the same hint as its median."""
        buckets = [bucket for bucket in self.times[column] if bucket[0]]
        ends = np.cumsum([bucket[0] for bucket in buckets])
        if not len(ends) or not times.is_mostly_numbers(int(ends[-1]), self.num_given[column]):
            return None
        lower, upper = (
            int(np.searchsorted(ends, place, "right")) for place in ((ends[-1] - 1) // 2, ends[-1] // 2)
        )
        # All medians in a bucket have one hint. Between two buckets the median is the mean of two values.
        middle = [buckets[lower][2], buckets[upper][1]] if lower != upper else [buckets[lower][1]]
        return times.unit_hint_of_median(sum(middle) / len(middle), unit)


class ChunkChecker(TableChecker):
    """Checks one part of the interactions. Rejected values are rows of a frame, which needs less memory."""

    def __init__(self, raw: RawTable, statistics: ColumnStatistics) -> None:
        super().__init__(raw)
        self.statistics = statistics
        self.remarks = statistics.remarks
        self._rejected: list[pl.DataFrame] = []

    def rejected_values(self) -> pl.DataFrame:
        """One row for each rejected value; the columns are the fields of `Rejected`."""
        return pl.concat([pl.DataFrame(schema=SCHEMA), *self._rejected])

    def finish(self, columns: Sequence[pl.Series]) -> pl.DataFrame:
        self.statistics.num_parts += 1
        return pl.DataFrame(columns).filter(pl.Series(self.kept))

    def note_values(self, rows: Sequence[int], values: Sequence[object], column: str, reason: str) -> None:
        if not rows:
            return
        table_rows = pl.Series("row", rows, dtype=pl.Int64) + self.raw.offset
        files = pl.Series(self.raw.files, dtype=pl.String)
        self._rejected.append(
            pl.DataFrame(
                {
                    "table": pl.Series([self.raw.name]).new_from_index(0, len(rows)),
                    "path": files.gather(self.raw.files_of(table_rows.to_numpy())),
                    "row": table_rows,
                    "column": pl.Series([column]).new_from_index(0, len(rows)),
                    "value": pl.Series([value_text(value) for value in values], dtype=pl.String),
                    "reason": pl.Series([reason]).new_from_index(0, len(rows)),
                },
                schema=SCHEMA,
            )
        )

    def require_readable(
        self, subject: str, result: pl.Series, given: pl.Series, problem: Callable[[object], str]
    ) -> None:
        seen = self.statistics.readable.setdefault(subject, {"any": False, "problem": ""})
        seen["any"] |= result.null_count() < len(result)
        if not seen["problem"] and len(given):
            seen["problem"] = problem(given[0])

    def require_true_once(self, truth: pl.Series, problem: str) -> None:
        rows = self.statistics.truths.setdefault(problem, [0, 0])
        rows[0] += len(truth)
        rows[1] += int(truth.sum())

    def is_whole(self, column: str, text: pl.Series) -> bool:
        if text.null_count() == len(text):
            return False  # nothing to cast
        known, here = self.statistics.whole.get(column), casting.all_whole(text)
        self.statistics.whole[column] = here if known is None else known and here
        if known and not here:
            self._change()
        return self.statistics.whole[column]

    def text_kind(self, column: str, text: pl.Series) -> casting.TextKind:
        known, here = self.statistics.kinds.get(column), casting.TextKind.of(text)
        kind = here if known is None else known.together(here)
        self.statistics.kinds[column] = kind
        if kind != (known or casting.TextKind.of(text.clear())):
            self._change()
        return kind

    def known_failure(self, label: str) -> str | None:
        return self.statistics.failures.get(label)

    def note_failure(self, label: str, problem: str) -> None:
        if label not in self.statistics.failures:
            self.statistics.failures[label] = problem
            self._change()

    def holds_dates(self, column: str, unit: TimeUnit) -> bool:
        known = self.statistics.dated.get(column, False)
        self.statistics.dated[column] = known or super().holds_dates(column, unit)
        if self.statistics.dated[column] and not known:
            self._change()
        return self.statistics.dated[column]

    def unit_hint(self, column: str, unit: TimeUnit) -> str | None:
        series = self.raw.frame[column]
        if unit == "order" or not casting.is_numeric_or_text(series):
            return None
        # A bucket below each edge, a bucket at each edge, and a bucket above the last. A bucket has one hint.
        num_buckets = 2 * len(times.HINT_EDGES) + 1
        buckets = self.statistics.times.setdefault(column, [[0, np.inf, -np.inf] for _ in range(num_buckets)])
        given = int(casting.is_number_given(series).sum())
        self.statistics.num_given[column] = self.statistics.num_given.get(column, 0) + given
        number = casting.as_number(series).drop_nulls().to_numpy()
        bucket_of = sum(np.searchsorted(times.HINT_EDGES, number, side) for side in ("left", "right"))
        for at, bucket in enumerate(buckets):
            inside = number[bucket_of == at]
            if len(inside):
                bucket[0] += len(inside)
                bucket[1:] = [min(bucket[1], float(inside.min())), max(bucket[2], float(inside.max()))]
        return None

    def _change(self) -> None:
        if self.statistics.num_parts:
            raise StatisticsChanged


def refuse_multi_row_expression(positive: str | None) -> None:
    """Raises `DataError` where the value of the expression in a row depends on other rows."""
    if positive is None:
        return
    tree = json.loads(pl.sql_expr(positive).meta.serialize(format="json"))
    if _MULTI_ROW_NODES & set(_nodes(tree)):
        raise DataError(
            "positive cannot be computed",
            [
                f"[interactions] positive = {positive!r} depends on more than one row; a log that is read "
                "in parts needs an expression of one row (or raise data.stream_above to read the log whole)"
            ],
        )


def _nodes(tree: Any) -> Iterator[str]:
    """Kinds of the nodes of a polars expression, without column names and literal values."""
    if isinstance(tree, str):
        yield tree
    for key, child in tree.items() if isinstance(tree, dict) else ():
        yield key
        if key not in ("Column", "Literal", "dtype"):
            yield from _nodes(child)
    for child in tree if isinstance(tree, list) else ():
        yield from _nodes(child)
