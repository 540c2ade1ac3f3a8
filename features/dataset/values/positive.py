"""The SQL expression `positive` of dataset.toml: which events are positive.

Text files have no column types. A text column is read as the type that all of its values have. If the
expression cannot be computed with this type, the column is read as a type with which it can: in `stars >= 4`
as numbers. A row whose value does not have this type, or is infinite, is rejected. NaN is unknown, and
unknown is not true: the event is kept, is not positive, and is counted in a warning.
"""

import io
import json
from itertools import islice, product
from typing import Any

import polars as pl

from features.dataset.sections import positive_columns
from features.dataset.table_checker import TableChecker, unreadable
from features.dataset.values.casting import Kind, TextKind, is_nan_text, is_number_given

_MAX_TRIED = 100  # ways to read the text columns of one expression; three of them have 27
_MAX_PRODUCT = 3**8  # ways that are enumerated, of which the first `_MAX_TRIED` are tried
_MAY_BE_NAN = ("BinaryExpr", "Function", "Cast")  # nodes of an expression that can make NaN of numbers
_NAN = "NaN, which is no value, so that `positive` is not true of it"
_WORDS: dict[Kind, str] = {
    pl.Int64: "a finite number", pl.Float64: "a finite number", pl.Boolean: "true or false",
}  # fmt: skip


def positive_events(table: TableChecker, sql: str | None) -> pl.Series:
    """Whether the expression is true of each row. The value of a rejected row has no meaning."""
    height = table.raw.frame.height
    if sql is None:
        return pl.Series([True]).new_from_index(0, height)
    frame = _columns(table, positive_columns(sql))
    kept = pl.Series(table.kept).arg_true()
    texts = {
        name: table.text_kind(name, frame[name]) for name, kind in frame.schema.items() if kind == pl.String
    }
    problems = []
    for choice in _choices(texts):
        label = ", ".join(f"{name} as {kind.__name__}" for name, kind in choice.items())
        truth = table.known_failure(label) or _evaluate(frame, choice, sql)
        if isinstance(truth, str):
            table.note_failure(label, truth)
            problems.append(truth)
            continue
        _reject_unreadable(table, frame, kept, choice, sql)
        result = pl.Series([False]).new_from_index(0, height).scatter(kept, truth)
        table.require_true_once(
            result.filter(pl.Series(table.kept)),
            table.named(f"positive = {sql!r} is true of no row; nothing could be a target"),
        )
        return result
    table.problem_of_table(f"positive = {sql!r} {problems[0]}")
    return pl.Series([None] * height, dtype=pl.Boolean)


def _columns(table: TableChecker, names: list[str]) -> pl.DataFrame:
    """The kept rows of the columns, null for NaN; rows with an infinite number are rejected."""
    for name in names:
        series = table.raw.frame[name]
        if series.dtype.is_float():
            table.reject(series.is_infinite(), name, "not a finite number")
            table.remark(series.is_nan() & pl.Series(table.kept), name, _NAN)
    frame = table.raw.frame.select(pl.Series("\0kept", table.kept), *names).filter("\0kept")
    return frame.with_columns(frame[name].fill_nan(None) for name in names if frame[name].dtype.is_float())


def _choices(texts: dict[str, TextKind]) -> list[dict[str, Kind]]:
    """Ways to read the text columns: first as the kind of all their values, then as other kinds."""
    choices = [list(enumerate(kind.choices())) for kind in texts.values()]
    ways = islice(product(*choices), _MAX_PRODUCT)
    nearest = sorted(ways, key=lambda way: sum(position for position, _ in way))[:_MAX_TRIED]
    return [dict(zip(texts, (kind for _, kind in way), strict=True)) for way in nearest]


def _evaluate(frame: pl.DataFrame, choice: dict[str, Kind], sql: str) -> pl.Series | str:
    """Whether the expression is true of each row, with text columns cast to `choice`; or the error."""
    cast = frame.with_columns(TextKind.cast(frame[name], kind) for name, kind in choice.items())
    try:
        expression = _finite(pl.sql_expr(sql), cast.clear())
        truth = cast.select("\0kept", expression.alias("\0positive"))["\0positive"]
    except pl.exceptions.PolarsError as error:
        return f"cannot be computed: {str(error).partition(chr(10))[0]}"
    if truth.dtype != pl.Boolean:
        return f'gives {truth.dtype}, not true or false; write a condition such as "rating >= 3.5"'
    return truth.fill_null(False)


def _reject_unreadable(
    table: TableChecker, frame: pl.DataFrame, kept: pl.Series, choice: dict[str, Kind], sql: str
) -> None:
    """Reject the rows whose text is not of the chosen kind; a problem where no text is."""
    for name, kind in choice.items():
        if kind == pl.String:
            continue
        result = TextKind.cast(frame[name], kind)
        given = is_number_given(frame[name])
        meaning = _WORDS[kind]
        table.require_readable(
            f"positive = {sql!r} cannot be computed: column {name!r}",
            result,
            frame[name].filter(given),
            unreadable(meaning),
        )
        nothing = pl.Series([False]).new_from_index(0, table.raw.frame.height)
        unreadable_rows = nothing.scatter(kept, given & result.is_null())
        table.reject(unreadable_rows, name, f"not {meaning}, which positive = {sql!r} needs")
        table.remark(nothing.scatter(kept, is_nan_text(frame[name])), name, _NAN)


def _finite(expression: pl.Expr, empty: pl.DataFrame) -> pl.Expr:
    """The expression with null for every intermediate NaN and infinity, such as 0 / 0 and 1 / 0."""
    tree = json.loads(expression.meta.serialize(format="json"))
    return _parsed(_guarded(tree, empty))


def _guarded(node: Any, empty: pl.DataFrame) -> Any:
    if isinstance(node, list):
        return [_guarded(each, empty) for each in node]
    if not isinstance(node, dict):
        return node
    same = {key: _guarded(value, empty) for key, value in node.items()}
    if len(node) != 1 or next(iter(node)) not in _MAY_BE_NAN:
        return same
    if not empty.select(_parsed(same)).dtypes[0].is_float():
        return same
    is_finite = {"Function": {"input": [same], "function": {"Boolean": "IsFinite"}}}
    null = {"Literal": {"Scalar": {"Null": "Null"}}}
    return {"Ternary": {"predicate": is_finite, "truthy": same, "falsy": null}}


def _parsed(tree: Any) -> pl.Expr:
    return pl.Expr.deserialize(io.StringIO(json.dumps(tree)), format="json")
