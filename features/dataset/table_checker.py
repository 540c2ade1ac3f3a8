"""One raw table while it is being checked."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from features.dataset import casting
from features.dataset.readers import RawTable
from features.dataset.rejected import count_reasons
from features.dataset.schema import TimeUnit
from features.dataset.tables import Rejected
from recsys.errors import DataError, clipped


def unreadable(meaning: str, example: object) -> str:
    return f"no value is {meaning}; the first is {clipped(repr(example))}"


def nothing_left(reasons: Iterable[Mapping[str, Any]]) -> str:
    """Why every row of a table was rejected; `reasons` as `count_reasons` gives them."""
    words = sorted(
        f"{entry['column']}: {entry['reason']} (row {entry['example']['row']}: {entry['example']['value']!r})"
        for entry in reasons
    )
    return f"no row is left; rejected for {'; '.join(words)}"


class TableChecker:
    """Which rows still stand, what was rejected, and what is wrong with the whole table.

    What can be said only of whole columns stands in methods of its own (`hold_readable`, `hold_once`,
    `is_whole`, `inferred`, `unit_hint`, `holds_dates`), so that a table may be checked a part at a time.
    """

    def __init__(self, raw: RawTable) -> None:
        self.raw = raw
        self.kept: npt.NDArray[np.bool_] = np.ones(raw.frame.height, np.bool_)
        self.rejected: list[Rejected] = []
        self.problems: list[str] = []

    def reject(self, mask: pl.Series, column: str, reason: str) -> None:
        """Set the rows of `mask` aside; a row has one reason, the first."""
        bad = mask.fill_null(False).to_numpy() & self.kept
        self.note(pl.Series(bad), column, reason)
        self.kept &= ~bad

    def note(self, mask: pl.Series, column: str, reason: str) -> None:
        """Write the values of `mask` down as left out; their rows live on without them."""
        rows = mask.fill_null(False).arg_true()
        self.note_values(rows.to_list(), self.raw.frame[column].gather(rows).to_list(), column, reason)

    def note_values(self, rows: Sequence[int], values: Sequence[object], column: str, reason: str) -> None:
        """The same for single values of lists: `values[i]` stood in `rows[i]`."""
        if rows:
            self.rejected += self.raw.describe(rows, values, column, reason)

    def cast(self, column: str, to: Callable[[pl.Series], pl.Series], meaning: str) -> pl.Series:
        """The column cast by `to`; a problem where that fails or no value at all can be read."""
        series = self.raw.frame[column]
        try:
            result = to(series)
        except DataError as error:
            self.problem(column, str(error))
            return pl.Series(column, [None] * len(series))
        self.hold_readable(column, series, result, meaning)
        return result

    def hold_readable(self, column: str, series: pl.Series, result: pl.Series, meaning: str) -> None:
        """A problem where there are values and none could be read."""
        given = casting.is_given(series)
        if given.any() and result.null_count() == len(result):
            example = series.filter(given)[0]
            self.problem(column, unreadable(meaning, example))

    def hold_once(self, truth: pl.Series, problem: str) -> None:
        """A problem where there are rows and the truth holds of none."""
        if len(truth) and not truth.any():
            self.problems.append(problem)

    def is_whole(self, column: str, text: pl.Series) -> bool:
        """Whether the ids of the column are all whole numbers with a point."""
        return casting.all_whole(text)

    def inferred(self, column: str) -> pl.Series:
        """A text column as integers, numbers or truth values where every value of it is one."""
        return casting.inferred(self.raw.frame[column])

    def unit_hint(self, column: str, unit: TimeUnit) -> str | None:
        """What is wrong where the column's times seem to be in another unit."""
        return casting.unit_hint(self.raw.frame[column], unit)

    def holds_dates(self, column: str, unit: TimeUnit) -> bool:
        """Whether the column has dates at all, or may as well count from 0."""
        return casting.holds_dates(self.raw.frame[column], unit)

    def problem(self, column: str, message: str) -> None:
        self.problem_of_table(f"column {column!r} {message}")

    def problem_of_table(self, message: str) -> None:
        self.problems.append(self.named(message))

    def named(self, message: str) -> str:
        """The message with the table and its files before it."""
        files = self.raw.files[0] if len(self.raw.files) == 1 else f"{len(self.raw.files)} files"
        return f"[{self.raw.name}] {files}: {message}"

    def required_id(self, column: str) -> pl.Series:
        """Ids; rows without a usable one are rejected."""
        ids = self.cast(
            column, lambda series: casting.as_id(series, lambda text: self.is_whole(column, text)), "an id"
        ).cast(pl.String)
        fault = casting.id_fault(ids)
        for reason in fault.drop_nulls().unique().sort():
            self.reject(fault == reason, column, reason)
        return ids

    def time(self, column: str, unit: TimeUnit) -> pl.Series:
        """Times; unreadable ones are null, and what to do with their rows is the caller's matter."""
        hint = self.unit_hint(column, unit)
        if hint:
            self.problem(column, hint)
            return pl.Series(column, [None] * self.raw.frame.height, dtype=pl.Int64)
        return self.cast(column, lambda series: casting.as_time(series, unit), f"a time (time = {unit!r})")

    def required_time(self, column: str, unit: TimeUnit) -> pl.Series:
        """Times; rows without one, or with one that cannot be meant in `unit`, are rejected."""
        times = self.given_time(column, unit)
        self.reject(times.is_null(), column, f"not a time (time = {unit!r})")
        return times

    def given_time(self, column: str, unit: TimeUnit) -> pl.Series:
        """The same, but a row may have none."""
        times = self.time(column, unit)
        for mask, reason in self._odd_times(column, times, unit):
            self.reject(mask, column, reason)
        self.reject(
            casting.is_given(self.raw.frame[column]) & times.is_null(),
            column,
            f"not a time (time = {unit!r})",
        )
        return times

    def _odd_times(self, column: str, times: pl.Series, unit: TimeUnit) -> list[tuple[pl.Series, str]]:
        if times.dtype == pl.Null:
            return []  # the whole column is the problem, already written down
        series = self.raw.frame[column]
        return casting.odd_times(series, times, unit, dated=self.holds_dates(column, unit))

    def number(self, column: str) -> pl.Series:
        """Numbers; rows whose value is there but is no finite number are rejected."""
        numbers = self.cast(column, casting.as_number, "a number")
        unreadable = casting.is_given(self.raw.frame[column]) & numbers.is_null()
        self.reject(unreadable, column, "not a finite number")
        return numbers

    def optional_number(self, column: str) -> pl.Series:
        """Numbers; an unreadable one is noted and null, its row stays."""
        numbers = self.cast(column, casting.as_number, "a number")
        self.note(casting.is_given(self.raw.frame[column]) & numbers.is_null(), column, "not a finite number")
        return numbers

    def optional_time(self, column: str, unit: TimeUnit) -> pl.Series:
        """Times; an unreadable one is noted and null, its row stays."""
        times = self.time(column, unit)
        unclear = casting.is_given(self.raw.frame[column]) & times.is_null()
        for mask, reason in self._odd_times(column, times, unit):
            new = mask.fill_null(False) & (unclear | times.is_not_null())
            self.note(new, column, reason)
            unclear &= ~new
            times = times.set(new, None)
        self.note(unclear, column, "not a time")
        return times

    def keep_first(self, ids: pl.Series, column: str) -> None:
        """Reject every later row with an id that already stood."""
        standing = pl.DataFrame({"id": ids, "kept": self.kept})
        again = standing.select(~pl.col("id").is_first_distinct().over("kept") & pl.col("kept"))
        self.reject(again.to_series(), column, "id stands twice; the first row was kept")

    def finish(self, columns: Sequence[pl.Series]) -> pl.DataFrame:
        """The rows that were kept, with these columns."""
        frame = pl.DataFrame(columns).filter(pl.Series(self.kept))
        if not frame.height and not self.problems:
            self.problem_of_table(nothing_left(count_reasons(self.rejected)))
        return frame
