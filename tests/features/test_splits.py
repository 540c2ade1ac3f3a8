import os
from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pytest

from features.splits import events_before, make_split, refit_split, write_split
from features.tables import Dataset, Split
from recsys.config import SplitConfig
from recsys.errors import ConfigError, DataError

REAL = Path(os.environ.get("RECSYS_DATA", Path(__file__).parents[3] / "shared" / "data"))
Event = tuple[str, str, int] | tuple[str, str, int, bool]
Review = tuple[str, str, int | None]
NO_COLD = SplitConfig(cold_fraction=0.0)


def dataset(
    events: Sequence[Event],
    reviews: Sequence[Review] = (),
    *,
    has_clock: bool = True,
    contentless: Sequence[str] = (),
    extra_items: Sequence[str] = (),
    root: Path = Path("nowhere"),
    split_files: tuple[Path, Path] | None = None,
) -> Dataset:
    """Events are (user, item, time[, positive]), reviews (user, item, time)."""
    rows = [(*event, True)[:4] for event in events]
    frame = pl.DataFrame(rows, schema=["user_id", "item_id", "timestamp", "positive"], orient="row")
    frame = frame.with_columns(
        pl.lit("view").alias("event"),
        pl.lit(None, pl.Float64).alias("value"),
        pl.int_range(pl.len(), dtype=pl.Int64).alias("row"),
    ).select("user_id", "item_id", "timestamp", "event", "value", "positive", "row")
    ids = sorted({event[1] for event in events} | set(extra_items))
    items = pl.DataFrame(
        {
            "item_id": ids,
            "title": [None if name in contentless else name for name in ids],
            "text": [None] * len(ids),
            "image": [[]] * len(ids),
            "created_at": [None] * len(ids),
        },
        schema={
            "item_id": pl.String, "title": pl.String, "text": pl.String, "image": pl.List(pl.String),
            "created_at": pl.Int64,
        },
    )  # fmt: skip
    said = pl.DataFrame(
        list(reviews),
        schema={"user_id": pl.String, "item_id": pl.String, "timestamp": pl.Int64},
        orient="row",
    ).with_columns(
        pl.lit("words").alias("text"),
        pl.lit(None, pl.String).alias("audio"),
        pl.lit(None, pl.Float64).alias("value"),
        pl.int_range(pl.len(), dtype=pl.Int64).alias("row"),
    )
    return Dataset(
        name="test",
        root=root,
        items=items,
        interactions=frame.sort("timestamp", "row"),
        reviews=said,
        users=frame.select(pl.col("user_id").unique(maintain_order=True)),
        has_clock=has_clock,
        split_files=split_files,
    )


def pairs(frame: pl.DataFrame) -> list[tuple[str, str]]:
    return list(frame.select("user_id", "item_id").iter_rows())


def rows(frame: pl.DataFrame) -> list[int]:
    return sorted(frame["row"].to_list())


def disjoint(split: Split) -> bool:
    together = [*rows(split.train), *rows(split.validation), *rows(split.test), *rows(split.context)]
    return len(together) == len(set(together))


def one_user(length: int) -> list[Event]:
    return [("a", f"i{at}", at) for at in range(length)]


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
    assert rows(events_before(split, split.validation, future=split.validation)) == [0, 1, 2]
    assert rows(events_before(split, split.test)) == [0, 1, 2, 3, 4], "not the event after the test event"


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
    last_known = split.train["timestamp"].max(), split.validation["timestamp"].max()
    assert last_known < (split.test["timestamp"].min(), 100)
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
        (f"u{user}", f"i{(user + at) % 10}", at, (user + at) % 7 != 0)
        for user in range(10)
        for at in range(10)
    ]
    config = SplitConfig(protocol="held_out_items", cold_fraction=0.2)
    split = make_split(dataset(events), config)
    hidden = split.cold_items
    assert len(hidden) == 2
    assert set(split.test["item_id"]) == hidden
    assert not hidden & (set(split.train["item_id"]) | set(split.validation["item_id"]))
    everything = [*rows(split.train), *rows(split.validation), *rows(split.test), *rows(split.context)]
    assert sorted(everything) == list(range(100)), "nothing is lost"
    assert split.test["positive"].all()


