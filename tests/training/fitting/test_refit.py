"""The refit's split: all events except the targets of the ranker are training events."""

from dataclasses import replace

import polars as pl
import pytest
from split_parts import Event, dataset, disjoint, pairs, rows

from features.dataset.tables import Dataset
from features.splits.split import Split
from recsys.config import Config, RankerConfig, build_config
from training.fitting.refit import newest_events_split
from training.fitting.validation import is_ranker_user

USERS = [f"u{number}" for number in range(12)]
CHOSEN = [user for user in USERS if is_ranker_user(user, RankerConfig().target_users)]
OTHERS = [user for user in USERS if user not in CHOSEN]


def settings(**changes: float) -> Config:
    return build_config({"split": {"validation_fraction": 0.2, **changes}})


def log() -> Dataset:
    """Eleven positive events a user, i0 to i10, and two that are not: after i8 and after i10."""
    events: list[Event] = []
    for user in USERS:
        events += [(user, f"i{at}", 10 * at) for at in range(11)]
        events += [(user, "bad", 85, False), (user, "worse", 105, False)]
    reviews = [(user, f"i{at}", 10 * at + 1) for user in USERS for at in (0, 8, 10)]
    return dataset(events, [*reviews, ("elsewhere", "i10", 500)])


def refit(needs_targets: bool = True, **changes: float) -> tuple[Dataset, Split]:
    data = log()
    return data, newest_events_split(data, settings(**changes), needs_targets=needs_targets)


def test_there_are_users_of_both_kinds() -> None:
    assert len(CHOSEN) >= 3 <= len(OTHERS)


def test_targets_are_the_newest_positive_events_of_the_rankers_users() -> None:
    _, split = refit()
    assert sorted(pairs(split.validation)) == sorted((user, f"i{at}") for user in CHOSEN for at in (9, 10))
    assert split.validation["positive"].all()


def test_targets_are_not_in_training_and_nothing_is_lost() -> None:
    data, split = refit()
    assert disjoint(split)
    assert not split.test.height
    together = pl.concat([split.train, split.validation, split.context])
    assert rows(together) == rows(data.interactions)
    assert set(pairs(split.train.filter(pl.col("user_id").is_in(OTHERS)))) >= {(u, "worse") for u in OTHERS}


def test_a_target_is_guessed_from_nothing_that_came_after_it() -> None:
    """An event that is not positive and later than a target is not in the history of the target."""
    _, split = refit()
    known = split.events_before(split.validation, future=split.validation)
    for user in CHOSEN:
        before = known.filter(pl.col("user_id") == user)
        assert before["timestamp"].max() == 85
    assert set(pairs(split.context)) == {(user, "worse") for user in CHOSEN}


def test_reviews_of_targets_and_later_ones_of_their_authors_are_out() -> None:
    _, split = refit()
    kept = set(pairs(split.reviews))
    assert not kept & {(user, "i10") for user in CHOSEN}
    assert kept == {
        *((user, item) for user in CHOSEN for item in ("i0", "i8")),
        *((user, item) for user in OTHERS for item in ("i0", "i8", "i10")),
        ("elsewhere", "i10"),
    }


def test_without_a_ranker_everything_is_training_and_every_review_is_read() -> None:
    data, split = refit(needs_targets=False)
    assert rows(split.train) == rows(data.interactions)
    assert not split.validation.height
    assert split.train.equals(data.interactions)
    assert split.reviews.equals(data.reviews)
    assert not split.cold_items


@pytest.mark.parametrize(("fraction", "count"), [(0.01, 1), (0.3, 3), (0.29, 3), (1.0, 10)])
def test_how_many_targets_a_user_has(fraction: float, count: int) -> None:
    """Of eleven positive events: at least one, and never all."""
    _, split = refit(validation_fraction=fraction)
    assert split.validation.height == count * len(CHOSEN)
    assert set(split.train["user_id"]) == set(USERS)


def test_users_with_fewer_than_three_positive_events_have_no_target() -> None:
    data = log()
    few = data.interactions.filter(pl.col("timestamp") < 20)
    split = newest_events_split(replace(data, interactions=few), settings(), needs_targets=True)
    assert not split.validation.height
    assert rows(split.train) == rows(few)


def test_an_item_whose_only_event_is_a_target_is_cold() -> None:
    data = log()
    only = data.interactions.filter((pl.col("item_id") != "i10") | (pl.col("user_id") == CHOSEN[0]))
    split = newest_events_split(replace(data, interactions=only), settings(), needs_targets=True)
    assert split.cold_items == {"i10"}


def test_the_description_counts_the_targets() -> None:
    _, split = refit()
    assert f"({2 * len(CHOSEN)} events)" in split.description
    assert "20%" in split.description
