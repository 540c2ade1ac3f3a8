"""The summary of the data, counted by hand."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from split_parts import dataset

from features.dataset.rejected import write_rejected
from features.dataset.tables import Rejected
from features.inputs.review_sentiment import Quality
from training.report.charts import Chart
from training.report.data_summary import (
    class_edges,
    data_summary,
    gini,
    history_chart,
    popularity_chart,
    sentiment_words,
    time_chart,
)

DAY_US = 86_400_000_000


def hints(chart: Chart) -> list[str]:
    return [shape.hint for shape in chart.shapes if shape.kind == "bar"]


@pytest.mark.parametrize(
    ("counts", "expected"),
    [([5, 5, 5, 5], 0.0), ([0, 0, 0, 8], 0.75), ([1, 3], 0.25), ([0, 0], 0.0), ([], 0.0)],
)
def test_gini(counts: list[int], expected: float) -> None:
    assert gini(np.array(counts, np.int64)) == pytest.approx(expected)


def test_popularity_counts_items_nobody_chose() -> None:
    # One item of five has half of the events, one has none.
    events = [("a", "i0", at) for at in range(4)] + [("a", f"i{at}", at) for at in (1, 1, 2, 3)]
    chart = popularity_chart(dataset(events, extra_items=["i4"]))
    assert chart.note == "The most popular fifth of the items holds 50% of the events; Gini 0.45."


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (1, 3, [1, 2, 3, 4]),
        (10, 34, [10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30, 32, 34, 36]),
        (7, 7, [7, 8]),
        (3, 100, [2, 4, 8, 16, 32, 64, 128]),
        (1, 128, [1, 2, 4, 8, 16, 32, 64, 128, 256]),
    ],
)
def test_classes_of_lengths(low: int, high: int, expected: list[int]) -> None:
    assert class_edges(low, high) == expected


def test_histories_are_counted_in_their_class() -> None:
    events = [(user, "i", at) for user, num in {"a": 1, "b": 3, "c": 3}.items() for at in range(num)]
    assert hints(history_chart(dataset(events))) == ["1: 1", "2: 0", "3: 2"]


@pytest.mark.parametrize(
    ("days", "name", "num_bars"),
    [([0, 1, 1], "hour", 25), ([0, 30], "day", 31), ([0, 700], "month", 24), ([0, 20_000], "year", 55)],
)
def test_events_over_time_take_the_finest_period_that_fits(days: list[int], name: str, num_bars: int) -> None:
    chart = time_chart(dataset([("a", "i", day * DAY_US) for day in days]))
    assert chart.title == f"Events by {name}"
    assert len(hints(chart)) == num_bars, "periods without an event have a bar too"
    assert sum(int(hint.rpartition(": ")[2]) for hint in hints(chart)) == len(days)


def test_without_a_clock_there_is_no_time(tmp_path: Path) -> None:
    data = dataset([("a", "i", 1), ("b", "j", 2)], has_clock=False)
    write_rejected([], tmp_path / "rejected.csv")
    found = data_summary(data, {"title": 1}, tmp_path / "rejected.csv")
    assert [chart.title for chart in found.charts] == ["Popularity of items", "Length of histories"]
    assert not {"from", "to"} & set(found.counts)
    assert found.counts["interactions"] == "2"
    assert [(each.name, each.num, each.share) for each in found.coverage] == [("titles", 1, 0.5)]
    assert found.rejected == ()


def test_what_was_rejected_names_no_folder_of_the_machine(tmp_path: Path) -> None:
    root = tmp_path / "shop"
    entries = [
        Rejected(
            table="items",
            path=f"images/{at}.png",
            row=at,
            column="image",
            value=f"{root}/images/{at}.png",
            reason=f"{root}/images/{at}.png: not a readable picture",
        )
        for at in range(3)
    ] + [Rejected(table="reviews", path="r.csv", row=7, column="item", value="?", reason="unknown item")]
    write_rejected(entries, tmp_path / "rejected.csv")
    data = replace(dataset([("a", "i", 1)]), root=root)
    found = data_summary(data, {}, tmp_path / "rejected.csv")
    assert [(each.count, each.where, each.reason, each.example) for each in found.rejected] == [
        (3, "items, image", "not a readable picture", "images/0.png, row 0: 'images/0.png'"),
        (1, "reviews, item", "unknown item", "r.csv, row 7: '?'"),
    ]
    assert found.num_rejected == 4


def test_many_reasons_are_cut_off_and_counted(tmp_path: Path) -> None:
    entries = [
        Rejected(table="items", path="i.csv", row=at, column="id", value="", reason=f"reason {at}")
        for at in range(100)
    ]
    write_rejected(entries, tmp_path / "rejected.csv")
    found = data_summary(dataset([("a", "i", 1)]), {}, tmp_path / "rejected.csv")
    assert (len(found.rejected), found.num_reasons, found.num_rejected) == (25, 100, 100)


def test_events_without_a_kind_are_still_counted(tmp_path: Path) -> None:
    write_rejected([], tmp_path / "rejected.csv")
    data = dataset([("a", "i", 1), ("a", "j", 2)])
    mixed = data.interactions.with_columns(event=pl.Series(["view", "cart"]))
    assert data_summary(replace(data, interactions=mixed), {}, tmp_path / "rejected.csv").kinds in (
        "view 1, cart 1",
        "cart 1, view 1",
    )


def test_how_well_ratings_are_predicted_from_reviews() -> None:
    assert sentiment_words({}) == ""
    quality = {
        "text": Quality(num_rated=1200, r2=0.2, correlation=0.449, ridge_alpha=1.0),
        "both": Quality(num_rated=1250, r2=0.25, correlation=0.5, ridge_alpha=3.0),
    }
    assert sentiment_words(quality) == (
        "Ratings predicted from reviews, correlation with the true ratings of held-out items: text 0.45, "
        "both together 0.50 (1,250 rated reviews; each rating minus its author's mean)."
    )
