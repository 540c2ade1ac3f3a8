"""Lists in text columns: `a|b`, `a, b`, `["a", "b"]`, `['a', 'b']`.

A text column is split only where dataset.toml says how (`[items] lists = {genres = "|"}`), since a name may
contain a comma. A column that looks like lists gets a warning.
"""

import io
import json
import re
import tokenize
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import polars as pl

from recsys.errors import DataError, clipped

BRACKETS = "json"  # the value of `lists` for both bracket forms
NOT_A_LIST = """not a list such as ["a", "b"] or ['a', 'b']"""
_SEPARATORS = ("|", ";", ",")
_MIN_SHARE = 0.05  # of the values must contain the separator, since a few names may contain it
_IN_BRACKETS = r"^\s*\[.*\]\s*$"
_IN_BRACKETS_AND_QUOTES = r"""^\s*\[\s*["'].*["']\s*\]\s*$"""
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")  # of TOML
_PLAIN_QUOTES = re.compile(r"\[\s*(?:'[^'\\\"]*'\s*(?:,\s*'[^'\\\"]*'\s*)*)?\]")


def split_lists(series: pl.Series, separator: str) -> pl.Series:
    """List(String) of the elements in each text, without white space around them; null where unreadable.

    With "json" as the separator a text is a JSON array or a Python list of texts and numbers, or one value
    without brackets.
    """
    if separator != BRACKETS:
        return series.str.split(separator).list.eval(pl.element().str.strip_chars())
    values = series.drop_nulls().unique()
    table = pl.DataFrame(
        {"text": values, "list": [parse_list(value) for value in values.to_list()]},
        schema={"text": pl.String, "list": pl.List(pl.String)},
    )
    return series.alias("text").to_frame().join(table, on="text", how="left", maintain_order="left")["list"]


def parse_list(text: str) -> list[str] | None:
    """Elements of a JSON array or Python list, None where it is neither."""
    stripped = text.strip()
    if not stripped.startswith("["):
        return [stripped] if stripped else []
    if _PLAIN_QUOTES.fullmatch(stripped):
        stripped = stripped.replace("'", '"')
    try:
        # Numbers stay the digits that they are: an id must not pass through floating point.
        values = json.loads(stripped, parse_float=Decimal, parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        return _parse_python(stripped)
    return element_texts(values)


def element_texts(values: list[Any]) -> list[str] | None:
    """Texts of the values but null, None where one of them is a list or an object."""
    if any(isinstance(value, list | dict) for value in values):
        return None
    return [_text(value) for value in values if value is not None]


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Decimal):
        text = format(value, "f")
        return text.rstrip("0").rstrip(".") if "." in text else text
    return str(value)


def _parse_python(text: str) -> list[str] | None:
    """The same for a Python list, or a numpy array, which is printed without commas: ['a' 'b']."""
    found: list[str] = []
    try:
        tokens = [
            token
            for token in tokenize.generate_tokens(io.StringIO(text).readline)
            if token.type not in (tokenize.NL, tokenize.NEWLINE, tokenize.ENDMARKER)
        ]
        if [token.string for token in (tokens[0], tokens[-1])] != ["[", "]"]:
            return None
        for token in tokens[1:-1]:
            match token.type:
                case tokenize.STRING if token.string[0] in "'\"":
                    found.append(_unquoted(token.string))
                case tokenize.NUMBER:
                    found.append(token.string)
                case tokenize.NAME if token.string in ("None", "nan"):
                    pass
                case tokenize.OP if token.string == ",":
                    pass
                case _:
                    return None
    except (tokenize.TokenError, SyntaxError, ValueError, IndexError):
        return None
    return found


def _unquoted(literal: str) -> str:
    # A Python string in quotes, with \\' where JSON has none.
    body = literal[1:-1].replace("\\'", "'")
    escaped = body if literal[0] == '"' else body.replace('"', '\\"')
    return str(json.loads(f'"{escaped}"', strict=False))


def json_rows(content: bytes) -> list[dict[str, Any]]:
    """Objects of JSON Lines, or of one array; numbers with a fraction are exact decimals."""
    content = content.removeprefix(b"\xef\xbb\xbf")
    lines = content.split(b"\n")
    if content.lstrip()[:1] == b"[":
        rows: list[dict[str, Any]] = json.loads(content, parse_float=Decimal)
        return rows
    return [json.loads(line, parse_float=Decimal) for line in lines if line.strip()]


