"""Raw columns to times: Int64 microseconds since 1970, or positions. An unreadable time becomes null.

dataset.toml declares the unit of a column; the unit is never guessed. If the values contradict the declared
unit, the error names the unit that fits them.
"""

from typing import get_args

import polars as pl

from features.dataset.sections import TimeUnit
from features.dataset.values.casting import as_number, as_text, is_number_given, is_numeric_or_text, plain
from recsys.errors import DataError, clipped

KNOWN_FORMS = (
    "2020-09-23, 2020/09/23, 20200923, 2020-09-23 16:01, 2020-09-23T16:01:05.25, "
    "each time also with Z, UTC or +02:00 after it"
)
_PER_SECOND = {"unix_s": 1, "unix_ms": 1_000, "unix_us": 1_000_000, "unix_ns": 1_000_000_000}
_NAMES = {
    "unix_s": "seconds", "unix_ms": "milliseconds", "unix_us": "microseconds", "unix_ns": "nanoseconds",
}  # fmt: skip
_UNITS = ", ".join(name for name in get_args(TimeUnit) if name in _PER_SECOND)
# Microseconds of 9999-12-31, the last day that Python can represent.
_LAST_US = 253_402_300_799_999_999
_SECONDS_OF_1973, _SECONDS_OF_2200 = 94_694_400, 7_258_118_400  # range of the median time of a log
_SECONDS_OF_1990, _SECONDS_OF_2100 = (
    631_152_000,
    4_102_444_800,
)  # range of single dates
# The medians at which the result of `unit_hint_of_median` changes.
HINT_EDGES = tuple(
    sorted(
        edge * scale
        for edge in (_SECONDS_OF_1973, _SECONDS_OF_1990, _SECONDS_OF_2100, _SECONDS_OF_2200)
        for scale in _PER_SECOND.values()
    )
)
_TOO_LATE = "a time after the year 2100"
_MAX_POSITION = 2.0**62
_ISO_FORMATS = ("%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M")
# Year, month and day; hour, minute, seconds and fraction; time zone. Rust's regex has no look-around.
_ANY_FORM = (
    r"^(?<year>\d{4})(?:(?:-(?<m1>\d{1,2})-(?<d1>\d{1,2}))|(?:/(?<m2>\d{1,2})/(?<d2>\d{1,2}))"
    r"|(?:(?<m3>\d{2})(?<d3>\d{2})))"
    r"(?:[Tt ]?\s*(?<hour>\d{1,2})(?::(?<min1>\d{2})(?::(?<s1>\d{2}))?|(?<min2>\d{2})(?<s2>\d{2})?)"
    r"(?:[.,](?<fraction>\d{1,9})\d*)?"
    r"\s*(?<zone>[Zz]|(?i:utc|gmt)|[+-]\d{2}(?::?\d{2})?)?)?$"
)
_DAY_OR_MONTH_FIRST = r"^\s*\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}\b"


def as_time(series: pl.Series, unit: TimeUnit) -> pl.Series:
    """Int64 microseconds since 1970-01-01 UTC, for `order` positions; null where a value is not a time.

    A date without a time zone is in UTC. Negative numbers are not times. Nanoseconds are rounded down to
    microseconds. Raises `DataError` where the type of the column is not a type of times.
    """
    series = plain(series, "a time")
    if series.dtype in (pl.Boolean, pl.Duration, pl.Time):
        raise DataError(f"is {series.dtype}, not a time")
    if series.dtype in (pl.Datetime, pl.Date):
        return series.cast(pl.Datetime("us")).cast(pl.Int64)
    if unit == "iso":
        return _from_iso(as_text(series))
    if series.dtype == pl.String:
        series = series.str.strip_chars()
    exact = series.cast(pl.Int64, strict=False)
    number = series.cast(pl.Float64, strict=False)
    per_us = 1 if unit == "order" else _PER_SECOND[unit] / 1_000_000  # 1/1000 for milliseconds
    limit = _MAX_POSITION if unit == "order" else _LAST_US * per_us
    valid = number.is_finite() & (number >= 0) & (number <= limit)
    whole = exact.set(~valid.fill_null(False), None)
    whole = whole // 1_000 if per_us > 1 else whole * round(1 / per_us)
    if series.dtype.is_integer():
        return whole.cast(pl.Int64)
    scaled = number.set(~valid.fill_null(False), None) / per_us
    if unit == "order":
        scaled = scaled.set((number != number.round()).fill_null(False), None)
    fraction = (scaled.floor() if per_us > 1 else scaled.round()).cast(pl.Int64, strict=False)
    return whole.cast(pl.Int64).zip_with(_is_exact(exact, number), fraction)