def test_held_out_items_must_hold_one() -> None:
    with pytest.raises(ConfigError, match="cold_fraction = 0"):
        make_split(dataset(one_user(5)), SplitConfig(protocol="held_out_items", cold_fraction=0.0))


# given files


def given(tmp_path: Path, data: Dataset, train: pl.DataFrame, test: pl.DataFrame) -> Split:
    train.write_parquet(tmp_path / "train.parquet")
    test.write_csv(tmp_path / "test.csv")
    return make_split(
        data, SplitConfig(), train_file=tmp_path / "train.parquet", test_file=tmp_path / "test.csv"
    )


def test_given_files_are_matched_by_the_names_of_dataset_toml(tmp_path: Path) -> None:
    (tmp_path / "dataset.toml").write_text(
        'name = "x"\n[items]\npath = "i.csv"\nid = "m"\n[interactions]\npath = "e.csv"\n'
        'user = "u"\nitem = "m"\ntimestamp = "t"\ntime = "unix_s"\n'
    )
    second = 1_000_000
    data = dataset([("1", f"{at}", at * second) for at in range(6)], root=tmp_path)
    train = pl.DataFrame({"u": [1, 1, 1, 1, 1], "m": [0, 1, 2, 3, 99], "t": [0, 1, 2, 3, 9]})
    split = given(tmp_path, data, train, pl.DataFrame({"u": [1], "m": [5], "t": [5]}))
    assert split.protocol == "given"
    assert pairs(split.test) == [("1", "5")]
    assert pairs(split.validation) == [("1", "3")], "the newest training event of a user with three or more"
    assert rows(split.train) == [0, 1, 2]
    assert "4 of 5 training rows are events" in split.description
    assert "1 events of the dataset are in neither file" in split.description


def test_given_without_times_matches_every_event_of_the_pair(tmp_path: Path) -> None:
    data = dataset([("a", "x", 1), ("a", "x", 2), ("a", "y", 3), ("b", "x", 1)])
    train = pl.DataFrame({"user_id": ["a", "b"], "item_id": ["x", "x"]})
    split = given(tmp_path, data, train, pl.DataFrame({"user_id": ["a"], "item_id": ["y"]}))
    assert rows(split.train) == [0, 1, 3]
    assert rows(split.test) == [2]


def test_given_test_rows_that_are_not_positive_are_context(tmp_path: Path) -> None:
    data = dataset([("a", "x", 1), ("a", "y", 2), ("a", "z", 3, False)])
    train = pl.DataFrame({"user_id": ["a"], "item_id": ["x"]})
    split = given(tmp_path, data, train, pl.DataFrame({"user_id": ["a", "a"], "item_id": ["y", "z"]}))
    assert pairs(split.test) == [("a", "y")]
    assert pairs(split.context) == [("a", "z")]


@pytest.mark.parametrize(
    ("test", "expected"),
    [
        ({"user_id": ["a"], "item_id": ["x"]}, "1 events are in train.parquet and in test.csv"),
        ({"user_id": ["q"], "item_id": ["x"]}, "none of its 1 rows is an event of 'test'"),
        ({"user": ["a"], "item_id": ["x"]}, "no column 'user_id'; did you mean 'user'?"),
    ],
)
def test_given_files_that_do_not_fit(tmp_path: Path, test: dict[str, list[str]], expected: str) -> None:
    data = dataset([("a", "x", 1), ("a", "y", 2)])
    with pytest.raises(DataError, match=expected.replace("?", r"\?")):
        given(tmp_path, data, pl.DataFrame({"user_id": ["a"], "item_id": ["x"]}), pl.DataFrame(test))


