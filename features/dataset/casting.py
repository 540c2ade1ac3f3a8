"""Raw columns to typed ones. A value that cannot be read becomes null, never a guess.

Every function returns a series as long as the one it was given. Raises `DataError` where the type of
the whole column is wrong.
"""

from collections.abc import Callable

import polars as pl

from features.dataset.schema import TimeUnit
from recsys.errors import DataError

MAX_ID_LENGTH = 1024  # characters; an id stands in many tables, and all ids of one as wide as the longest
# Microseconds of 0001-01-01 and 9999-12-31: what a calendar can hold.
_FIRST_US, _LAST_US = -62_135_596_800_000_000, 253_402_300_799_999_999
_MICROSECONDS = {"unix_s": 1_000_000, "unix_ms": 1_000, "order": 1}
_SECONDS_OF_1973, _SECONDS_OF_2200 = 94_694_400, 7_258_118_400
HINT_EDGES = (_SECONDS_OF_1973, _SECONDS_OF_2200)  # where the answer of `unit_hint` changes
TEXT_KINDS = (pl.Int64, pl.Float64, pl.Boolean)  # what a text column may hold, the first that fits
_SECONDS_OF_1990, _SECONDS_OF_2100 = 631_152_000, 4_102_444_800
_TOO_LATE = "a time after the year 2100"
_MILLISECONDS = "after the year 2100 in seconds, a date in milliseconds; divide it by 1000"
_SECONDS = "in early 1970 in milliseconds, a date in seconds; multiply it by 1000"
_EXACT = 2**53  # whole numbers beyond it have neighbours that a Float64 cannot tell from them
_ISO_FORMATS = ("%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M")


def is_given(series: pl.Series) -> pl.Series:
    """Where there is a value: neither null nor an empty string."""
    if series.dtype == pl.String:
        return series.is_not_null() & (series.str.strip_chars() != "")
    return series.is_not_null()


def as_text(series: pl.Series) -> pl.Series:
    """Strings, null where there is nothing but white space."""
    text = _plain(series, "text").cast(pl.String)
    return text.set(text.str.strip_chars() == "", None)


def all_whole(text: pl.Series) -> bool:
    """Whether there are values and each is a whole number with a point, such as "123.0"."""
    return bool(text.str.contains(r"^-?\d+\.0+$").all()) and text.null_count() < len(text)


def as_id(series: pl.Series, is_whole: Callable[[pl.Series], bool] = all_whole) -> pl.Series:
    """Ids as strings, null where empty: 123, 123.0 and "123.0" in an all-integer column are "123".

    White space and NUL characters around an id are padding and no part of it; otherwise ids are the same
    only if every character is: neither case nor Unicode normalisation is looked through. `is_whole`
    decides of a text column whether it is all-integer; the series may be a part of it.
    """
    if series.dtype == pl.Boolean or series.dtype.is_temporal():
        raise DataError(f"is {series.dtype}, not an id")
    if series.dtype.is_float() and (series.is_finite() & (series.abs() > _EXACT)).any():
        raise DataError(
            "holds ids beyond 2^53 as floating-point numbers, which cannot tell neighbours apart; "
            "write them as integers or as text"
        )
    return _as_word(series, is_whole)


def id_fault(ids: pl.Series) -> pl.Series:
    """Why an id cannot be used, null where it can. String."""
    fault = (
        pl.when(pl.col("id").is_null()).then(pl.lit("empty id"))
        .when(pl.col("id").str.contains("\0", literal=True)).then(pl.lit("an id with a NUL character"))
        .when(pl.col("id").str.len_chars() > MAX_ID_LENGTH)
        .then(pl.lit(f"an id of more than {MAX_ID_LENGTH:,} characters"))
    )  # fmt: skip
    return pl.DataFrame({"id": ids.cast(pl.String)}).select(fault.alias("fault")).to_series()


def as_name(series: pl.Series) -> pl.Series:
    """Short texts such as kinds of events, without padding, null where empty."""
    text = _plain(series, "a name").cast(pl.String).str.strip_chars("\0").str.strip_chars()
    return text.set(text == "", None)


