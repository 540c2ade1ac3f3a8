from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from features.dataset.tables import Dataset, InMemoryDataset, MediaVectors, MediumVectors
from features.inputs.histories import (
    HistoryBuilder,
    IdMaps,
    KnownUsers,
    ReviewVectors,
    attach_reviews,
    build_maps,
    build_schema,
    count_histories,
    iter_histories,
    load_histories,
    save_histories,
)
from recsys.config import UserTowerConfig
from recsys.errors import DataError
from recsys.history import History
from recsys.ids import UNKNOWN, IdMap

ITEMS = IdMap(["x", "y", "z"])  # 2, 3, 4
EventRow = tuple[str, str, int, str, float | None]


def dataset(
    events: list[EventRow],
    reviews: list[tuple[str, str, int | None]] = [],  # noqa: B006 - never changed
    cities: dict[str, list[str]] | None = None,
    *,
    has_clock: bool = True,
) -> Dataset:
    frame = pl.DataFrame(
        events,
        schema={"user_id": pl.String, "item_id": pl.String, "timestamp": pl.Int64, "event": pl.String,
                "value": pl.Float64},
        orient="row",
    ).with_columns(positive=True, row=pl.int_range(pl.len(), dtype=pl.Int64))  # fmt: skip
    said = pl.DataFrame(
        reviews, schema={"user_id": pl.String, "item_id": pl.String, "timestamp": pl.Int64}, orient="row"
    ).with_columns(row=pl.int_range(pl.len(), dtype=pl.Int64) * 10)  # rows have gaps where some were rejected
    names = frame["user_id"].unique(maintain_order=True).to_list()
    users = pl.DataFrame({"user_id": names})
    if cities is not None:
        lists = pl.Series("cat:city", [cities.get(name, []) for name in names], dtype=pl.List(pl.String))
        users = users.with_columns(lists)
    return InMemoryDataset(
        name="test",
        root=Path("nowhere"),
        items=pl.DataFrame({"item_id": ["x", "y", "z"]}),
        interactions=frame.sort("timestamp", "row"),
        reviews=said,
        users=users,
        has_clock=has_clock,
    )


def medium(owner: list[int], values: list[float]) -> MediumVectors:
    vectors = np.array([[value, -value] for value in values], np.float32)
    return MediumVectors(owner=np.array(owner, np.int64), vectors=vectors)


def builder(
    data: Dataset, reviews: ReviewVectors | None = None, allowed: pl.DataFrame | None = None
) -> HistoryBuilder:
    maps = build_maps(data, data.interactions)
    allowed = data.reviews if allowed is None else allowed
    return HistoryBuilder(data, item_ids=ITEMS, maps=maps, reviews=reviews, allowed_reviews=allowed)


def said_at(history: History) -> dict[int, float]:
    return {at: float(vector[0]) for at, vector in history.review_text.items()}


def test_events_stand_in_order_and_ties_in_that_of_the_file() -> None:
    data = dataset([("a", "y", 5, "view", 1.0), ("b", "x", 1, "buy", None), ("a", "x", 5, "buy", None),
                    ("a", "z", 2, "view", 4.5)])  # fmt: skip
    built = builder(data).build(data.interactions)
    assert set(built) == {"a", "b"}
    assert built["a"].item.tolist() == [4, 3, 2]
    assert built["a"].timestamp.tolist() == [2, 5, 5]
    assert built["a"].event.tolist() == [3, 3, 2], "kinds in alphabetic order: buy, view"
    np.testing.assert_array_equal(built["a"].value, np.array([4.5, 1.0, np.nan], np.float32))
    assert built["b"].item.tolist() == [2]
    for array in (built["a"].item, built["a"].timestamp, built["a"].event, built["a"].seen):
        assert array.dtype == np.int64
    assert built["a"].value.dtype == np.float32


def test_order_does_not_depend_on_how_the_events_are_handed_over() -> None:
    data = dataset([("a", "y", 5, "v", None), ("a", "x", 5, "v", None), ("a", "z", 5, "v", None)])
    shuffled = data.interactions.sample(fraction=1.0, shuffle=True, seed=3)
    assert builder(data).build(shuffled)["a"].item.tolist() == [3, 2, 4]


def test_seen_holds_every_item_once_and_is_never_truncated() -> None:
    events: list[EventRow] = [("a", "xyz"[at % 3], at, "v", None) for at in range(3000)]
    events += [("b", "y", 1, "v", None), ("b", "y", 2, "v", None)]
    data = dataset(events)
    built = builder(data).build(data.interactions)
    assert built["a"].seen.tolist() == [2, 3, 4]
    assert built["a"].last(2).seen.tolist() == [2, 3, 4]
    assert len(built["a"]) == 3000
    assert built["b"].seen.tolist() == [3]


