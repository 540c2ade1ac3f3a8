"""Counts of category values, what can be asked, and single items."""

from typing import Any

import numpy as np
import polars as pl
import pytest

from recsys.arrays import Bools
from serving.filters import CatalogueFilter


def counts(client: Any, **body: Any) -> dict[str, list[tuple[str, int]]]:
    answer = client.post("/v1/facets", json=body)
    assert answer.status_code == 200, answer.text
    return {
        each["field"]: [(value["value"], value["count"]) for value in each["values"]]
        for each in answer.json()["facets"]
    }


def test_the_catalogue_is_counted_most_frequent_first(client: Any) -> None:
    # ant, bee: insect, bee also flies; cat, dog, fox: mammal; eel: fish
    assert counts(client) == {"group": [("mammal", 3), ("insect", 2), ("fish", 1), ("flies", 1)]}
    answer = client.post("/v1/facets", json={"k": 2}).json()["facets"][0]
    assert answer["num_values"] == 4
    assert [each["value"] for each in answer["values"]] == ["mammal", "insect"]


def test_given_items_are_counted(client: Any) -> None:
    assert counts(client, items=["bee", "cat", "gnu"]) == {
        "group": [("flies", 1), ("insect", 1), ("mammal", 1)]
    }
    assert counts(client, items=["gnu"]) == counts(client, items=[]) == {}


def test_a_field_is_not_narrowed_by_its_own_filter(client: Any) -> None:
    assert counts(client, filters={"group": ["fish"]}) == counts(client)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"filters": {"grup": ["fish"]}}, "filters.grup"),
        ({"filters": {"group": ["fisch"]}}, "filters.group.0"),
        ({"k": 0}, "k"),
        ({"items": "ant"}, "items"),
    ],
)
def test_wrong_requests_name_the_field(client: Any, body: dict[str, Any], field: str) -> None:
    answer = client.post("/v1/facets", json=body)
    assert (answer.status_code, answer.json()["error"]["field"]) == (422, field)


def reference(
    catalogue: pl.DataFrame, among: Bools, filters: dict[str, list[str]]
) -> dict[str, dict[str, int]]:
    """Counts by a loop over items and values."""
    fields = [name.removeprefix("cat:") for name in catalogue.columns]
    found: dict[str, dict[str, int]] = {field: {} for field in fields}
    for at, row in enumerate(catalogue.iter_rows(named=True), 2):
        has = {field: set(row[f"cat:{field}"] or []) for field in fields}
        for field in fields:
            others = [has[name] & set(wanted) for name, wanted in filters.items() if name != field]
            if among[at] and all(others):
                for value in has[field]:
                    found[field][value] = found[field].get(value, 0) + 1
    return found


def test_counts_equal_a_loop_over_items() -> None:
    draw = np.random.default_rng(7)

    def values() -> list[str] | None:  # with repeated values
        return (
            None if draw.random() < 0.1 else [f"v{each}" for each in draw.integers(0, 6, draw.integers(0, 4))]
        )

    catalogue = pl.DataFrame(
        {f"cat:{name}": [values() for _ in range(200)] for name in ("color", "size", "brand")},
        schema_overrides={f"cat:{name}": pl.List(pl.String) for name in ("color", "size", "brand")},
    )
    among = draw.random(202) < 0.7
    among[:2] = False
    for filters in ({}, {"color": ["v1", "v2"]}, {"color": ["v0"], "size": ["v3", "v4"]}):
        found = CatalogueFilter(catalogue).counts(among, filters)
        assert {field: dict(each) for field, each in found.items()} == reference(catalogue, among, filters)
        for each in found.values():
            assert each == sorted(each, key=lambda pair: (-pair[1], pair[0]))


def test_a_count_is_the_length_of_the_filtered_list() -> None:
    catalogue = pl.DataFrame({"cat:a": [["x"], ["x", "y"], ["y"]], "cat:b": [["p"], ["q"], ["q"]]})
    reader = CatalogueFilter(catalogue)
    everything = np.array([False, False, True, True, True])
    for value, count in reader.counts(everything, {"b": ["q"]})["a"]:
        assert count == reader.mask({"a": [value], "b": ["q"]}).sum()


def test_what_can_be_asked(client: Any, engine: Any) -> None:
    answer = client.get("/v1/about").json()
    assert (answer["name"], answer["num_items"], answer["recommends"]) == ("zoo", 6, True)
    assert (answer["queries"], answer["pictures"]) == ([], False)
    assert answer["model"]["version"] == engine.bundle.version


def test_an_item_and_an_unknown_one(client: Any) -> None:
    assert client.get("/v1/items/eel").json() == {"item_id": "eel", "title": None, "picture": False}
    unknown = client.get("/v1/items/emu")
    assert (unknown.status_code, unknown.json()["error"]["field"]) == (404, "item_id")


def test_similar_items_are_not_taken_for_an_item(client: Any) -> None:
    assert [each["item_id"] for each in client.get("/v1/items/ant/similar?k=1").json()["items"]] == ["bee"]