def wrap_single_values(content: bytes, columns: Collection[str]) -> bytes | None:
    """JSON Lines of `content` (JSON Lines or one array), with lists of texts in the mixed ones of `columns`.

    A mixed column has a list in one row and a single value in another. None where no column is mixed.
    """
    rows = json_rows(content)
    mixed = []
    for column in columns:
        kinds = {isinstance(row[column], list) for row in rows if row.get(column) is not None}
        if len(kinds) == 2:
            mixed.append(column)
    if not mixed:
        return None
    for number, row in enumerate(rows):
        for column in mixed:
            value = row.get(column)
            if value is not None and (texts := element_texts(value if isinstance(value, list) else [value])):
                row[column] = texts
            elif value:
                raise DataError(
                    f"row {number}: field {column!r} is {clipped(json.dumps(value, default=str))}; "
                    "write a text or a list of texts in every row"
                )
            else:
                row[column] = []
    return "\n".join(json.dumps(row, default=_number, ensure_ascii=False) for row in rows).encode()


def _number(value: Decimal) -> int | float:
    return float(value)


@dataclass(frozen=True, kw_only=True)
class ListForm:
    """Values of a text column that look like lists of one form."""

    separator: str  # the value of `lists` that would read them
    mask: pl.Series  # which values
    count: int
    row: int  # of the first
    example: str  # in that row


def list_forms(text: pl.Series) -> list[ListForm]:
    """The forms of lists that a text column seems to hold, the most frequent first; a value has one form."""
    value = pl.col("text")
    patterns = {separator: rf"\S\s*{re.escape(separator)}\s*\S" for separator in _SEPARATORS}
    found = text.to_frame("text").select(
        (value.str.strip_chars() != "").fill_null(False).alias("given"),
        value.str.contains(_IN_BRACKETS).fill_null(False).alias("in brackets"),
        value.str.contains(_IN_BRACKETS_AND_QUOTES).fill_null(False).alias("in quotes"),
        *(value.str.contains(pattern).fill_null(False).alias(name) for name, pattern in patterns.items()),
    )
    given, in_brackets, in_quotes = found["given"], found["in brackets"], found["in quotes"]
    num_given = int(given.sum())
    masks = {}
    if in_quotes.any() or 2 * in_brackets.sum() > num_given:
        masks[BRACKETS] = in_brackets
    rest = given & ~in_brackets
    for separator in _SEPARATORS:
        holds = rest & found[separator]
        share = int(holds.sum()) / max(num_given, 1)
        if share >= _MIN_SHARE and (separator != "," or share >= 0.5 or _parts_recur(text, holds)):
            masks[separator] = holds
            rest &= ~holds
    forms = [_form(text, mask, separator) for separator, mask in masks.items()]
    return sorted(forms, key=lambda form: -form.count)


def _form(text: pl.Series, mask: pl.Series, separator: str) -> ListForm:
    row = int(mask.arg_true()[0])
    return ListForm(
        separator=separator, mask=mask, count=int(mask.sum()), row=row, example=clipped(text[row])
    )


def _parts_recur(text: pl.Series, holds: pl.Series) -> bool:
    """Whether at least half of the parts between commas occur in other values; parts of names rarely do."""
    values = text.drop_nulls().unique().alias("value").to_frame().with_row_index("at")
    parts = values.select("at", part=pl.col("value").str.split(",")).explode("part")
    parts = parts.with_columns(pl.col("part").str.strip_chars()).unique(["at", "part"])
    parts = parts.with_columns(recurs=pl.len().over("part") > 1)
    with_comma = values.filter(pl.col("value").is_in(text.filter(holds).unique().implode()))
    share = parts.filter(pl.col("at").is_in(with_comma["at"].implode()))["recurs"].mean()
    return isinstance(share, float) and share >= 0.5


def list_warnings(section: str, found: Mapping[str, ListForm], separators: Mapping[str, str]) -> list[str]:
    """Warnings of columns that look like lists of that form, given the columns that dataset.toml names."""
    meant = {**separators, **{column: form.separator for column, form in found.items()}}
    return [
        f"column {column!r} looks like lists ({form.example!r} in row {form.row}, {form.count:,} such rows "
        f"in all), and each of them is read as one value; to split them, write under [{section}] in "
        f"dataset.toml: lists = {{{_as_toml(meant)}}}"
        for column, form in found.items()
    ]


def other_form(column: str, separator: str) -> str:
    """Warning about lists of another form than the one that `separator` reads."""
    return (
        f"a list of another form, which lists = {{{_as_toml({column: separator})}}} does not split; write "
        "all lists of a column in one form"
    )


def _as_toml(separators: Mapping[str, str]) -> str:
    return ", ".join(
        f"{column if _BARE_KEY.fullmatch(column) else json.dumps(column, ensure_ascii=False)} = "
        f"{json.dumps(separator)}"
        for column, separator in separators.items()
    )