def _as_word(series: pl.Series, is_whole: Callable[[pl.Series], bool] = all_whole) -> pl.Series:
    """Names, whole numbers among them without a point."""
    series = _plain(series, "an id")
    if series.dtype.is_decimal():
        series = series.cast(pl.Float64)
    if series.dtype.is_float():
        whole = series.cast(pl.Int64, strict=False)
        # NaN is how some libraries write a missing id.
        text = series.cast(pl.String).set(series.is_nan(), None)
        return whole.cast(pl.String).zip_with(whole.cast(pl.Float64) == series, text)
    text = as_name(series)
    if is_whole(text):
        text = text.str.replace(r"\.0+$", "")
    return text


def as_number(series: pl.Series) -> pl.Series:
    """Float64, null where there is no finite number."""
    series = _plain(series, "a number")
    if series.dtype.is_temporal():
        raise DataError(f"is a {series.dtype}, not a number")
    if series.dtype == pl.String:
        series = series.str.strip_chars()
    number = series.cast(pl.Float64, strict=False)
    return number.set(~number.is_finite(), None)


def as_time(series: pl.Series, unit: TimeUnit) -> pl.Series:
    """Int64 microseconds since the epoch (a position for `order`), null where it cannot be read.

    A date without a time zone is taken as UTC. Negative numbers are no time.
    """
    series = _plain(series, "a time")
    if series.dtype in (pl.Boolean, pl.Duration, pl.Time):
        raise DataError(f"is {series.dtype}, not a time")
    if series.dtype in (pl.Datetime, pl.Date):
        return series.cast(pl.Datetime("us")).cast(pl.Int64)
    if unit == "iso":
        return _from_iso(series)
    if series.dtype == pl.String:
        series = series.str.strip_chars()
    scale = _MICROSECONDS[unit]
    exact = series.cast(pl.Int64, strict=False)
    number = series.cast(pl.Float64, strict=False)
    limit = float(_LAST_US / scale) if unit != "order" else 2.0**62
    valid = number.is_finite() & (number >= 0) & (number <= limit)
    if series.dtype.is_integer():
        return (exact.set(~valid, None) * scale).cast(pl.Int64)
    fraction = (number.set(~valid, None) * scale).round().cast(pl.Int64, strict=False)
    if unit == "order":
        fraction = fraction.set(number != number.round(), None)
    return (exact.set(~valid, None) * scale).zip_with(_is_exact(exact, number), fraction)


def as_categories(series: pl.Series) -> pl.Series:
    """List(String) without nulls, empty strings and repetitions. A plain value is a list of one."""
    if series.dtype == pl.Array:
        series = series.cast(pl.List(series.dtype.inner))  # type: ignore[attr-defined]
    if series.dtype == pl.Null:
        return pl.Series(series.name, [[]] * len(series), dtype=pl.List(pl.String))
    if series.dtype != pl.List:
        series = _as_word(series).reshape((-1, 1)).cast(pl.List(pl.String))
    elif series.dtype.inner in (pl.List, pl.Struct, pl.Object):  # type: ignore[attr-defined]
        raise DataError(f"is {series.dtype}, not a string or a list of strings")
    frame = pl.DataFrame({"row": pl.int_range(len(series), eager=True), "value": series})
    flat = frame.explode("value").drop_nulls()
    flat = flat.with_columns(value=_as_word(flat["value"])).drop_nulls()
    lists = flat.unique(maintain_order=True).group_by("row", maintain_order=True).agg("value")
    joined = frame.select("row").join(lists, on="row", how="left", maintain_order="left")
    empty = pl.lit([], dtype=pl.List(pl.String))
    return joined.select(pl.col("value").fill_null(empty).alias(series.name)).to_series()


def inferred(series: pl.Series) -> pl.Series:
    """A text column as integers, numbers or truth values where every value of it is one."""
    kinds = (as_kind(series, kind) for kind in TEXT_KINDS)
    return next((cast for cast in kinds if cast is not None), series)


def as_kind(series: pl.Series, kind: type[pl.DataType]) -> pl.Series | None:
    """A text column as one of `TEXT_KINDS`, None where a value of it is no such thing."""
    if series.dtype != pl.String:
        return series
    text = as_text(series).str.strip_chars()
    if kind == pl.Boolean:
        lower = text.str.to_lowercase()
        return lower == "true" if bool(lower.drop_nulls().is_in(["true", "false"]).all()) else None
    cast = text.cast(kind, strict=False)
    return cast if cast.null_count() == text.null_count() else None


