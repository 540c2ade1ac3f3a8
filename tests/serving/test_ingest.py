"""Live events become the next rows of a dataset: once each, whole or not at all."""

import polars as pl
import pytest
from dataset_parts import write
from walk_parts import recsys, refused

from features.dataset.load import load_dataset
from features.event_log import open_dataset
from recsys.config import DataConfig
from recsys.errors import DataError
from serving.ingest import ingest
from serving.state import Impression, LiveEvent
from serving.state.database import Database
from serving.state.live import SqliteLiveRows

MOMENT = 1_772_366_400_250_000  # 2026-03-01T12:00:00.25Z
EVENTS = "user,item,time,kind,stars\na,1,10,view,\na,2,20,view,4\nb,3,30,view,2\n"
ROLES = {"event": "kind", "value": "stars", "positive": "stars >= 3"}
REVIEWS = {"path": "reviews.csv", "user": "who", "item": "what", "text": "said", "timestamp": "at"}
REVIEW_ROWS = "who,what,said,at\na,1,nice,15\n"


@pytest.fixture
def rows(tmp_path):
    rows = SqliteLiveRows(Database(tmp_path / "state.sqlite"))
    rows.append_events(
        [
            event("e1", "a", "3", kind="buy", value=5.0, review="lovely"),
            event("e2", "new", "1", at=MOMENT + 1_000_000),
            event("e3", "new", "not yet there", at=MOMENT + 2_000_000),
        ]
    )
    rows.append_impressions([impression("r1", "a"), impression("r2", None)])
    yield rows
    rows.close()


def event(name, user, item, *, at=MOMENT, kind="view", **more):
    return LiveEvent(event_id=name, user=user, item=item, timestamp=at, kind=kind, **more)


def impression(name, user):
    return Impression(
        request_id=name,
        user=user,
        timestamp=MOMENT,
        bundle="b",
        items=("1", "2"),
        scores=(2.0, 1.0),
        sources=("history", "history"),
        propensities=(1.0, 1.0),
    )


@pytest.fixture
def dataset(tmp_path):
    root = tmp_path / "shop"
    files = {"events.csv": EVENTS, "reviews.csv": REVIEW_ROWS}
    return write(root, files, interactions=ROLES, reviews=REVIEWS)


def ingested(events):
    """Rows of the events that were ingested."""
    names = ("user_id", "item_id", "timestamp", "event", "value", "positive")
    return events.filter(pl.col("timestamp") > 10**12).select(names).rows()


def test_events_are_the_last_interactions_and_reviews(rows, dataset, tmp_path):
    report = ingest(rows, dataset)
    assert (report.num_events, report.num_new, report.num_reviews, report.num_impressions) == (3, 3, 1, 4)
    assert report.warnings == []
    second = MOMENT // 1_000_000 * 1_000_000  # the dataset has whole seconds
    expected = [
        ("a", "3", second, "buy", 5.0, True),
        ("new", "1", second + 1_000_000, "view", None, False),  # without stars it is not positive
    ]
    loaded = load_dataset(dataset)
    assert ingested(loaded.interactions) == expected
    assert loaded.interactions.height == 3 + 2
    assert loaded.reviews["text"].to_list() == ["nice", "lovely"]
    (rejected,) = loaded.rejected  # an unknown item is told as of every file
    assert (rejected.path, rejected.row, rejected.value) == (
        "live/interactions.parquet", 5, "not yet there",
    )  # fmt: skip
    streamed = open_dataset(dataset, DataConfig(stream_above=0), cache_dir=tmp_path / "cache")
    assert streamed.event_summary().num_events == 5


def test_impressions_lie_beside_them_item_by_item(rows, dataset):
    ingest(rows, dataset)
    listed = pl.read_parquet(dataset / "live" / "impressions.parquet")
    assert listed.select("request_id", "user_id", "rank", "item_id", "score").rows() == [
        ("r1", "a", 1, "1", 2.0),
        ("r1", "a", 2, "2", 1.0),
        ("r2", None, 1, "1", 2.0),
        ("r2", None, 2, "2", 1.0),
    ]


def files(dataset):
    return {path.name: path.read_bytes() for path in (dataset / "live").glob("*.parquet")}


def test_a_repeated_ingest_doubles_nothing_and_later_events_are_added(rows, dataset):
    ingest(rows, dataset)
    before = files(dataset)
    times = {path: path.stat().st_mtime_ns for path in (dataset / "live").iterdir()}
    again = ingest(rows, dataset)
    assert (again.num_events, again.num_new, again.num_impressions) == (3, 0, 4)
    assert files(dataset) == before
    assert {path: path.stat().st_mtime_ns for path in (dataset / "live").iterdir()} == times
    rows.append_events([event("e0", "a", "2", at=MOMENT - 10_000_000)])
    assert ingest(rows, dataset).num_new == 1
    assert len(ingested(load_dataset(dataset).interactions)) == 3


def test_events_of_another_state_are_added_too(rows, dataset, tmp_path):
    ingest(rows, dataset)
    other = SqliteLiveRows(Database(tmp_path / "other.sqlite"))
    other.append_events([event("f1", "c", "2")])
    report = ingest(other, dataset)
    assert (report.num_events, report.num_new, report.num_impressions) == (4, 1, 4)
    other.close()


