"""Raw columns to typed ones. A value that cannot be read becomes null, never a guess.

Every function returns a series as long as the one it was given. Raises `DataError` where the type of
the whole column is wrong.
"""

from collections.abc import Callable

import polars as pl

from features.schema import TimeUnit
from recsys.errors import DataError

# Microseconds of 0001-01-01 and 9999-12-31: what a calendar can hold.
_FIRST_US, _LAST_US = -62_135_596_800_000_000, 253_402_300_799_999_999
_MICROSECONDS = {"unix_s": 1_000_000, "unix_ms": 1_000, "order": 1}
_SECONDS_OF_1973, _SECONDS_OF_2200 = 94_694_400, 7_258_118_400
HINT_EDGES = (_SECONDS_OF_1973, _SECONDS_OF_2200)  # where the answer of `unit_hint` changes
TEXT_KINDS = (pl.Int64, pl.Float64, pl.Boolean)  # what a text column may hold, the first that fits
_ISO_FORMATS = ("%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M")


def is_given(series: pl.Series) -> pl.Series:
    """Where there is a value: neither null nor an empty string."""
    if series.dtype == pl.String:
        return series.is_not_null() & (series.str.strip_chars() != "")
    return series.is_not_null()


def as_text(series: pl.Series) -> pl.Series:
    """Strings, null where there is nothing but white space."""
    _refuse_nested(series, "text")
    if series.dtype == pl.Binary:
        series = _decode(series)
    text = series.cast(pl.String)
    return text.set(text.str.strip_chars() == "", None)


def all_whole(text: pl.Series) -> bool:
    """Whether there are values and each is a whole number with a point, such as "123.0"."""
    return bool(text.str.contains(r"^-?\d+\.0+$").all()) and text.null_count() < len(text)


def as_id(series: pl.Series, is_whole: Callable[[pl.Series], bool] = all_whole) -> pl.Series:
    """Ids as strings, null where empty: 123, 123.0 and "123.0" in an all-integer column are "123".

    `is_whole` decides of a text column whether it is all-integer; the series may be a part of it.
    """
    _refuse_nested(series, "an id")
    if series.dtype.is_decimal():
        series = series.cast(pl.Float64)
    if series.dtype.is_float():
        whole = series.cast(pl.Int64, strict=False)
        # NaN is how some libraries write a missing id.
        text = series.cast(pl.String).set(series.is_nan(), None)
        return whole.cast(pl.String).zip_with(whole.cast(pl.Float64) == series, text)
    text = as_text(series)
    if is_whole(text):
        text = text.str.replace(r"\.0+$", "")
    return text


def as_number(series: pl.Series) -> pl.Series:
    """Float64, null where there is no finite number."""
    _refuse_nested(series, "a number")
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
    _refuse_nested(series, "a time")
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
        series = as_id(series).reshape((-1, 1)).cast(pl.List(pl.String))
    elif series.dtype.inner in (pl.List, pl.Struct, pl.Object):  # type: ignore[attr-defined]
        raise DataError(f"is {series.dtype}, not a string or a list of strings")
    frame = pl.DataFrame({"row": pl.int_range(len(series), eager=True), "value": series})
    flat = frame.explode("value").drop_nulls()
    flat = flat.with_columns(value=as_id(flat["value"]).str.strip_chars()).drop_nulls()
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
    if unit not in ("unix_s", "unix_ms") or series.dtype.is_temporal() or series.dtype.is_nested():
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


def _refuse_nested(series: pl.Series, wanted: str) -> None:
    if series.dtype.is_nested() or series.dtype == pl.Object:
        raise DataError(f"is {series.dtype}, not {wanted}")
