"""Planted leaks: reviews that speak of the future must not be read."""

from pathlib import Path

import polars as pl
import pytest
from split_parts import Event, Review, dataset, given, one_user, pairs, rows

from features.splits.make import make_split
from recsys.config import SplitConfig


def test_reviews_of_held_pairs_and_of_the_authors_future_are_left_out() -> None:
    reviews: list[Review] = [
        ("a", "i4", 0),  # 0 test pair, though dated early
        ("a", "i3", 0),  # 1 validation pair
        ("a", "i0", 1),  # 2 may be read
        ("a", "i1", 3),  # 3 dated at the cut-off: out
        ("a", "i1", 7),  # 4 dated after it: out
        ("t", "i4", 2),  # 5 somebody without events: stays
        ("t", "i4", 9),  # 6 stays, the weaker guarantee
        ("a", "i2", None),  # 7 without a date nothing shows that it was early: out
    ]
    split = make_split(dataset(one_user(5), reviews), SplitConfig(protocol="leave_one_out"))
    assert rows(split.reviews) == [2, 5, 6]
    assert "3 of 8 reviews may be read" in split.description
    assert "a review by another user may be later" in split.description


def test_reviews_under_one_cut_off_for_all() -> None:
    events: list[Event] = [(f"u{at % 3}", f"i{at % 4}", at) for at in range(20)]
    reviews: list[Review] = [
        ("t", "i1", 11),  # before validation starts at 12
        ("t", "i1", 12),
        ("t", "i1", 19),
        ("t", "i1", None),
        ("u0", "i0", 1),  # the pair comes again in test
        ("u0", "i9", 1),
    ]
    config = SplitConfig(
        protocol="global_temporal", test_fraction=0.2, validation_fraction=0.2, cold_fraction=0.0
    )
    split = make_split(dataset(events, reviews, extra_items=["i9"]), config)
    assert ("u0", "i0") in {*pairs(split.test), *pairs(split.validation)}
    assert rows(split.reviews) == [0, 5]


def test_reviews_on_positions_need_no_date() -> None:
    reviews: list[Review] = [("a", "i0", None), ("a", "i4", None)]
    split = make_split(dataset(one_user(5), reviews, has_clock=False), SplitConfig())
    assert rows(split.reviews) == [0]


def test_reviews_of_a_hidden_item_stay_only_where_the_author_has_no_event_on_it() -> None:
    events = [(f"u{user}", f"i{(user + at) % 10}", at) for user in range(10) for at in range(10)]
    reviews: list[Review] = [(f"u{user}", f"i{at}", 0) for user in range(10) for at in range(10)]
    reviews += [("tester", f"i{at}", 0) for at in range(10)]
    config = SplitConfig(protocol="user_temporal", cold_fraction=0.2)
    split = make_split(dataset(events, reviews), config)
    authors = split.reviews.filter(pl.col("item_id").is_in(list(split.cold_items)))["user_id"]
    assert authors.to_list() == ["tester"] * 2


@pytest.mark.parametrize(
    ("test_at", "kept", "words"),
    [
        # (a, x, 1) (a, y, 2) (b, x, 3) are training; the test event is (b, z, test_at).
        (5, [0], "All of training lies before all of test"),
        (0, [0, 1, 2], "overlap in time"),
    ],
)
def test_how_files_were_cut_decides_which_reviews_are_the_future(
    tmp_path: Path, test_at: int, kept: list[int], words: str
) -> None:
    reviews: list[Review] = [("t", "x", 4), ("t", "x", 5), ("b", "x", 9), ("b", "z", 0)]
    data = dataset([("a", "x", 1), ("a", "y", 2), ("b", "x", 3), ("b", "z", test_at)], reviews)
    train = pl.DataFrame({"user_id": ["a", "a", "b"], "item_id": ["x", "y", "x"]})
    split = given(tmp_path, data, train, pl.DataFrame({"user_id": ["b"], "item_id": ["z"]}))
    assert rows(split.reviews) == kept
    assert words in split.description
    assert split.cut == ("for_all" if test_at else "overlapping")


def test_files_cut_user_by_user(tmp_path: Path) -> None:
    reviews: list[Review] = [("a", "x", 2), ("a", "x", 9), ("b", "x", 9), ("b", "z", 12)]
    data = dataset([("a", "x", 1), ("a", "y", 5), ("b", "x", 10), ("b", "z", 11)], reviews)
    train = pl.DataFrame({"user_id": ["a", "b"], "item_id": ["x", "x"]})
    split = given(tmp_path, data, train, pl.DataFrame({"user_id": ["a", "b"], "item_id": ["y", "z"]}))
    assert rows(split.reviews) == [0, 2]
    assert split.cut == "by_user"
    assert "Each user's training lies before their test" in split.description
