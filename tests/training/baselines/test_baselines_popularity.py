"""Popularity with decay, computed by hand: at each user's cut-off, without later events."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from split_parts import Event, dataset

from features.dataset.tables import MediaVectors
from features.inputs.item_features import build_item_features
from features.splits.make import make_split
from features.splits.split import Split
from recsys.config import SplitConfig
from recsys.item_features import ItemFeatures
from training.baselines import Popularity, PopularitySettings, RecentPopularity
from training.baselines.popularity import has_one_cut_off

DAY = 86_400_000_000
ONE_DAY = PopularitySettings(half_life_days=1)
FOREVER = PopularitySettings()
# user, item, day: two train, one validates, one tests; "late" lives after "early" has gone.
LOG: list[Event] = [
    ("early", "a", 0), ("early", "b", DAY), ("early", "c", 2 * DAY), ("early", "d", 3 * DAY),
    ("late", "c", 10 * DAY), ("late", "d", 11 * DAY), ("late", "b", 12 * DAY), ("late", "a", 13 * DAY),
]  # fmt: skip


def made(protocol: str, events: list[Event] = LOG, **settings: float) -> tuple[Split, ItemFeatures]:
    data = dataset(events)
    split = make_split(data, SplitConfig(protocol=protocol, cold_fraction=0, **settings))  # type: ignore[arg-type]
    vectors = MediaVectors(items={}, reviews={})
    return split, build_item_features(data, vectors, train=split.train, reviews=split.reviews)


def scores(split: Split, items: ItemFeatures, user: str, settings: PopularitySettings) -> dict[str, float]:
    """Item -> score, without items of score 0."""
    score_N = RecentPopularity(split, items, seen=None, settings=settings).score([user])[0]
    named = zip(items.item_ids.external, score_N[2:].tolist(), strict=True)
    return {name: score for name, score in named if score}


def test_each_event_is_halved_by_its_age_at_the_users_cut_off() -> None:
    split, items = made("leave_one_out")
    # early is asked after day 2 (validation): a is two days old, b one. Nothing of late has happened.
    assert scores(split, items, "early", ONE_DAY) == {"a": 0.25, "b": 0.5}
    # late is asked after day 12: c is 2 days old, d 1 day; of early's, a is 12 days old and b 11.
    expected = {"a": 2.0**-12, "b": 2.0**-11, "c": 0.25, "d": 0.5}
    assert scores(split, items, "late", ONE_DAY) == pytest.approx(expected)


def test_without_a_half_life_the_past_is_counted() -> None:
    split, items = made("leave_one_out")
    assert scores(split, items, "early", FOREVER) == {"a": 1, "b": 1}
    assert scores(split, items, "late", FOREVER) == {"a": 1, "b": 1, "c": 1, "d": 1}


def test_before_1970_as_after() -> None:
    split, items = made("leave_one_out")
    long_ago, _ = made("leave_one_out", [(user, item, time - 3650 * DAY) for user, item, time, *_ in LOG])
    assert long_ago.train["timestamp"].max() < 0
    for user in ("early", "late"):
        assert scores(long_ago, items, user, ONE_DAY) == scores(split, items, user, ONE_DAY)


@pytest.mark.parametrize("settings", [ONE_DAY, FOREVER])
def test_events_after_the_cut_off_are_never_counted(settings: PopularitySettings) -> None:
    split, items = made("leave_one_out")
    more = [(f"u{at}", "d", day * DAY) for at in range(9) for day in (4, 5, 6, 7)]
    flooded, _ = made("leave_one_out", [*LOG, *more])
    assert scores(flooded, items, "early", settings) == scores(split, items, "early", settings)
    assert scores(flooded, items, "late", settings) != scores(split, items, "late", settings)


@pytest.mark.parametrize("protocol", ["leave_one_out", "user_temporal", "global_temporal", "held_out_items"])
def test_the_test_is_never_read(protocol: str) -> None:
    events: list[Event] = [
        (f"u{user}", f"i{(user * at) % 7}", (user + 3 * at) * DAY) for user in range(8) for at in range(6)
    ]
    data = dataset(events)
    config = SplitConfig(protocol=protocol, cold_fraction=0.2)  # type: ignore[arg-type]
    split = make_split(data, config)
    vectors = MediaVectors(items={}, reviews={})
    items = build_item_features(data, vectors, train=split.train, reviews=split.reviews)
    other = split.test.with_columns(
        pl.lit("i0").alias("item_id"), (pl.col("timestamp") - 9 * DAY).alias("timestamp")
    )
    users = sorted(data.users["user_id"])
    lists = [
        RecentPopularity(each, items, seen=None, settings=ONE_DAY).score(users)
        for each in (split, replace(split, test=other), replace(split, context=split.test))
    ]
    assert (lists[0] == lists[1]).all()
    assert (lists[0] == lists[2]).all()


def test_one_cut_off_counts_all_of_training_for_everybody() -> None:
    split, items = made("global_temporal", test_fraction=0.25, validation_fraction=0.25)
    assert split.train["timestamp"].max() == 3 * DAY
    assert has_one_cut_off(split)
    expected = {"a": 0.125, "b": 0.25, "c": 0.5, "d": 1.0}
    for user in ("early", "late", "nobody"):
        assert scores(split, items, user, ONE_DAY) == expected


def test_given_files_have_one_cut_off_where_all_of_training_is_past() -> None:
    split, _ = made("global_temporal", test_fraction=0.25, validation_fraction=0.25)
    given = replace(split, protocol="predefined")
    assert has_one_cut_off(given)
    assert not has_one_cut_off(replace(given, test=split.train))


def test_who_is_asked_along_changes_nothing() -> None:
    split, items = made("leave_one_out")
    model = RecentPopularity(split, items, seen=None, settings=ONE_DAY)
    together = model.score(["late", "nobody", "early"])
    alone = np.concatenate([model.score([user]) for user in ("late", "nobody", "early")])
    assert together == pytest.approx(alone)


def test_with_all_of_the_past_it_is_plain_popularity() -> None:
    split, items = made("global_temporal", test_fraction=0.25, validation_fraction=0.25)
    plain = Popularity(split, items, seen=None).recommend(["late"], 4, allowed=None)
    assert (RecentPopularity(split, items, seen=None).recommend(["late"], 4, allowed=None) == plain).all()
