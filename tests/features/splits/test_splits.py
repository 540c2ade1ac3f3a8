from pathlib import Path

import polars as pl
import pytest
from real_data import real_data
from split_parts import Event, dataset, disjoint, one_user, pairs, rows

from features.splits.make import make_split
from recsys.config import SplitConfig
from recsys.errors import ConfigError

REAL = real_data()
NO_COLD = SplitConfig(cold_fraction=0.0)


# leave one out


def test_leave_one_out_takes_the_last_two() -> None:
    split = make_split(dataset(one_user(5)), SplitConfig(protocol="leave_one_out"))
    assert pairs(split.test) == [("a", "i4")]
    assert pairs(split.validation) == [("a", "i3")]
    assert rows(split.train) == [0, 1, 2]
    assert split.cold_items == {"i3", "i4"}


def test_users_with_few_events_keep_something_to_train_on() -> None:
    events: list[Event] = [
        ("one", "x", 1),
        ("two", "x", 1),
        ("two", "y", 2),
        ("none", "x", 1, False),
        *one_user(3),
    ]
    split = make_split(dataset(events), SplitConfig(protocol="leave_one_out"))
    assert pairs(split.test) == [("two", "y"), ("a", "i2")]
    assert pairs(split.validation) == [("a", "i1")]
    assert set(pairs(split.train)) == {("one", "x"), ("two", "x"), ("none", "x"), ("a", "i0")}


def test_ties_keep_the_order_of_the_file() -> None:
    events: list[Event] = [("a", "late", 9), ("a", "x", 5), ("a", "y", 5), ("a", "z", 5)]
    split = make_split(dataset(events), SplitConfig(protocol="leave_one_out"))
    assert pairs(split.test) == [("a", "late")]
    assert pairs(split.validation) == [("a", "z")]
    assert pairs(split.train) == [("a", "x"), ("a", "y")]


def test_negative_events_are_never_targets_and_are_context_from_the_cut_off_on() -> None:
    events: list[Event] = [
        ("a", "n0", 0, False),
        ("a", "p1", 1),
        ("a", "n2", 2, False),
        ("a", "p3", 3),  # validation: the cut-off
        ("a", "n4", 4, False),
        ("a", "p5", 5),  # test
        ("a", "n6", 6, False),
    ]
    split = make_split(dataset(events), SplitConfig(protocol="leave_one_out"))
    assert rows(split.train) == [0, 1, 2]
    assert rows(split.validation) == [3]
    assert rows(split.test) == [5]
    assert rows(split.context) == [4, 6]


def test_what_is_known_before_validation_and_before_test() -> None:
    events: list[Event] = [("a", f"i{at}", at, at not in (2, 4, 6)) for at in range(7)]
    split = make_split(dataset(events), SplitConfig(protocol="leave_one_out"))
    assert rows(split.events_before(split.validation, future=split.validation)) == [0, 1, 2]
    assert rows(split.events_before(split.test)) == [0, 1, 2, 3, 4], "not the event after the test event"


# by time, user for user


def test_user_temporal_takes_shares_of_at_least_one() -> None:
    events = [*one_user(20), *(("b", f"i{at}", at) for at in range(4))]
    config = SplitConfig(
        protocol="user_temporal", test_fraction=0.2, validation_fraction=0.1, cold_fraction=0
    )
    split = make_split(dataset(events), config)
    counts = {part: getattr(split, part)["user_id"].value_counts().rows() for part in ("test", "validation")}
    assert dict(counts["test"]) == {"a": 4, "b": 1}
    assert dict(counts["validation"]) == {"a": 2, "b": 1}
    assert pairs(split.test.filter(user_id="b")) == [("b", "i3")]


def test_a_fraction_of_zero_takes_nothing_and_a_large_one_leaves_one_event() -> None:
    none = SplitConfig(protocol="user_temporal", validation_fraction=0.0, cold_fraction=0.0)
    assert make_split(dataset(one_user(10)), none).validation.height == 0
    much = SplitConfig(
        protocol="user_temporal", test_fraction=1.0, validation_fraction=1.0, cold_fraction=0.0
    )
    split = make_split(dataset(one_user(10)), much)
    assert (split.train.height, split.validation.height, split.test.height) == (1, 0, 9)