def not_a_time(unit: TimeUnit) -> str:
    """The reason that rejects a single value, with the accepted forms."""
    return f"not a time (time = {unit!r})" + (f"; known forms: {KNOWN_FORMS}" if unit == "iso" else "")


def no_times_problem(example: object, unit: TimeUnit) -> str:
    """The problem of a column in which no value is a time; `example` is its first value."""
    problem = f"no value is a time (time = {unit!r}); the first is {clipped(repr(example))}"
    text = pl.Series([str(example)])
    if text.str.contains(_DAY_OR_MONTH_FIRST).item():
        return f"{problem}: day and month could be read in either order; write the year first: {KNOWN_FORMS}"
    if unit != "iso" and _from_iso(text).null_count() == 0:
        return f"{problem}; did you mean time = 'iso'?"
    if unit == "iso":
        return f"{problem}; known forms: {KNOWN_FORMS}; for numbers since 1970 the units {_UNITS}"
    return problem


def unit_hint(series: pl.Series, unit: TimeUnit) -> str | None:
    """The problem of a column of numbers whose median is an implausible date in `unit`, else None.

    The message names the unit in which the median is plausible. The result is None for a column with fewer
    numbers than dates: `implausible_times` rejects the rows of the numbers.
    """
    if unit == "order" or not is_numeric_or_text(series):
        return None
    numbers = as_number(series)
    if not is_mostly_numbers(numbers.count(), int(is_number_given(series).sum())):
        return None
    return unit_hint_of_median(numbers.median(), unit)


def is_mostly_numbers(num_numbers: int, num_given: int) -> bool:
    """Whether more than half of the values of a column are numbers, as `unit_hint` requires."""
    return 2 * num_numbers > num_given


def unit_hint_of_median(median: object, unit: TimeUnit) -> str | None:
    """`unit_hint` of a column of numbers with this median; None where `median` is None."""
    if not isinstance(median, int | float):
        return None
    if unit == "iso":
        # The digits of a date, such as 20200923 or 20200923160105, are before 1990 in every unit.
        meant = next((name for name in _PER_SECOND if _fits(median, name, _SECONDS_OF_1990)), None)
        return f"holds numbers, not dates; did you mean time = {meant!r}?" if meant else None
    if median > _SECONDS_OF_2200 * _PER_SECOND[unit]:
        finer = [name for name in _PER_SECOND if _PER_SECOND[name] > _PER_SECOND[unit]]
        meant = next((name for name in finer if median <= _SECONDS_OF_2200 * _PER_SECOND[name]), None)
        end = f"; did you mean time = {meant!r}?" if meant else f"; known units: {_UNITS}"
        return f"has most of its times after the year 2200{end}"
    # A median before 1973 in every unit is a made-up time, as in tests; it is accepted.
    for name, scale in _PER_SECOND.items():
        if scale < _PER_SECOND[unit] and _fits(median, name, _SECONDS_OF_1973, _SECONDS_OF_2200):
            return f"has most of its times in the year 1970; did you mean time = {name!r}?"
    return None


def _fits(number: float, unit: str, first: int, last: int = _SECONDS_OF_2100) -> bool:
    return first * _PER_SECOND[unit] < number < last * _PER_SECOND[unit]


