"""Filters against a slow reference that looks at one item after the other."""

import json
from datetime import UTC, datetime
from typing import Any

import numpy as np
import polars as pl
import pytest

from recsys.errors import ConfigError, RequestError
from recsys.ids import NUM_RESERVED
from serving.filters import CatalogueFilter, parsed_filters

SIZE = 60
COMPARE = {
    "=": lambda left, right: left == right,
    "<": lambda left, right: left < right,
    "<=": lambda left, right: left <= right,
    ">": lambda left, right: left > right,
    ">=": lambda left, right: left >= right,
    "in": lambda left, right: left in right,
    "contains": lambda left, right: right.lower() in left.lower(),
}


def microseconds(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000_000


@pytest.fixture(scope="module")
def catalogue() -> pl.DataFrame:
    draw = np.random.default_rng(7)

    def some(values: list[Any], missing: Any = None) -> list[Any]:
        return [missing if draw.random() < 0.2 else values[draw.integers(len(values))] for _ in range(SIZE)]

    return pl.DataFrame(
        {
            "item_id": [f"i{at:02}" for at in range(SIZE)],
            "title": some(["Red lamp", "Blue LAMP", "blanket"]),
            "cat:genres": [
                list(draw.choice(["x", "y", "z"], draw.integers(0, 3), replace=False)) for _ in range(SIZE)
            ],
            "reviewers": some(["praise", "enthusiasm"]),
            "num:price": some([1.0, 2.5, 20.0, 99.0], float("nan")),
            "num:year": some([1999.0, 2000.0]),
            "created_at": some([microseconds(f"2024-0{month}-01") for month in range(1, 9)]),
        }
    )  # fmt: skip


FIELDS = {
    "genres": ("cat:genres", ["x", "y", "z"]),
    "reviewers": ("reviewers", ["praise", "enthusiasm"]),
    "price": ("num:price", [1, 2.5, 20, 50]),
    "year": ("num:year", [1999, 2000, 3000]),
    "created_at": ("created_at", ["2024-03-01", "2024-05-01T00:00:00Z", "2024-05-31"]),
    "title": ("title", ["Red lamp", "blanket", "nothing"]),
    "item_id": ("item_id", ["i03", "i40"]),
}
TEXTS = ("genres", "reviewers", "title", "item_id")


def passes(filters: dict[str, Any], item: dict[str, Any]) -> bool:
    if "op" in filters:
        field, op, value = filters["field"], filters["op"], filters["value"]
        if op in ("!=", "not in"):
            return not passes({"field": field, "op": {"!=": "=", "not in": "in"}[op], "value": value}, item)
        values = item[FIELDS[field][0]]
        values = [each for each in (values if isinstance(values, list) else [values]) if each == each]
        values = [each for each in values if each is not None]
        if op == "exists":
            return bool(values) == value
        if field == "created_at":
            value = [microseconds(each.removesuffix("Z")) for each in (value if op == "in" else [value])]
            value = value if op == "in" else value[0]
        return any(COMPARE[op](each, value) for each in values)
    if "and" in filters:
        return all(passes(each, item) for each in filters["and"])
    if "or" in filters:
        return any(passes(each, item) for each in filters["or"])
    if "not" in filters:
        return not passes(filters["not"], item)
    return all(passes({"field": name, "op": "in", "value": some}, item) for name, some in filters.items())


def drawn(draw: np.random.Generator, depth: int) -> dict[str, Any]:
    """Filters with every form of the grammar."""
    form = draw.choice(["and", "or", "not", "short", "one", "one"]) if depth else "one"
    if form in ("and", "or"):
        return {form: [drawn(draw, depth - 1) for _ in range(draw.integers(1, 4))]}
    if form == "not":
        return {"not": drawn(draw, depth - 1)}
    if form == "short":
        names = draw.choice(list(FIELDS), 2, replace=False)
        return {str(name): list(draw.choice(np.array(FIELDS[name][1], object), 2)) for name in names}
    name = str(draw.choice(list(FIELDS)))
    ops = ["=", "!=", "in", "not in", "exists", *(["contains"] if name in TEXTS else ["<", "<=", ">", ">="])]
    op = str(draw.choice(ops))
    values = np.array(FIELDS[name][1], object)
    value = list(draw.choice(values, 2)) if op.endswith("in") else draw.choice(values)
    return {"field": name, "op": op, "value": bool(draw.integers(2)) if op == "exists" else value}


def test_every_form_passes_the_items_of_a_slow_reference(catalogue: pl.DataFrame) -> None:
    asked, draw = CatalogueFilter(catalogue), np.random.default_rng(3)
    rows, sizes = catalogue.to_dicts(), set()
    for _ in range(400):
        filters = json.loads(json.dumps(drawn(draw, 3)))
        visible = draw.random(SIZE + NUM_RESERVED) < 0.9  # every value has a visible item
        visible[[NUM_RESERVED + 3, NUM_RESERVED + 40]] = True
        expected = [passes(filters, item) for item in rows]
        found = asked.mask(filters)
        assert found[NUM_RESERVED:].tolist() == expected, filters
        assert not found[:NUM_RESERVED].any()
        assert (asked.mask(filters, visible | True) == found).all()
        assert (asked.mask(filters, visible) == found & visible).all()
        sizes.add(sum(expected))
    assert len(sizes) > 20  # filters of many selectivities were drawn


def test_counts_leave_out_the_conditions_on_the_field_alone(catalogue: pl.DataFrame) -> None:
    asked = CatalogueFilter(catalogue)
    among = np.arange(SIZE + NUM_RESERVED) >= NUM_RESERVED
    price = {"field": "price", "op": ">", "value": 2}
    both = {"or": [{"genres": ["z"]}, {"reviewers": ["praise"]}]}
    counted = asked.counts(among, {"and": [{"genres": ["x"]}, price, both]})
    expected = asked.mask({"and": [price, both]})
    by_value = {value: int((expected & asked.mask({"genres": [value]})).sum()) for value in "xyz"}
    assert dict(counted["genres"]) == {value: count for value, count in by_value.items() if count}
    expected = asked.mask({"and": [{"genres": ["x"]}, price, both]})
    assert (
        dict(counted["reviewers"]).get("praise", 0) == (expected & asked.mask({"reviewers": "praise"})).sum()
    )


LEAF = {"field": "price", "op": "<", "value": 2}
DEEP: dict[str, Any] = LEAF
for _ in range(16):
    DEEP = {"not": DEEP}


@pytest.mark.parametrize(
    ("filters", "place", "said"),
    [
        ({"genre": ["x"]}, "filters.genre", "did you mean 'genres'"),
        ({"genres": ["w"]}, "filters.genres.0", "no item has this value"),
        ({"genres": [1]}, "filters.genres.0", "must be a text; write it in quotes"),
        ({"genres": []}, "filters.genres", "give at least one value"),
        ({"genres": [["x"]]}, "filters.genres.0", "must be a text, a number"),
        ({"genres": None}, "filters.genres", "must be a text, a number"),
        ({"price": {"<": 3}}, "filters.price", '{"field": "price", "op": "<=", "value": 20}'),
        ({"year": ["soon"]}, "filters.year.0", "must be a number"),
        (LEAF | {"value": True}, "filters.value", "must be a number"),
        (LEAF | {"value": 10**400}, "filters.value", "must be a number"),
        (LEAF | {"value": float("nan")}, "filters.value", "must be a number"),
        (LEAF | {"value": [1]}, "filters.value", "must be a text, a number"),
        (LEAF | {"op": "in"}, "filters.value", "must be a list of values"),
        (LEAF | {"op": "=<"}, "filters.op", "must be one of = != <"),
        (LEAF | {"op": "contains"}, "filters.op", "price is a number, which has only"),
        (LEAF | {"op": "exists"}, "filters.value", "must be true or false"),
        (LEAF | {"field": 3}, "filters.field", "must be the name of a field"),
        (LEAF | {"field": "prize"}, "filters.field", "did you mean 'price'"),
        (LEAF | {"valu": 3}, "filters.valu", "did you mean 'value'"),
        ({"field": "price", "op": "<"}, "filters.value", "is missing"),
        ({"field": "created_at", "op": "<", "value": 3}, "filters.value", "2024-01-31T18:00:00Z"),
        ({"field": "created_at", "op": "<", "value": "May"}, "filters.value", "2024-01-31T18:00:00Z"),
        ({"field": "genres", "op": "<", "value": "x"}, "filters.op", "genres is a category"),
        ({"and": [{"genres": ["x"]}, {"or": [LEAF, "x"]}]}, "filters.and.1.or.1", "must be an object"),
        ({"and": []}, "filters.and", "give at least one value"),
        ({"not": {"not": LEAF | {"op": "~"}}}, "filters.not.not.op", "must be one of"),
        ({"not": DEEP}, "filters" + 16 * ".not", "nested more than 16 deep"),
        ({"or": [LEAF] * 1001}, "filters", "1,001 comparisons; at most 1,000"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_by_its_place(
    catalogue: pl.DataFrame, filters: dict[str, Any], place: str, said: str
) -> None:
    with pytest.raises(RequestError) as caught:
        CatalogueFilter(catalogue).mask(filters)
    assert (caught.value.field, said in caught.value.message) == (place, True), str(caught.value)


def test_a_field_may_be_named_like_a_word_of_the_grammar() -> None:
    catalogue = pl.DataFrame({"cat:and": [["x"], ["y"]], "cat:not": [["x"], []], "num:op": [1.0, 2.0]})
    asked = CatalogueFilter(catalogue)
    assert np.flatnonzero(asked.mask({"and": ["y"]})).tolist() == [3]
    assert np.flatnonzero(asked.mask({"not": "x", "and": "x"})).tolist() == [2]
    assert np.flatnonzero(asked.mask({"op": [2]})).tolist() == [3]


def test_texts_of_the_command_line() -> None:
    assert parsed_filters(["a=x", "b=y=z", "a=w", "c="]) == {"a": ["x", "w"], "b": ["y=z"], "c": [""]}
    assert parsed_filters(["year>=1990", "a != x", "a=y", '{"or": [{"b": 1}, {"c": 2}]}']) == {
        "and": [
            {"a": ["y"]},
            {"field": "year", "op": ">=", "value": "1990"},
            {"field": "a", "op": "!=", "value": "x"},
            {"or": [{"b": 1}, {"c": 2}]},
        ]
    }
    for text in ("kind", "=x", '{"a": ', "<3"):
        with pytest.raises(ConfigError, match="--filter"):
            parsed_filters([text])