def test_hidden_items_are_in_no_training_event_and_tested_only_after_the_cut_off() -> None:
    events = [(f"u{user}", f"i{(user + at) % 10}", at) for user in range(10) for at in range(10)]
    config = SplitConfig(
        protocol="user_temporal", test_fraction=0.2, validation_fraction=0.2, cold_fraction=0.3
    )
    data = dataset(events, extra_items=["never"])
    split = make_split(data, config)
    hidden = split.cold_items - {"never"}
    assert len(hidden) == 3
    assert not hidden & set(split.validation["item_id"])
    assert set(split.test["item_id"]) >= hidden
    last_trained, first_validated = split.train["timestamp"].max(), split.validation["timestamp"].min()
    last_validated, first_tested = split.validation["timestamp"].max(), split.test["timestamp"].min()
    assert last_trained < first_validated
    assert last_validated < first_tested
    assert split.test.filter(pl.col("timestamp") < 8).is_empty(), (
        "a hidden item's earlier events are no targets"
    )
    assert disjoint(split)
    assert make_split(data, config).cold_items == split.cold_items, "the same seed hides the same items"
    others = {make_split(data, config.model_copy(update={"seed": seed})).cold_items for seed in range(1, 6)}
    assert others != {split.cold_items}


def test_only_items_with_content_are_hidden() -> None:
    events = [(f"u{user}", f"i{(user + at) % 10}", at) for user in range(10) for at in range(10)]
    data = dataset(events, contentless=[f"i{at}" for at in range(8)])
    split = make_split(data, SplitConfig(protocol="user_temporal", cold_fraction=0.5))
    assert len(split.cold_items) == 1
    assert split.cold_items <= {"i8", "i9"}


# one cut-off for all


def test_global_temporal_has_one_cut_off_for_all() -> None:
    events: list[Event] = [(f"u{at % 3}", f"i{at % 4}", at, at != 18) for at in range(20)]
    config = SplitConfig(
        protocol="global_temporal", test_fraction=0.2, validation_fraction=0.2, cold_fraction=0.0
    )
    split = make_split(dataset(events), config)
    # 19 positive events: validation starts at number 11, test at number 15.
    assert rows(split.train) == list(range(11))
    assert rows(split.validation) == [11, 12, 13, 14]
    assert rows(split.test) == [15, 16, 17, 19]
    assert rows(split.context) == [18]


def test_global_temporal_needs_a_clock() -> None:
    with pytest.raises(ConfigError, match="leave_one_out"):
        make_split(dataset(one_user(5), has_clock=False), SplitConfig(protocol="global_temporal"))


def test_fractions_that_leave_nothing_are_refused() -> None:
    config = SplitConfig(protocol="global_temporal", test_fraction=0.5, validation_fraction=0.5)
    with pytest.raises(ConfigError, match="nothing is left to train on"):
        make_split(dataset(one_user(5)), config)


# items held out


def test_held_out_items_lose_all_of_their_events() -> None:
    events: list[Event] = [
        (f"u{user}", f"i{(user + at) % 10}", at, (user + 2 * at) % 5 != 0)
        for user in range(10)
        for at in range(10)
    ]
    config = SplitConfig(protocol="held_out_items", cold_fraction=0.5)
    split = make_split(dataset(events), config)
    hidden = split.cold_items
    assert len(hidden) == 5
    assert set(split.test["item_id"]) == hidden
    assert not hidden & (set(split.train["item_id"]) | set(split.validation["item_id"]))
    everything = [*rows(split.train), *rows(split.validation), *rows(split.test), *rows(split.context)]
    read_by_nobody = {row for row in range(100) if events[row][1] in hidden and not events[row][-1]}
    assert read_by_nobody
    assert set(everything) == set(range(100)) - read_by_nobody, "negative events on hidden items alone"
    assert len(everything) == len(set(everything))
    assert split.context.height
    assert not hidden & set(split.context["item_id"])
    assert split.test["positive"].all()


def test_held_out_items_must_hold_one() -> None:
    with pytest.raises(ConfigError, match="cold_fraction = 0"):
        make_split(dataset(one_user(5)), SplitConfig(protocol="held_out_items", cold_fraction=0.0))


# which protocol