def implausible_times(
    series: pl.Series, times: pl.Series, unit: TimeUnit, *, has_dates: bool
) -> list[tuple[pl.Series, str]]:
    """Pairs of a mask of implausible raw values and the reason that rejects them.

    `times` is `as_time` of `series`, `has_dates` is `holds_dates` of the column. With dates in the column,
    values in early 1970 are implausible if they are dates in a coarser unit; otherwise they are kept, since
    a log may count from 0.
    """
    too_late = (times > _SECONDS_OF_2100 * 1_000_000, _TOO_LATE)
    if series.dtype.is_temporal():
        return [too_late]
    number = as_number(series)
    if unit == "iso":
        # The digits of some Unix times can be read as a date: 1609123123456 as 1609-12-31.
        found = [
            (_is_date(number, scale), _number_among_dates(_NAMES[other]))
            for other, scale in _PER_SECOND.items()
        ]
        return [*found, too_late]
    found = [(number < 0, "a negative time")]
    if unit == "order":
        return found
    scale, name = _PER_SECOND[unit], _NAMES[unit]
    for other, other_scale in _PER_SECOND.items():
        is_date = _is_date(number, other_scale)
        if other_scale > scale:
            description = f"after the year 2100 in {name}, a date in {_NAMES[other]}"
            found.append((is_date, f"{description}; divide it by {other_scale // scale}"))
        elif other_scale < scale:
            description = f"in early 1970 in {name}, a date in {_NAMES[other]}"
            found.append((is_date & has_dates, f"{description}; multiply it by {scale // other_scale}"))
    return [*found, (number > _SECONDS_OF_2100 * scale, _TOO_LATE)]


def holds_dates(series: pl.Series, unit: TimeUnit) -> bool:
    """Whether a number of the column is between 1990 and 2100 in a unit finer than seconds."""
    if unit in ("iso", "order", "unix_s") or not is_numeric_or_text(series):
        return False
    return bool(_is_date(as_number(series), _PER_SECOND[unit]).any())


def _number_among_dates(unit: str) -> str:
    return f"a number, not a date; in {unit} since 1970 it would be a date: write it as a date"


def _is_date(number: pl.Series, scale: int) -> pl.Series:
    """Which numbers are between 1990 and 2100, in a unit with `scale` units per second."""
    return number.is_between(_SECONDS_OF_1990 * scale, _SECONDS_OF_2100 * scale)


def _from_iso(text: pl.Series) -> pl.Series:
    """`as_time` of texts. The most frequent forms are tried first, the slower regex only where they fail."""
    text = text.str.strip_chars().str.replace(" ", "T", literal=True).str.replace(r"[Zz]$", "+00:00")
    zoned = text.str.strptime(pl.Datetime("us", "UTC"), "%Y-%m-%dT%H:%M:%S%.f%#z", strict=False)
    plain_form = (text + "T00:00").zip_with(text.str.contains(r"^\d{4}-\d\d-\d\d$").fill_null(False), text)
    forms = (plain_form.str.strptime(pl.Datetime("us"), form, strict=False) for form in _ISO_FORMATS)
    frame = pl.DataFrame([time.cast(pl.Int64).alias(str(at)) for at, time in enumerate([zoned, *forms])])
    times = frame.select(pl.coalesce(pl.all())).to_series()
    missing = times.is_null() & text.is_not_null()
    if missing.any():
        times = times.scatter(missing.arg_true(), _from_any_form(text.filter(missing)))
    return times.alias(text.name)


def _from_any_form(text: pl.Series) -> pl.Series:
    """`as_time` of texts in any of `KNOWN_FORMS`. A regex splits them; the parts are joined to one form."""
    parts = pl.DataFrame({"text": text}).select(pl.col("text").str.extract_groups(_ANY_FORM)).unnest("text")

    def part(*names: str, default: str = "00") -> pl.Expr:
        return pl.coalesce(*names, pl.lit(default)).str.zfill(2)

    offset = pl.col("zone").str.replace(":", "", literal=True)
    offset = (
        pl.when(offset.str.contains(r"^[+-]\d{2}$")).then(offset + "00")
        .when(offset.str.contains(r"^[+-]")).then(offset)
        .otherwise(pl.lit("+0000"))
    )  # fmt: skip
    date = pl.concat_str(pl.col("year"), part("m1", "m2", "m3"), part("d1", "d2", "d3"), separator="-")
    clock = pl.concat_str(part("hour"), part("min1", "min2"), part("s1", "s2"), separator=":")
    fraction = pl.lit(".") + pl.col("fraction").fill_null("0")
    joined = parts.select(pl.concat_str(date, pl.lit("T"), clock, fraction, offset)).to_series()
    return joined.str.strptime(pl.Datetime("us", "UTC"), "%Y-%m-%dT%H:%M:%S%.f%z", strict=False).cast(
        pl.Int64
    )


def _is_exact(exact: pl.Series, number: pl.Series) -> pl.Series:
    """Where the integer `exact` equals the float `number`."""
    return exact.is_not_null() & (exact.cast(pl.Float64) == number)