def unit_hint(series: pl.Series, unit: TimeUnit) -> str | None:
    """What is wrong where most of the raw times would lie in a year that no log comes from."""
    if unit not in ("unix_s", "unix_ms") or not (series.dtype.is_numeric() or series.dtype == pl.String):
        return None
    median = as_number(series).median()
    if not isinstance(median, int | float):
        return None
    if unit == "unix_s" and median > _SECONDS_OF_2200:
        return "most of its times lie after the year 2200; did you mean time = 'unix_ms'?"
    # Smaller numbers are made up by hand, larger ones are milliseconds.
    if unit == "unix_ms" and _SECONDS_OF_1973 < median < _SECONDS_OF_2200:
        return "most of its times lie in the year 1970; did you mean time = 'unix_s'?"
    return None


def odd_times(
    series: pl.Series, times: pl.Series, unit: TimeUnit, *, dated: bool
) -> list[tuple[pl.Series, str]]:
    """Masks of the raw values that cannot be meant as times in `unit`, each with the reason.

    `times` is what `as_time` made of them. `dated` says that the column holds dates (`holds_dates`): only
    then is one in 1970 a strange one, since a log may as well count from 0.
    """
    if unit == "iso" or series.dtype.is_temporal():
        return [(times > _SECONDS_OF_2100 * 1_000_000, _TOO_LATE)]
    number = as_number(series)
    negative = (number < 0, "a negative time")
    if unit == "order":
        return [negative]
    if unit == "unix_s":
        mixed = number.is_between(_SECONDS_OF_1990 * 1_000, _SECONDS_OF_2100 * 1_000)
        return [negative, (mixed, _MILLISECONDS), (number > _SECONDS_OF_2100, _TOO_LATE)]
    mixed = number.is_between(_SECONDS_OF_1990, _SECONDS_OF_2100) & dated
    return [negative, (mixed, _SECONDS), (number > _SECONDS_OF_2100 * 1_000, _TOO_LATE)]


def holds_dates(series: pl.Series, unit: TimeUnit) -> bool:
    """Whether any number of the column lies between 1990 and 2100 in milliseconds, where that is the unit."""
    if unit != "unix_ms" or not is_numeric_or_text(series):
        return False
    return bool(as_number(series).is_between(_SECONDS_OF_1990 * 1_000, _SECONDS_OF_2100 * 1_000).any())


def is_numeric_or_text(series: pl.Series) -> bool:
    return series.dtype.is_numeric() or series.dtype == pl.String


def _from_iso(series: pl.Series) -> pl.Series:
    if series.dtype.is_numeric() or series.dtype == pl.Boolean:
        raise DataError(f"holds numbers ({series.dtype}), not ISO dates; did you mean time = 'unix_s'?")
    text = series.cast(pl.String).str.strip_chars().str.replace(" ", "T", literal=True)
    text = text.str.replace(r"[Zz]$", "+00:00")
    zoned = text.str.strptime(pl.Datetime("us", "UTC"), "%Y-%m-%dT%H:%M:%S%.f%#z", strict=False)
    plain = (text + "T00:00").zip_with(text.str.len_chars() == len("2020-01-01"), text)
    times = [zoned, *(plain.str.strptime(pl.Datetime("us"), form, strict=False) for form in _ISO_FORMATS)]
    frame = pl.DataFrame([time.cast(pl.Int64).alias(str(at)) for at, time in enumerate(times)])
    return frame.select(pl.coalesce(pl.all()).alias(series.name)).to_series()


def _is_exact(exact: pl.Series, number: pl.Series) -> pl.Series:
    return exact.is_not_null() & (exact.cast(pl.Float64) == number)


def _decode(series: pl.Series) -> pl.Series:
    try:
        return series.cast(pl.String)
    except pl.exceptions.ComputeError:
        raise DataError("holds bytes that are not UTF-8; write it as UTF-8 text") from None


def _plain(series: pl.Series, wanted: str) -> pl.Series:
    """The series with texts as strings, however the file holds them; one value a row is a must."""
    if series.dtype.is_nested() or series.dtype == pl.Object:
        raise DataError(f"is {series.dtype}, not {wanted}")
    if series.dtype == pl.Binary:
        return _decode(series)
    return series.cast(pl.String) if series.dtype in (pl.Categorical, pl.Enum) else series