def test_auto_follows_the_clock_and_the_files(tmp_path: Path) -> None:
    assert make_split(dataset(one_user(9)), NO_COLD).protocol == "user_temporal"
    assert make_split(dataset(one_user(9), has_clock=False), NO_COLD).protocol == "leave_one_out"
    pl.DataFrame({"user_id": ["a"], "item_id": ["i0"]}).write_csv(tmp_path / "tr.csv")
    pl.DataFrame({"user_id": ["a"], "item_id": ["i1"]}).write_csv(tmp_path / "te.csv")
    files = (tmp_path / "tr.csv", tmp_path / "te.csv")
    assert make_split(dataset(one_user(9), split_files=files), NO_COLD).protocol == "predefined"
    explicit = SplitConfig(protocol="leave_one_out")
    assert make_split(dataset(one_user(9), split_files=files), explicit).protocol == "leave_one_out"


def test_auto_has_one_cut_off_where_its_windows_have_enough_returning_users() -> None:
    """20 events of users a and b in turn, then 5 of c: test is the last 5, validation the 5 before them."""
    events: list[Event] = [("ab"[at % 2], f"i{at}", at, True) for at in range(20)]
    of_both = [*events, *((("abccc"[at]), f"i{at}", 20 + at, True) for at in range(5))]
    of_a_new_one: list[Event] = [*events, *(("c", f"i{at}", 20 + at, True) for at in range(5))]
    config = SplitConfig(cold_fraction=0.0, test_fraction=0.2, validation_fraction=0.2, min_window_users=2)
    split = make_split(dataset(of_both), config)
    assert split.protocol == "global_temporal"
    assert rows(split.test) == [20, 21, 22, 23, 24]
    assert "2 users with earlier events in the test and 2 in validation (at least 2)" in split.description
    assert "not comparable" in split.description
    per_user = make_split(dataset(of_a_new_one), config)
    assert per_user.protocol == "user_temporal"
    assert "leave 0 users with earlier events in the test and 2 in validation (fewer than 2)" in (
        per_user.description
    )
    three = config.model_copy(update={"min_window_users": 3})
    assert make_split(dataset(of_both), three).protocol == "user_temporal"


def test_a_split_without_test_events_is_made_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    split = make_split(dataset([("a", "x", 1), ("b", "y", 2)]), NO_COLD)
    assert (split.train.height, split.test.height) == (2, 0)
    assert "leaves no test event, so that nothing can be measured" in caplog.text


# what others compute the metrics from


def test_history_and_truth_are_written(tmp_path: Path) -> None:
    events: list[Event] = [("a", f"i{at}", at, at not in (2, 4, 6)) for at in range(7)]
    split = make_split(dataset(events), SplitConfig(protocol="leave_one_out"))
    split.write(tmp_path / "split")
    history = pl.read_parquet(tmp_path / "split" / "history.parquet")
    assert history["row"].to_list() == [0, 1, 2, 3, 4]
    assert history["part"].to_list() == ["train", "train", "train", "validation", "context"]
    assert pl.read_parquet(tmp_path / "split" / "ground_truth.parquet")["row"].to_list() == [5]


@pytest.mark.skipif(not (REAL / "movielens-1m").is_dir(), reason="RECSYS_DATA has no movielens-1m")
def test_the_published_split_of_movielens_1m() -> None:
    from features.dataset.load import load_dataset

    split = make_split(load_dataset(REAL / "movielens-1m"), SplitConfig())
    assert split.protocol == "leave_one_out"
    assert split.test.height == split.validation.height == 6040
    assert split.train.height == 999_611 - 2 * 6040


def test_global_temporal_starts_at_given_times() -> None:
    day = 86_400_000_000
    events = [("a", f"i{at}", at * day, at != 5) for at in range(10)]
    config = SplitConfig(
        protocol="global_temporal", validation_start="1970-01-05", test_start="1970-01-08", cold_fraction=0.0
    )
    split = make_split(dataset(events), config)
    found = {
        part: getattr(split, part)["timestamp"].to_list()
        for part in ("train", "validation", "test", "context")
    }
    assert found == {
        "train": [at * day for at in range(4)],
        "validation": [4 * day, 6 * day],
        "test": [7 * day, 8 * day, 9 * day],
        "context": [5 * day],
    }
    assert "from 1970-01-08 00:00:00 UTC on are test" in split.description
