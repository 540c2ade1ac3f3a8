"""One raw table while it is being checked."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from features.dataset.files.readers import RawTable
from features.dataset.rejected import count_reasons
from features.dataset.schema import TimeUnit
from features.dataset.tables import Rejected
from features.dataset.values import casting, list_columns, times
from recsys.columns import Columns
from recsys.errors import DataError, clipped


def unreadable(meaning: str) -> Callable[[object], str]:
    """What is wrong with a column that has values and none with that meaning, given the first of them."""
    return lambda example: f"no value is {meaning}; the first is {clipped(repr(example))}"


def named_files(files: Sequence[str]) -> str:
    """The file, or how many there are."""
    return files[0] if len(files) == 1 else f"{len(files)} files"


@dataclass(kw_only=True)
class Remark:
    """Values of a column that are read as they are, though something else may be meant."""

    column: str
    message: str
    count: int
    row: int
    value: str  # in that row, the first

    def __str__(self) -> str:
        rows = "1 row" if self.count == 1 else f"{self.count:,} rows"
        return f"column {self.column!r}: {rows} ({self.value!r} in row {self.row}): {self.message}"


def nothing_left(reasons: Iterable[Mapping[str, Any]]) -> str:
    """Why every row of a table was rejected; `reasons` as `count_reasons` gives them."""
    words = sorted(
        f"{entry['column']}: {entry['reason']} (row {entry['example']['row']}: {entry['example']['value']!r})"
        for entry in reasons
    )
    return f"no row is left; rejected for {'; '.join(words)}"


class TableChecker:
    """Which rows are kept, which values were rejected, and which problems the whole table has.

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

    def remark(self, mask: pl.Series, column: str, message: str) -> None:
        """A warning about the values of `mask`, which are read as they are."""
        rows = mask.fill_null(False).arg_true()
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
        """The column cast by `to`; a problem where that fails or no value at all can be read.

        `problem` says what is wrong then, of the first value that is `given`. `series` stands in for the
        raw column.
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
        """A problem where there are values, those `given`, and none could be read.

        `subject`, such as "column 'stars'", is the beginning of the message.
        """
        if len(given) and result.null_count() == len(result):
            self.problem_of_table(f"{subject} {problem(given[0])}")

    def require_true_once(self, truth: pl.Series, problem: str) -> None:
        """A problem where there are rows and the truth holds of none."""
        if len(truth) and not truth.any():
            self.problems.append(problem)

    def is_whole(self, column: str, text: pl.Series) -> bool:
        """Whether the ids of the column are all whole numbers with a point."""
        return casting.all_whole(text)

    def text_kind(self, column: str, text: pl.Series) -> casting.TextKind:
        """What the values of a text column are, given those of its kept rows."""
        return casting.TextKind.of(text)

    def known_failure(self, label: str) -> str | None:
        """Why an expression cannot be computed in that way, where another part has shown it."""
        return None

    def note_failure(self, label: str, problem: str) -> None:
        """An expression could not be computed in that way."""

    def unit_hint(self, column: str, unit: TimeUnit) -> str | None:
        """What is wrong where the column's times seem to be in another unit."""
        return times.unit_hint(self.raw.frame[column], unit)

    def holds_dates(self, column: str, unit: TimeUnit) -> bool:
        """Whether the column has dates at all, or may as well count from 0."""
        return times.holds_dates(self.raw.frame[column], unit)

    def problem(self, column: str, message: str) -> None:
        self.problem_of_table(f"column {column!r} {message}")

    def problem_of_table(self, message: str) -> None:
        self.problems.append(self.named(message))

    def named(self, message: str) -> str:
        """The message with the table and its files before it."""
        return f"[{self.raw.name}] {named_files(self.raw.files)}: {message}"

    def required_id(self, column: str) -> pl.Series:
        """Ids; rows without a usable one are rejected."""
        ids = self.cast(
            column,
            lambda series: casting.as_id(series, lambda text: self.is_whole(column, text)),
            unreadable("an id"),
        ).cast(pl.String)
        self.remark(casting.is_shortened(ids), column, casting.SHORTENED)
        if ids.null_count() < len(ids):
            self.remark(casting.is_fractional(self.raw.frame[column]), column, casting.FRACTIONAL)
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
        return self.cast(
            column,
            lambda series: times.as_time(series, unit),
            lambda example: times.no_times(example, unit),
            casting.is_number_given,
        )

    def required_time(self, column: str, unit: TimeUnit) -> pl.Series:
        """Times; rows without one, or with one that cannot be meant in `unit`, are rejected."""
        found = self.given_time(column, unit)
        self.reject(found.is_null(), column, "no time")
        return found

    def given_time(self, column: str, unit: TimeUnit) -> pl.Series:
        """The same, but a row may have none."""
        found = self.time(column, unit)
        for mask, reason in self._odd_times(column, found, unit):
            self.reject(mask, column, reason)
        given = casting.is_number_given(self.raw.frame[column])
        self.reject(given & found.is_null(), column, times.not_a_time(unit))
        return found

    def _odd_times(self, column: str, found: pl.Series, unit: TimeUnit) -> list[tuple[pl.Series, str]]:
        if found.dtype == pl.Null:
            return []  # the whole column is the problem, already written down
        series = self.raw.frame[column]
        return times.odd_times(series, found, unit, dated=self.holds_dates(column, unit))

    def number(self, column: str) -> pl.Series:
        """Numbers; rows whose value is there but is no finite number are rejected. NaN is no value."""
        numbers, unreadable_rows = self._numbers(column)
        self.reject(unreadable_rows, column, "not a finite number")
        return numbers

    def optional_number(self, column: str) -> pl.Series:
        """Numbers; an unreadable one is noted and null, its row stays. NaN is no value."""
        numbers, unreadable_rows = self._numbers(column)
        self.note(unreadable_rows, column, "not a finite number")
        return numbers

    def _numbers(self, column: str) -> tuple[pl.Series, pl.Series]:
        """Numbers, and where there is a value that is none."""
        numbers = self.cast(column, casting.as_number, unreadable("a number"), casting.is_number_given)
        return numbers, casting.is_number_given(self.raw.frame[column]) & numbers.is_null()

    def optional_time(self, column: str, unit: TimeUnit) -> pl.Series:
        """Times; an unreadable one is noted and null, its row stays."""
        found = self.time(column, unit)
        unclear = casting.is_number_given(self.raw.frame[column]) & found.is_null()
        for mask, reason in self._odd_times(column, found, unit):
            new = mask.fill_null(False) & (unclear | found.is_not_null())
            self.note(new, column, reason)
            unclear &= ~new
            found = found.set(new, None)
        self.note(unclear, column, times.not_a_time(unit))
        return found

    def lists(self, column: str, separators: Mapping[str, str], *, warn: bool = True) -> pl.Series:
        """The column as the file has it, or where `separators` names it with its texts as lists.

        A text that is no list is noted and null. A column that looks like lists and is not named is a
        warning.
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
        """Advise for the most frequent form, and count the lists that the advice would not split."""
        named = separator is not None
        if forms and (separator is None or forms[0].separator == list_columns.BRACKETS != separator):
            self.list_like[column] = forms[0]
            separator = forms[0].separator
        for form in forms:
            # Elements of a list with a separator may well hold another separator.
            if form.separator != separator and (
                not named or list_columns.BRACKETS in (form.separator, separator)
            ):
                self.remark(form.mask, column, list_columns.other_form(column, str(separator)))

    def keep_first(self, ids: pl.Series, column: str) -> None:
        """Reject every row whose id an earlier kept row has."""
        rows = pl.DataFrame({"id": ids, "kept": self.kept})
        again = rows.select(~pl.col("id").is_first_distinct().over("kept") & pl.col("kept"))
        self.reject(again.to_series(), column, "id appears twice; the first row was kept")

    def rows(self) -> pl.Series:
        """The place of each row in all files of the table, counted from 0."""
        start, height = self.raw.offset, self.raw.frame.height
        return pl.int_range(start, start + height, dtype=pl.Int64, eager=True).alias(Columns.ROW)

    def finish(self, columns: Sequence[pl.Series]) -> pl.DataFrame:
        """The rows that were kept, with these columns."""
        frame = pl.DataFrame(columns).filter(pl.Series(self.kept))
        if not frame.height and not self.problems:
            self.problem_of_table(nothing_left(count_reasons(self.rejected)))
        return frame