def test_an_item_out_of_the_catalogue_is_unknown_and_not_seen() -> None:
    data = dataset([("a", "x", 1, "v", None), ("a", "later", 2, "v", None)])
    history = builder(data).build(data.interactions)["a"]
    assert history.item.tolist() == [2, UNKNOWN]
    assert history.seen.tolist() == [2]


def test_asked_for_users_come_in_that_order_empty_where_they_have_no_events() -> None:
    data = dataset([("a", "x", 1, "v", None), ("b", "y", 2, "v", None)], cities={"a": ["Ulm"]})
    built = builder(data).build(data.interactions, users=["nobody", "b", "a"])
    assert list(built) == ["nobody", "b", "a"]
    assert len(built["nobody"]) == 0
    assert built["nobody"].seen.tolist() == []
    assert built["nobody"].profile["city"].tolist() == []
    assert built["a"].item.tolist() == [2]


def test_vocabularies_come_from_training_alone() -> None:
    data = dataset([("a", "x", 1, "view", None), ("b", "y", 2, "buy", None)],
                   cities={"a": ["Ulm", "Bonn"], "b": ["Rom"]})  # fmt: skip
    train = data.interactions.filter(user_id="a")
    maps = build_maps(data, train)
    assert maps.kinds.external == ("view",)
    assert maps.profiles["city"].external == ("Bonn", "Ulm")
    made = HistoryBuilder(data, item_ids=ITEMS, maps=maps)
    built = made.build(data.interactions)
    assert built["a"].profile["city"].tolist() == [3, 2]
    assert built["b"].profile["city"].tolist() == [UNKNOWN]
    assert built["b"].event.tolist() == [UNKNOWN]


def test_schema_has_the_scale_of_the_training_values() -> None:
    data = dataset([("a", "x", 1, "v", 1.0), ("a", "y", 2, "v", 3.0), ("a", "z", 3, "v", None)], cities={})
    maps = build_maps(data, data.interactions)
    reviews = ReviewVectors.of(MediaVectors(items={}, reviews={"review_text": medium([0], [1.0])}))
    schema = build_schema(data, data.interactions, maps, reviews, UserTowerConfig(max_length=7))
    assert schema.number_scales == {"value": (2.0, 1.0)}
    assert (schema.max_length, schema.num_event_kinds, schema.has_clock) == (7, 3, True)
    assert (schema.review_text_dim, schema.review_audio_dim) == (2, 0)
    assert schema.profile_sizes == {"city": 2}
    plain = UserTowerConfig(use_reviews=False, use_profile=False)
    bare = build_schema(data, data.interactions.head(0), maps, reviews, plain)
    assert (bare.number_scales, bare.review_text_dim) == ({"value": (0.0, 1.0)}, 0)
    assert bare.profile_sizes == {}


def test_what_was_said_stands_in_where_nothing_was_written() -> None:
    vectors = MediaVectors(
        items={},
        reviews={
            "review_text": medium([0, 3], [1.0, 2.0]),
            "review_speech": medium([1, 3], [8.0, 9.0]),
            "review_audio": medium([1, 1], [4.0, 6.0]),
        },
    )
    reviews = ReviewVectors.of(vectors)
    assert reviews.text is not None
    assert reviews.audio is not None
    assert reviews.text.owner.tolist() == [0, 1, 3]
    assert reviews.text.vectors[:, 0].tolist() == [1.0, 8.0, 2.0]
    assert reviews.audio.vectors[:, 0].tolist() == [5.0], "two recordings of one review are pooled"


def test_a_review_hangs_on_its_event_unless_it_is_later_than_the_next() -> None:
    events: list[EventRow] = [("a", "x", 10, "v", None), ("a", "y", 20, "v", None), ("a", "z", 30, "v", None)]
    data = dataset(
        events,
        [
            ("a", "x", 20),  # not later than the next event
            ("a", "y", 31),  # written after z, which position 1 is to guess
            ("a", "z", 99),  # the last event has none after it
        ],
    )
    reviews = ReviewVectors(text=medium([0, 1, 2], [1.0, 2.0, 3.0]), audio=medium([2], [7.0]))
    history = builder(data, reviews).build(data.interactions)["a"]
    assert said_at(history) == {0: 1.0, 2: 3.0}
    assert {at: vector[0] for at, vector in history.review_audio.items()} == {2: 7.0}


def test_the_next_event_is_of_the_same_user_and_of_the_events_given() -> None:
    events: list[EventRow] = [("a", "x", 10, "v", None), ("b", "y", 11, "v", None), ("a", "z", 30, "v", None)]
    data = dataset(events, [("a", "x", 50)])
    made = builder(data, ReviewVectors(text=medium([0], [1.0]), audio=None))
    assert said_at(made.build(data.interactions)["a"]) == {}
    assert said_at(made.build(data.interactions.filter(pl.col("item_id") != "z"))["a"]) == {0: 1.0}


