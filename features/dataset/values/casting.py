"""Raw columns to ids, texts, numbers and categories. A value that cannot be read becomes null, never a guess.

Every function returns a series as long as the one it was given. NaN is a missing value everywhere. Ids and
categories never pass through floating point. Raises `DataError` where the type of the whole column is wrong.
`features.dataset.values.times` has the same for times.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import polars as pl

from recsys.errors import DataError

MAX_ID_LENGTH = 1024  # characters; arrays of ids are as wide as their longest id
# From this integer on a float type cannot represent every integer, so two ids may have become equal.
_FIRST_INEXACT = {pl.Float64: 2**53, pl.Float32: 2**24, pl.Float16: 2**11}
SHORTENED = (
    "numbers that a spreadsheet shortened, so different ids may have become equal; export the column as text"
)
FRACTIONAL = (
    "a number with a fraction as an id, which equals only an id with the same digits; "
    "export ids as integers or as text"
)
_NAN_TEXT = r"(?i)^[+-]?nan$"  # NaN as text files write it
EMPTY_LIST = pl.lit([], dtype=pl.List(pl.String))
_VALUE = pl.col("value")
_STRIPPED = _VALUE.str.strip_chars()


def _evaluated(expression: pl.Expr, series: pl.Series) -> pl.Series:
    """`expression` of the column "value", which is `series`, in one query."""
    return series.to_frame("value").select(expression).to_series().alias(series.name)


def without_nan(series: pl.Series) -> pl.Series:
    """The same series with null for NaN; a column of floats that are all missing has no type."""
    if not series.dtype.is_float():
        return series
    filled = series.fill_nan(None)
    return filled.cast(pl.Null) if filled.null_count() == len(filled) else filled


def is_given(series: pl.Series) -> pl.Series:
    """Where there is a value: neither null nor NaN nor an empty string."""
    if series.dtype == pl.String:
        return _evaluated((_STRIPPED != "").fill_null(False), series)
    if series.dtype.is_float():
        return series.is_not_null() & series.is_not_nan()
    return series.is_not_null()


def is_number_given(series: pl.Series) -> pl.Series:
    """`is_given` of a column of numbers, where the text "nan" is a missing value as well."""
    if series.dtype != pl.String:
        return is_given(series)
    return _evaluated(((_STRIPPED != "") & ~_STRIPPED.str.contains(_NAN_TEXT)).fill_null(False), series)


def is_nan_text(text: pl.Series) -> pl.Series:
    """Where a text column has the text "nan"."""
    return _evaluated(_STRIPPED.str.contains(_NAN_TEXT).fill_null(False), text)


def as_text(series: pl.Series) -> pl.Series:
    """Strings, null where there is nothing but white space."""
    if series.dtype.is_nested():
        raise DataError(f"is {series.dtype}, not a text; write one text a row")
    text = _number_text(plain(series, "text"))
    return text.set(text.str.strip_chars() == "", None)


def array_as_list(series: pl.Series) -> pl.Series:
    """A column of fixed-size arrays as a column of lists; any other column as it is."""
    return series.cast(pl.List(series.dtype.inner)) if series.dtype == pl.Array else series  # type: ignore[attr-defined]


def as_joined_text(series: pl.Series) -> pl.Series:
    """`as_text` of a column of texts or of lists of texts; the texts of a list are joined by line feeds."""
    series = array_as_list(series)
    if series.dtype != pl.List:
        return as_text(series)
    if series.dtype.inner.is_nested():  # type: ignore[attr-defined]
        raise DataError(f"is {series.dtype}, not a text or a list of texts; write one text a row")
    frame = pl.DataFrame({"row": pl.int_range(len(series), eager=True), "value": series})
    flat = frame.explode("value")
    flat = flat.with_columns(value=as_text(flat["value"])).drop_nulls()
    joined = flat.group_by("row", maintain_order=True).agg(pl.col("value").str.join("\n"))
    return frame.select("row").join(joined, on="row", how="left", maintain_order="left")["value"]


def all_whole(text: pl.Series) -> bool:
    """Whether there are values and each is a whole number with a point, such as "123.0"."""
    return bool(text.str.contains(r"^-?\d+\.0+$").all()) and text.null_count() < len(text)


def as_id(series: pl.Series, is_whole: Callable[[pl.Series], bool] = all_whole) -> pl.Series:
    """Ids as strings, null where empty: 123, 123.0 and "123.0" in an all-integer column are "123".

    White space and NUL characters around an id are removed. Ids are equal only if all their characters are
    equal: case and Unicode normalisation count. `is_whole` decides whether a text column is all-integer; the
    series may be a part of the column.
    """
    if series.dtype == pl.Boolean or series.dtype.is_temporal():
        raise DataError(f"is {series.dtype}, not an id; write ids as text or as integers")
    text = as_name(series, "an id")
    if series.dtype == pl.String and is_whole(text):
        text = text.str.replace(r"\.0+$", "")
    return text


def is_shortened(ids: pl.Series) -> pl.Series:
    """Which ids are numbers with an exponent, such as 1.23457E+18."""
    return ids.str.contains(r"^\d(\.\d+)?[eE]\+\d+$")


def is_fractional(series: pl.Series) -> pl.Series:
    """Which values of a column of decimals or floats have a fraction, as 1.5 has and 1.0 has not."""
    if not (series.dtype.is_decimal() or series.dtype.is_float()):
        return pl.Series([False]).new_from_index(0, len(series))
    return as_name(series, "an id").str.contains(".", literal=True)


def id_fault(ids: pl.Series) -> pl.Series:
    """Why an id cannot be used, null where it can. String."""
    fault = (
        pl.when(pl.col("id").is_null()).then(pl.lit("empty id"))
        .when(pl.col("id").str.contains("\0", literal=True)).then(pl.lit("an id with a NUL character"))
        .when(pl.col("id").str.len_chars() > MAX_ID_LENGTH)
        .then(pl.lit(f"an id of more than {MAX_ID_LENGTH:,} characters"))
    )  # fmt: skip
    return pl.DataFrame({"id": ids.cast(pl.String)}).select(fault.alias("fault")).to_series()


def as_name(series: pl.Series, wanted: str = "a name") -> pl.Series:
    """Short texts such as kinds of events, without padding, null where empty. 2.0 and Decimal 2.00 are "2".

    Raises `DataError` where floats are so large that two different names may have become equal.
    """
    series = plain(series, wanted)
    limit = next((bound for kind, bound in _FIRST_INEXACT.items() if series.dtype == kind), None)
    if limit is not None and (series.is_finite() & (series.abs() >= limit)).any():
        raise DataError(
            f"holds ids beyond 2^{limit.bit_length() - 1} as {series.dtype}, which cannot represent "
            "every integer; write them as integers or as text"
        )
    stripped = _VALUE.str.strip_chars("\0").str.strip_chars()
    return _evaluated(pl.when(stripped != "").then(stripped), _number_text(series))


def as_number(series: pl.Series) -> pl.Series:
    """Float64, null where there is no finite number."""
    series = plain(series, "a number")
    if series.dtype.is_temporal():
        raise DataError(f"is a {series.dtype}, not a number")
    if series.dtype == pl.String:
        series = series.str.strip_chars()
    number = series.cast(pl.Float64, strict=False)
    return number.set(~number.is_finite(), None)


def as_categories(series: pl.Series) -> pl.Series:
    """List(String) without nulls, empty strings and repetitions. A plain value is a list of one."""
    series = array_as_list(series)
    if series.dtype == pl.Null:
        return pl.Series(series.name, [[]] * len(series), dtype=pl.List(pl.String))
    if series.dtype != pl.List:
        series = _as_category(series).reshape((-1, 1)).cast(pl.List(pl.String))
    elif series.dtype.inner in (pl.List, pl.Array, pl.Struct, pl.Object):  # type: ignore[attr-defined]
        raise DataError(f"is {series.dtype}, not a string or a list of strings")
    frame = pl.DataFrame({"row": pl.int_range(len(series), eager=True), "value": series})
    flat = frame.explode("value").drop_nulls()
    flat = flat.with_columns(value=_as_category(flat["value"])).drop_nulls()
    lists = flat.unique(maintain_order=True).group_by("row", maintain_order=True).agg("value")
    joined = frame.select("row").join(lists, on="row", how="left", maintain_order="left")
    return joined.select(pl.col("value").fill_null(EMPTY_LIST).alias(series.name)).to_series()


def _as_category(series: pl.Series) -> pl.Series:
    text = as_name(series, "a category")
    return text.str.replace(r"\.0+$", "") if series.dtype == pl.String and all_whole(text) else text


def _number_text(series: pl.Series) -> pl.Series:
    """Numbers as strings: whole numbers without a point, null for NaN and infinities."""
    if series.dtype.is_decimal():
        text = series.cast(pl.String)
        has_fraction = text.str.contains(".", literal=True)
        return text.str.strip_chars_end("0").str.strip_chars_end(".").zip_with(has_fraction, text)
    if series.dtype.is_float():
        series = series.set(~series.is_finite(), None)
        whole = series.cast(pl.Int64, strict=False)
        is_whole = whole.cast(series.dtype) == series
        return whole.cast(pl.String).zip_with(is_whole.fill_null(False), series.cast(pl.String))
    return series.cast(pl.String)


def is_numeric_or_text(series: pl.Series) -> bool:
    return series.dtype.is_numeric() or series.dtype == pl.String


Kind = type[pl.Int64] | type[pl.Float64] | type[pl.Boolean] | type[pl.String]


@dataclass(frozen=True, kw_only=True)
class TextKind:
    """Properties of the values of a text column. More rows can only make a property false."""

    integers: bool  # every value that is a number is an integer
    numbers: bool
    booleans: bool

    @classmethod
    def of(cls, text: pl.Series) -> "TextKind":
        given = text.str.strip_chars().filter(is_number_given(text))
        number = given.cast(pl.Float64, strict=False)
        return cls(
            integers=given.filter(number.is_not_null()).cast(pl.Int64, strict=False).null_count() == 0,
            numbers=number.null_count() == 0,
            booleans=bool(given.str.to_lowercase().is_in(["true", "false"]).all()),
        )

    def together(self, other: "TextKind") -> "TextKind":
        """The properties of the values of both columns."""
        return TextKind(
            integers=self.integers and other.integers,
            numbers=self.numbers and other.numbers,
            booleans=self.booleans and other.booleans,
        )

    def choices(self) -> tuple[Kind, ...]:
        """The kind that all values have, then the other kinds as which the column may be read."""
        number: Kind = pl.Int64 if self.integers else pl.Float64
        if self.numbers:
            return number, pl.String
        return (pl.Boolean, pl.String, number) if self.booleans else (pl.String, number, pl.Boolean)

    @staticmethod
    def cast(text: pl.Series, kind: Kind) -> pl.Series:
        """The texts as values of `kind`, null where a text is not one."""
        if kind == pl.String:
            return text
        stripped = text.str.strip_chars()
        if kind == pl.Boolean:
            lower = stripped.str.to_lowercase()
            return (lower == "true").set(~lower.is_in(["true", "false"]).fill_null(False), None)
        return as_number(stripped) if kind == pl.Float64 else stripped.cast(pl.Int64, strict=False)


Text = TypeVar("Text", pl.Series, pl.Expr)


def has_nul(text: Text) -> Text:
    """Which texts contain a NUL character."""
    return text.cast(pl.String).str.contains("\0", literal=True)


def _decode(series: pl.Series) -> pl.Series:
    try:
        return series.cast(pl.String)
    except pl.exceptions.ComputeError:
        raise DataError("holds bytes that are not UTF-8; write it as UTF-8 text") from None


def plain_text(series: pl.Series) -> pl.Series:
    """A categorical or enum column as strings; any other column as it is."""
    return series.cast(pl.String) if series.dtype in (pl.Categorical, pl.Enum) else series


def plain(series: pl.Series, wanted: str) -> pl.Series:
    """The series, with categorical, enum and binary values as strings.

    Raises `DataError` where rows hold lists or objects, or bytes that are not UTF-8.
    """
    if series.dtype.is_nested() or series.dtype == pl.Object:
        raise DataError(f"is {series.dtype}, not {wanted}")
    if series.dtype == pl.Binary:
        return _decode(series)
    return plain_text(series)