def test_an_erased_user_is_removed_and_may_come_back(rows, dataset):
    ingest(rows, dataset)
    rows.erase_user("new")
    rows.erase_user("a")
    rows.append_events([event("e9", "a", "2")])
    report = ingest(rows, dataset)
    assert (report.num_events, report.num_new, report.num_erased, report.num_impressions) == (1, 1, 3, 2)
    found = ingested(load_dataset(dataset).interactions)
    assert [row[:2] for row in found] == [("a", "2")]
    assert not any(b"lovely" in content for content in files(dataset).values())


@pytest.mark.parametrize("number", [0, 1, 2])
def test_an_interrupted_ingest_leaves_whole_files_and_is_completed(rows, dataset, monkeypatch, number):
    ingest(rows, dataset)
    before = files(dataset)
    rows.append_events([event("e4", "b", "2", review="later")])
    rows.append_impressions([impression("r3", "b")])
    write_parquet, calls = pl.DataFrame.write_parquet, []

    def breaks(frame, path, **options):
        write_parquet(frame, path, **options)
        calls.append(path)
        if len(calls) == number + 1:
            path.write_bytes(path.read_bytes()[:20])
            raise KeyboardInterrupt

    monkeypatch.setattr(pl.DataFrame, "write_parquet", breaks)
    with pytest.raises(KeyboardInterrupt):
        ingest(rows, dataset)
    monkeypatch.undo()
    after = files(dataset)
    assert sum(after[name] != before[name] for name in before) == number
    assert after.keys() == before.keys()
    load_dataset(dataset)
    ingest(rows, dataset)
    whole = files(dataset)
    assert all(whole[name] != before[name] for name in before)
    for path in (dataset / "live").glob("*.parquet"):
        path.unlink()
    ingest(rows, dataset)
    assert files(dataset) == whole


@pytest.mark.parametrize(
    ("unit", "given", "expected"),
    [
        ("unix_ms", "1000", MOMENT // 1_000 * 1_000),
        ("unix_us", "1000000", MOMENT),
        ("unix_ns", "1600000000000000000", MOMENT),
        ("iso", "2020-09-23", MOMENT),
        ("order", "1", MOMENT),
    ],
)
def test_times_are_written_in_the_unit_of_the_dataset(rows, tmp_path, unit, given, expected):
    content = f"user,item,time\na,1,{given}\n"
    root = write(tmp_path / "shop", {"events.csv": content}, interactions={"time": unit})
    ingest(rows, root)
    assert load_dataset(root).interactions["timestamp"].to_list()[1] == expected


@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Rome"])
def test_a_typed_file_keeps_its_types(rows, tmp_path, zone):
    day = pl.Series([10**12]).cast(pl.Datetime("ms"))
    times = day if zone is None else day.dt.replace_time_zone("UTC").dt.convert_time_zone(zone)
    frame = pl.DataFrame({"user": [7], "item": [1], "time": times, "kind": ["view"], "stars": [3]})
    frame.write_parquet(tmp_path / "events.parquet")
    content = (tmp_path / "events.parquet").read_bytes()
    interactions = ROLES | {"path": "events.parquet", "time": "iso"}
    root = write(tmp_path / "shop", {"events.parquet": content}, interactions=interactions)
    ingest(rows, root)
    found = load_dataset(root).interactions
    assert found["user_id"].to_list() == ["7", "a", "new"]
    assert found["timestamp"].to_list()[1] == MOMENT
    assert pl.read_parquet(root / "live" / "interactions.parquet").schema["time"] == frame.schema["time"]


def test_a_column_that_cannot_hold_the_events_is_named(rows, tmp_path):
    frame = pl.DataFrame({"user": ["a"], "item": ["1"], "time": pl.Series([1]).cast(pl.Date)})
    frame.write_parquet(tmp_path / "events.parquet")
    content = (tmp_path / "events.parquet").read_bytes()
    interactions = {"path": "events.parquet", "time": "iso"}
    root = write(tmp_path / "shop", {"events.parquet": content}, interactions=interactions)
    with pytest.raises(DataError, match="column 'time' of the dataset is Date, which cannot hold"):
        ingest(rows, root)
    assert files(root).keys() <= {"impressions.parquet"}


def test_what_the_dataset_has_no_place_for_is_said(rows, tmp_path):
    root = write(tmp_path / "shop", {})
    assert [warning.partition(":")[0] for warning in ingest(rows, root).warnings] == [
        "[interactions] names no column `event`",
        "[interactions] names no column `value`",
        "[reviews] names no column `text`",
    ]
    assert load_dataset(root).interactions["event"].unique().to_list() == ["interaction"]


def test_a_dataset_without_times_is_refused(rows, tmp_path):
    root = write(tmp_path / "shop", {}, interactions={"timestamp": None, "time": None})
    with pytest.raises(DataError, match="names no column of times"):
        ingest(rows, root)
    assert not (root / "live").exists()


def test_the_command_says_how_many_and_check_passes(rows, dataset, tmp_path):
    made = recsys("ingest", tmp_path / "state.sqlite", "--into", dataset)
    assert made.code == 0, made.err
    assert "3 new events, 3 in all; 1 reviews; 4 listed items are in" in " ".join(made.out.split())
    checked = recsys("check", dataset)
    assert checked.code == 0
    assert "Rejected" in checked.out
    assert "no state at" in refused("ingest", tmp_path / "gone.sqlite", "--into", dataset)
    assert "no state at" in refused("ingest", dataset, "--into", dataset)