def test_only_allowed_reviews_are_read() -> None:
    data = dataset([("a", "x", 10, "v", None), ("a", "y", 20, "v", None)], [("a", "x", 11), ("a", "y", 21)])
    reviews = ReviewVectors(text=medium([0, 1], [1.0, 2.0]), audio=None)
    allowed = builder(data, reviews, data.reviews.filter(item_id="y"))
    assert said_at(allowed.build(data.interactions)["a"]) == {1: 2.0}
    nothing = HistoryBuilder(data, item_ids=ITEMS, maps=build_maps(data, data.interactions), reviews=reviews)
    assert said_at(nothing.build(data.interactions)["a"]) == {}


def test_a_review_of_a_repeated_item_belongs_to_the_event_before_it() -> None:
    events: list[EventRow] = [("a", "x", 10, "v", None), ("a", "y", 20, "v", None), ("a", "x", 30, "v", None)]
    data = dataset(events, [("a", "x", 12), ("a", "x", 33), ("a", "x", 34), ("a", "y", 5)])
    reviews = ReviewVectors(text=medium([0, 1, 2, 3], [1.0, 2.0, 3.0, 4.0]), audio=None)
    history = builder(data, reviews).build(data.interactions)["a"]
    assert said_at(history) == {0: 1.0, 1: 4.0, 2: 3.0}, (
        "of two on one event the newer; early ones on the first"
    )


def test_reviews_without_dates_are_attached_only_where_there_is_no_clock() -> None:
    events: list[EventRow] = [("a", "x", 1, "v", None), ("a", "y", 2, "v", None)]
    reviews = ReviewVectors(text=medium([0], [1.0]), audio=None)
    for has_clock, expected in ((True, {}), (False, {0: 1.0})):
        data = dataset(events, [("a", "x", None)], has_clock=has_clock)
        assert said_at(builder(data, reviews).build(data.interactions)["a"]) == expected


def saved(path: Path) -> tuple[dict[str, History], IdMaps]:
    data = dataset(
        [("b", "x", 1, "view", None), ("a", "y", 2, "buy", 2.5), ("a", "gone", 3, "view", None)],
        [("a", "y", 2)],
        cities={"a": ["Ulm"]},
    )
    made = builder(data, ReviewVectors(text=None, audio=medium([0], [0.25])))
    histories = made.build(data.interactions, users=["b", "a", "new"])
    save_histories(histories, path, ITEMS, made.maps)
    return histories, made.maps


