"""The checks of one raw table: rejected rows, problems and warnings."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from features.dataset.files.readers import RawTable
from features.dataset.rejected import count_reasons
from features.dataset.sections import TimeUnit
from features.dataset.tables import Rejected
from features.dataset.values import casting, list_columns, times
from recsys.columns import Columns
from recsys.errors import DataError, clipped

DUPLICATE_ID = "id appears twice; the first row was kept"  # a reason of rejected rows


def unreadable(meaning: str) -> Callable[[object], str]:
    """A function from the first value of a column to the problem that no value of the column is `meaning`."""
    return lambda example: f"no value is {meaning}; the first is {clipped(repr(example))}"


def named_files(files: Sequence[str]) -> str:
    """The name of the only file, else the number of files."""
    return files[0] if len(files) == 1 else f"{len(files)} files"


@dataclass(kw_only=True)
class Remark:
    """A warning about values of a column that were read but may be wrong."""

    column: str
    message: str
    count: int
    row: int  # the first of the rows
    value: str  # in that row

    def __str__(self) -> str:
        rows = "1 row" if self.count == 1 else f"{self.count:,} rows"
        return f"column {self.column!r}: {rows} ({self.value!r} in row {self.row}): {self.message}"


def nothing_left(reasons: Iterable[Mapping[str, Any]]) -> str:
    """The problem of a table whose rows were all rejected; `reasons` is the result of `count_reasons`."""
    words = sorted(
        f"{entry['column']}: {entry['reason']} (row {entry['example']['row']}: {entry['example']['value']!r})"
        for entry in reasons
    )
    return f"no row is left; rejected for {'; '.join(words)}"


def _marked(mask: pl.Series) -> npt.NDArray[np.bool_]:
    """The mask with False for null."""
    return (mask.fill_null(False) if mask.null_count() else mask).to_numpy()


class TableChecker:
    """Checks a table: which rows are kept, which values are rejected, which problems the table has.

    Checks of whole columns are methods of their own (`require_readable`, `require_true_once`,
    `is_whole`, `text_kind`, `known_failure`, `unit_hint`, `holds_dates`), so that a table may be checked a
    part at a time.
    """

    def __init__(self, raw: RawTable) -> None:
        self.raw = raw
        self.kept: npt.NDArray[np.bool_] = np.ones(raw.frame.height, np.bool_)
        self.rejected: list[Rejected] = []
        self.problems: list[str] = []
        self.remarks: dict[str, Remark] = {}
        self.list_like: dict[str, list_columns.ListForm] = {}
        self.separators: Mapping[str, str] = {}

    def reject(self, mask: pl.Series, column: str, reason: str) -> None:
        """Reject the rows of `mask`. A row has one reason, the first."""
        bad = _marked(mask) & self.kept
        self._note_rows(bad, column, reason)
        self.kept &= ~bad

    def note(self, mask: pl.Series, column: str, reason: str) -> None:
        """Record the values of `mask` as rejected; their rows are kept without the values."""
        self._note_rows(_marked(mask), column, reason)

    def _note_rows(self, marked: npt.NDArray[np.bool_], column: str, reason: str) -> None:
        if marked.any():
            rows = np.flatnonzero(marked)
            self.note_values(rows.tolist(), self.raw.frame[column][rows].to_list(), column, reason)

    def note_values(self, rows: Sequence[int], values: Sequence[object], column: str, reason: str) -> None:
        """Record `values[i]`, which is in row `rows[i]`, as rejected. A row may occur several times."""
        if rows:
            self.rejected += self.raw.describe(rows, values, column, reason)

    def remark(self, mask: pl.Series, column: str, message: str) -> None:
        """Warn about the values of `mask`; the values are kept."""
        rows = np.flatnonzero(_marked(mask))
        if not len(rows):
            return
        row = int(rows[0])
        value = clipped(str(self.raw.frame[column][row]))
        first = Remark(column=column, message=message, count=0, row=row + self.raw.offset, value=value)
        self.remarks.setdefault(f"{column}: {message}", first).count += len(rows)

    def warnings(self) -> list[str]:
        """One sentence for each column that looks like lists and each remark, with its table and file."""
        found = list_columns.list_warnings(self.raw.name, self.list_like, self.separators)
        found += [str(remark) for remark in self.remarks.values()]
        return [self.named(message) for message in found]

    def cast(
        self,
        column: str,
        to: Callable[[pl.Series], pl.Series],
        problem: Callable[[object], str],
        given: Callable[[pl.Series], pl.Series] = casting.is_given,
        series: pl.Series | None = None,
    ) -> pl.Series:
        """The column cast by `to`. Values that cannot be cast are null.

        If `to` raises, or if no given value can be cast, the table gets a problem: `problem` of the first
        given value. `given` marks the values that are not missing. `series` replaces the raw column.
        """
        series = casting.without_nan(self.raw.frame[column] if series is None else series)
        try:
            result = to(series)
        except DataError as error:
            self.problem(column, str(error))
            return pl.Series(column, [None] * len(series))
        self.require_readable(f"column {column!r}", result, series.filter(given(series)), problem)
        return result

    def require_readable(
        self, subject: str, result: pl.Series, given: pl.Series, problem: Callable[[object], str]
    ) -> None:
        """Add a problem where there are values, `given`, and all of `result` is null.

        `subject`, such as "column 'stars'", is the beginning of the message.
        """
        if len(given) and result.null_count() == len(result):
            self.problem_of_table(f"{subject} {problem(given[0])}")

    def require_true_once(self, truth: pl.Series, problem: str) -> None:
        """Add `problem` where there are rows and `truth` is true of none."""
        if len(truth) and not truth.any():
            self.problems.append(problem)

    def is_whole(self, column: str, text: pl.Series) -> bool:
        """Whether all ids of the column are whole numbers with a point, such as "123.0"."""
        return casting.all_whole(text)

    def text_kind(self, column: str, text: pl.Series) -> casting.TextKind:
        """The kinds of values of a text column; `text` has the values of its kept rows."""
        return casting.TextKind.of(text)

    def known_failure(self, label: str) -> str | None:
        """The error of an expression with the column types `label`, if it failed on an earlier part."""
        return None

    def note_failure(self, label: str, problem: str) -> None:
        """Record that an expression failed with the column types `label`."""

    def unit_hint(self, column: str, unit: TimeUnit) -> str | None:
        """The problem of a column whose times seem to be in another unit; see `times.unit_hint`."""
        return times.unit_hint(self.raw.frame[column], unit)

    def holds_dates(self, column: str, unit: TimeUnit) -> bool:
        """Whether the column has dates; otherwise its times may count from 0."""
        return times.holds_dates(self.raw.frame[column], unit)

    def problem(self, column: str, message: str) -> None:
        self.problem_of_table(f"column {column!r} {message}")

    def problem_of_table(self, message: str) -> None:
        self.problems.append(self.named(message))

    def named(self, message: str) -> str:
        """The message with the table and its files before it."""
        return f"[{self.raw.name}] {named_files(self.raw.files)}: {message}"

    def required_id(self, column: str) -> pl.Series:
        """Ids as strings. Rows without a valid id are rejected."""
        ids = self._ids(column)
        self._reject_faulty(casting.id_fault(ids), column)
        return ids

    def optional_id(self, column: str) -> pl.Series:
        """Ids as strings, null where the value is missing. Rows with an id that is not valid are rejected."""
        ids = self._ids(column)
        self._reject_faulty(casting.id_fault(ids).set(ids.is_null(), None), column)
        return ids

    def _ids(self, column: str) -> pl.Series:
        """Ids as strings, null where missing, with the warnings about them."""
        ids = self.cast(
            column,
            lambda series: casting.as_id(series, lambda text: self.is_whole(column, text)),
            unreadable("an id"),
        ).cast(pl.String)
        self.remark(casting.is_shortened(ids), column, casting.SHORTENED)
        if ids.null_count() < len(ids):
            self.remark(casting.is_fractional(self.raw.frame[column]), column, casting.FRACTIONAL)
        return ids

    def _reject_faulty(self, fault: pl.Series, column: str) -> None:
        if fault.null_count() == len(fault):
            return
        for reason in fault.drop_nulls().unique().sort():
            self.reject(fault == reason, column, reason)

    def time(self, column: str, unit: TimeUnit) -> pl.Series:
        """Times, null where unreadable. No row is rejected."""
        hint = self.unit_hint(column, unit)
        if hint:
            self.problem(column, hint)
            return pl.Series(column, [None] * self.raw.frame.height, dtype=pl.Int64)
        return self.cast(
            column,
            lambda series: times.as_time(series, unit),
            lambda example: times.no_times_problem(example, unit),
            casting.is_number_given,
        )

    def required_time(self, column: str, unit: TimeUnit) -> pl.Series:
        """Times. Rows without a time, or with an implausible time in `unit`, are rejected."""
        found = self.given_time(column, unit)
        self.reject(found.is_null(), column, "no time")
        return found

    def given_time(self, column: str, unit: TimeUnit) -> pl.Series:
        """Times, null where missing. Rows with an unreadable or implausible time are rejected."""
        found = self.time(column, unit)
        for mask, reason in self._implausible_times(column, found, unit):
            self.reject(mask, column, reason)
        given = casting.is_number_given(self.raw.frame[column])
        self.reject(given & found.is_null(), column, times.not_a_time(unit))
        return found

    def _implausible_times(
        self, column: str, found: pl.Series, unit: TimeUnit
    ) -> list[tuple[pl.Series, str]]:
        if found.dtype == pl.Null:
            return []  # `self.problems` has the problem of the whole column
        series = self.raw.frame[column]
        return times.implausible_times(series, found, unit, has_dates=self.holds_dates(column, unit))

    def number(self, column: str) -> pl.Series:
        """Finite numbers, null where missing. Rows with another value are rejected. NaN counts as missing."""
        numbers, unreadable_rows = self._numbers(column)
        self.reject(unreadable_rows, column, "not a finite number")
        return numbers

    def optional_number(self, column: str) -> pl.Series:
        """Finite numbers, null where missing or unreadable. Rows are kept; unreadable values are noted."""
        numbers, unreadable_rows = self._numbers(column)
        self.note(unreadable_rows, column, "not a finite number")
        return numbers

    def _numbers(self, column: str) -> tuple[pl.Series, pl.Series]:
        """Numbers, and a mask of the values that are not numbers."""
        numbers = self.cast(column, casting.as_number, unreadable("a number"), casting.is_number_given)
        return numbers, casting.is_number_given(self.raw.frame[column]) & numbers.is_null()

    def optional_time(self, column: str, unit: TimeUnit) -> pl.Series:
        """Times, null where missing or unreadable. Rows are kept; unreadable values are noted."""
        found = self.time(column, unit)
        unclear = casting.is_number_given(self.raw.frame[column]) & found.is_null()
        for mask, reason in self._implausible_times(column, found, unit):
            new = mask.fill_null(False) & (unclear | found.is_not_null())
            self.note(new, column, reason)
            unclear &= ~new
            found = found.set(new, None)
        self.note(unclear, column, times.not_a_time(unit))
        return found

    def lists(self, column: str, separators: Mapping[str, str], *, warn: bool = True) -> pl.Series:
        """The raw column; a text column that `separators` names as List(String).

        A text that is not a list is noted and becomes null. With `warn`, a column that looks like lists and
        is not in `separators` gets a warning.
        """
        series = casting.plain_text(self.raw.frame[column])
        if series.dtype != pl.String:
            return series
        separator = separators.get(column)
        self.separators = {**self.separators, **separators}
        self._warn_of_lists(column, list_columns.list_forms(series) if warn else [], separator)
        if separator is None:
            return series
        lists = list_columns.split_lists(series, separator)
        self.note(casting.is_given(series) & lists.is_null(), column, list_columns.NOT_A_LIST)
        return lists

    def _warn_of_lists(
        self, column: str, forms: Sequence[list_columns.ListForm], separator: str | None
    ) -> None:
        """Record the most frequent form, which a warning proposes, and count the lists of other forms."""
        named = separator is not None
        if forms and (separator is None or forms[0].separator == list_columns.BRACKETS != separator):
            self.list_like[column] = forms[0]
            separator = forms[0].separator
        for form in forms:
            # An element of a list with one separator may contain another separator.
            if form.separator != separator and (
                not named or list_columns.BRACKETS in (form.separator, separator)
            ):
                self.remark(form.mask, column, list_columns.other_form(column, str(separator)))

    def keep_first(self, ids: pl.Series, column: str) -> None:
        """Reject every row whose id is also in an earlier kept row."""
        rows = pl.DataFrame({"id": ids, "kept": self.kept})
        again = rows.select(~pl.col("id").is_first_distinct().over("kept") & pl.col("kept"))
        self.reject(again.to_series(), column, DUPLICATE_ID)

    def rows(self) -> pl.Series:
        """The number of each row, counted from 0 over all files of the table."""
        start, height = self.raw.offset, self.raw.frame.height
        return pl.int_range(start, start + height, dtype=pl.Int64, eager=True).alias(Columns.ROW)

    def finish(self, columns: Sequence[pl.Series]) -> pl.DataFrame:
        """The kept rows of `columns`; a problem where no row is kept."""
        frame = pl.DataFrame(columns).filter(pl.Series(self.kept))
        if not frame.height and not self.problems:
            self.problem_of_table(nothing_left(count_reasons(self.rejected)))
        return frame