def test_the_configuration_names_files_relative_to_the_dataset(tmp_path: Path) -> None:
    data = dataset([("a", "x", 1), ("a", "y", 2)], root=tmp_path)
    pl.DataFrame({"user_id": ["a"], "item_id": ["x"]}).write_csv(tmp_path / "tr.csv")
    pl.DataFrame({"user_id": ["a"], "item_id": ["y"]}).write_csv(tmp_path / "te.csv")
    assert make_split(data, SplitConfig(train="tr.csv", test="te.csv")).protocol == "given"
    with pytest.raises(ConfigError, match="only one is named"):
        make_split(data, SplitConfig(train="tr.csv"))
    with pytest.raises(ConfigError, match="reads no files"):
        make_split(data, SplitConfig(protocol="leave_one_out", train="tr.csv", test="te.csv"))
    with pytest.raises(ConfigError, match="needs two files"):
        make_split(data, SplitConfig(protocol="given"))


# which protocol


def test_auto_follows_the_clock_and_the_files(tmp_path: Path) -> None:
    assert make_split(dataset(one_user(9)), NO_COLD).protocol == "user_temporal"
    assert make_split(dataset(one_user(9), has_clock=False), NO_COLD).protocol == "leave_one_out"
    pl.DataFrame({"user_id": ["a"], "item_id": ["i0"]}).write_csv(tmp_path / "tr.csv")
    pl.DataFrame({"user_id": ["a"], "item_id": ["i1"]}).write_csv(tmp_path / "te.csv")
    files = (tmp_path / "tr.csv", tmp_path / "te.csv")
    assert make_split(dataset(one_user(9), split_files=files), NO_COLD).protocol == "given"
    explicit = SplitConfig(protocol="leave_one_out")
    assert make_split(dataset(one_user(9), split_files=files), explicit).protocol == "leave_one_out"


def test_a_split_without_test_events_is_refused() -> None:
    with pytest.raises(DataError, match="leaves no test event"):
        make_split(dataset([("a", "x", 1), ("b", "y", 2)]), NO_COLD)


def test_refit_trains_on_everything() -> None:
    data = dataset(one_user(4), [("a", "i3", 99)], extra_items=["new"])
    split = refit_split(data)
    assert split.train.equals(data.interactions)
    assert split.validation.height == split.test.height == split.context.height == 0
    assert split.reviews.height == 1
    assert split.cold_items == {"new"}


# planted leaks among the reviews


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


def test_files_cut_user_by_user(tmp_path: Path) -> None:
    reviews: list[Review] = [("a", "x", 2), ("a", "x", 9), ("b", "x", 9), ("b", "z", 12)]
    data = dataset([("a", "x", 1), ("a", "y", 5), ("b", "x", 10), ("b", "z", 11)], reviews)
    train = pl.DataFrame({"user_id": ["a", "b"], "item_id": ["x", "x"]})
    split = given(tmp_path, data, train, pl.DataFrame({"user_id": ["a", "b"], "item_id": ["y", "z"]}))
    assert rows(split.reviews) == [0, 2]
    assert "Each user's training lies before their test" in split.description


# what others compute the metrics from


def test_history_and_truth_are_written(tmp_path: Path) -> None:
    events: list[Event] = [("a", f"i{at}", at, at not in (2, 4, 6)) for at in range(7)]
    split = make_split(dataset(events), SplitConfig(protocol="leave_one_out"))
    write_split(split, tmp_path / "split")
    history = pl.read_parquet(tmp_path / "split" / "history.parquet")
    assert history["row"].to_list() == [0, 1, 2, 3, 4]
    assert history["part"].to_list() == ["train", "train", "train", "validation", "context"]
    assert pl.read_parquet(tmp_path / "split" / "truth.parquet")["row"].to_list() == [5]


@pytest.mark.skipif(not (REAL / "movielens-1m").is_dir(), reason="RECSYS_DATA has no movielens-1m")
def test_the_published_split_of_movielens_1m() -> None:
    from features.dataset import load_dataset

    split = make_split(load_dataset(REAL / "movielens-1m"), SplitConfig())
    assert split.protocol == "leave_one_out"
    assert split.test.height == split.validation.height == 6040
    assert split.train.height == 999_611 - 2 * 6040