def assert_same(one: History, other: History) -> None:
    for name in ("item", "timestamp", "event", "value", "seen"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
        assert getattr(one, name).dtype == getattr(other, name).dtype
    assert one.profile.keys() == other.profile.keys()
    for field, ids in one.profile.items():
        np.testing.assert_array_equal(ids, other.profile[field])
    for name in ("review_text", "review_audio"):
        assert getattr(one, name).keys() == getattr(other, name).keys()
        for at, vector in getattr(one, name).items():
            np.testing.assert_array_equal(vector, getattr(other, name)[at])


def test_histories_come_back_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "histories.parquet"
    histories, maps = saved(path)
    loaded = load_histories(path, ITEMS, maps.kinds, maps.profiles)
    assert loaded.keys() == histories.keys()
    for user, history in histories.items():
        assert_same(history, loaded[user])
    assert loaded["a"].review_audio[0].tolist() == [0.25, -0.25]
    assert list(tmp_path.iterdir()) == [path], "no half-written file stays"


def test_the_file_holds_external_ids(tmp_path: Path) -> None:
    saved(tmp_path / "h.parquet")
    row = pl.read_parquet(tmp_path / "h.parquet").row(0, named=True)
    assert row["user_id"] == "a"
    assert row["item_id"] == ["y", None]
    assert row["event"] == ["buy", "view"]
    assert row["value"] == [2.5, None]
    assert row["seen"] == ["y"]
    assert row["cat:city"] == ["Ulm"]
    assert (row["review_position"], row["review_text"], row["review_audio"]) == ([0], [None], [[0.25, -0.25]])


def test_another_catalogue_gives_other_numbers(tmp_path: Path) -> None:
    _, maps = saved(tmp_path / "h.parquet")
    loaded = load_histories(tmp_path / "h.parquet", IdMap(["new", "y"]), maps.kinds, maps.profiles)
    assert loaded["a"].item.tolist() == [3, UNKNOWN]
    assert loaded["b"].item.tolist() == [UNKNOWN]
    assert loaded["b"].seen.tolist() == []


def test_users_are_looked_up_and_walked_over_in_batches(tmp_path: Path) -> None:
    path = tmp_path / "h.parquet"
    histories, maps = saved(path)
    assert set(load_histories(path, ITEMS, maps.kinds, maps.profiles, users=["b", "absent"])) == {"b"}
    assert count_histories(path) == 3
    walked = dict(iter_histories(path, ITEMS, maps.kinds, maps.profiles, batch_size=2))
    assert list(walked) == ["a", "b", "new"]
    for user, history in walked.items():
        assert_same(history, histories[user])


def test_users_with_fields_and_no_event_have_an_empty_history(tmp_path: Path) -> None:
    data = dataset([("b", "x", 1, "view", None), ("a", "y", 2, "view", None)], cities={"a": ["Ulm"]})
    others = pl.DataFrame({"user_id": ["z", "c"], "cat:city": [["Ulm"], []]})
    data = replace(data, users=pl.concat([others, data.users]))
    made = builder(data)
    histories = KnownUsers(made, data.histories(made))
    assert list(histories) == ["a", "b", "z", "c"]
    assert len(histories) == 4
    assert "z" in histories
    assert "nobody" not in histories
    path = tmp_path / "h.parquet"
    save_histories(histories, path, ITEMS, made.maps)
    # One user at a time: a part of the file may hold no event at all.
    read = dict(iter_histories(path, ITEMS, made.maps.kinds, made.maps.profiles, batch_size=1))
    assert list(read) == ["a", "b", "c", "z"]
    for user, history in read.items():
        assert_same(history, histories[user])
    assert (len(read["z"]), read["z"].profile["city"].tolist()) == (0, [2])
    assert (len(read["c"]), read["c"].profile["city"].tolist()) == (0, [])


def test_no_histories_at_all_are_a_file_too(tmp_path: Path) -> None:
    maps = IdMaps(kinds=IdMap(["v"]), profiles={})
    save_histories({}, tmp_path / "h.parquet", ITEMS, maps)
    assert load_histories(tmp_path / "h.parquet", ITEMS, maps.kinds, {}) == {}
    assert list(iter_histories(tmp_path / "h.parquet", ITEMS, maps.kinds, {})) == []


def test_what_is_no_table_of_histories_is_refused(tmp_path: Path) -> None:
    maps = IdMaps(kinds=IdMap(["v"]), profiles={})
    with pytest.raises(DataError, match="no histories at"):
        load_histories(tmp_path / "h.parquet", ITEMS, maps.kinds, {})
    pl.DataFrame({"user_id": ["a"]}).write_parquet(tmp_path / "h.parquet")
    with pytest.raises(DataError, match="column 'item_id' must be List"):
        load_histories(tmp_path / "h.parquet", ITEMS, maps.kinds, {})
    (tmp_path / "h.parquet").write_text("no")
    with pytest.raises(DataError, match="is no Parquet file, or cut off or damaged"):
        load_histories(tmp_path / "h.parquet", ITEMS, maps.kinds, {})


def place_of(review: tuple[str, str, int | None], events: list[tuple[str, str, int]]) -> int | None:
    """The event of one review, as `attach_reviews` documents it, in a loop over the events."""
    user, item, reviewed = review
    own = [at for at, event in enumerate(events) if event[:2] == (user, item)]
    past = [at for at in own if reviewed is None or events[at][2] <= reviewed]
    if not own:
        return None
    at = past[-1] if past else own[0]
    following = events[at + 1] if at + 1 < len(events) and events[at + 1][0] == user else None
    too_late = reviewed is not None and following is not None and reviewed > following[2]
    return None if too_late else at


@pytest.mark.parametrize("has_clock", [True, False])
@pytest.mark.parametrize("seed", range(5))
def test_reviews_find_the_events_that_a_loop_finds(seed: int, has_clock: bool) -> None:
    rng = np.random.default_rng(seed)

    def draw(count: int) -> list[tuple[str, str, int]]:
        users, items, times = (rng.integers(0, high, count).tolist() for high in (4, 3, 12))
        return [(f"u{user}", f"i{item}", time) for user, item, time in zip(users, items, times, strict=True)]

    events = sorted(draw(60), key=lambda event: (event[0], event[2]))
    drawn = [(*review[:2], None if rng.random() < 0.2 else review[2]) for review in draw(80)]
    frame = pl.DataFrame(events, schema=["user_id", "item_id", "timestamp"], orient="row")
    schema = {"user_id": pl.String, "item_id": pl.String, "reviewed": pl.Int64}
    reviews = pl.DataFrame(drawn, schema=schema, orient="row").with_row_index("position")
    found = attach_reviews(frame, reviews, has_clock=has_clock)
    dated = {at: one for at, one in enumerate(drawn) if one[2] is not None or not has_clock}
    expected = {at: place for at, one in dated.items() if (place := place_of(one, events)) is not None}
    assert dict(found.select("position", "at").iter_rows()) == expected
    assert 0 < len(expected) < len(dated), "some are too late"
