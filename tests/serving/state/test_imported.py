"""The state keeps what it was given, and forgets for good what it was told to."""

import hashlib
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from recsys.errors import DataError, StateError
from recsys.history import History
from serving.state import imported as state_module
from serving.state.codec import decode, encode
from serving.state.database import Database
from serving.state.imported import ImportedHistories
from serving.state.live import SqliteLiveRows
from serving.state.protocol import LiveEvent


def history(*items):
    count = len(items)
    return History(
        item=np.array(items, np.int64),
        timestamp=np.arange(count, dtype=np.int64) * 60_000_000,
        event=np.full(count, 2, np.int64),
        value=np.full(count, np.nan, np.float32),
        seen=np.unique(np.array(items, np.int64)),
    )


USERS = {"u1": history(2, 3), "u2": history(4), "u3": history(5, 2, 5)}


def opened(path, *, maps, copy_of=None, **options):
    """Imported histories, with their database for tests that look into it."""
    database = Database(path, copy_of=copy_of)
    state = ImportedHistories(database, maps=maps, **options)
    state.database = database
    return state


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "histories.parquet"
    path.write_bytes(b"one version")
    return path


@pytest.fixture
def state(tmp_path):
    return opened(tmp_path / "state.sqlite", maps="some ids")


def read(users=USERS):
    return lambda path: users.items()


def same(one: History, other: History) -> bool:
    return encode(one) == encode(other)


def test_bytes_come_back_as_the_same_history():
    whole = History(
        item=np.array([2, 1, 4]),
        timestamp=np.array([5, 6, 7]),
        event=np.array([2, 2, 3]),
        value=np.array([1.5, np.nan, 3.0], np.float32),
        review_text={1: np.array([0.5, 1.0], np.float32)},
        review_audio={0: np.array([1.0], np.float32), 2: np.array([2.0], np.float32)},
        seen=np.array([2, 4, 9]),
        profile={"job": np.array([3]), "town": np.empty(0, np.int64)},
    )
    again = decode(encode(whole))
    for name in ("item", "timestamp", "event", "value", "seen"):
        np.testing.assert_array_equal(getattr(again, name), getattr(whole, name))
        assert getattr(again, name).dtype == getattr(whole, name).dtype
    for name in ("review_text", "review_audio", "profile"):
        given = getattr(whole, name)
        assert getattr(again, name).keys() == given.keys()
        for key, array in getattr(again, name).items():
            np.testing.assert_array_equal(array, given[key])
    assert len(decode(encode(history()))) == 0


def test_gives_histories_in_the_order_asked_for(state, source):
    assert state.import_histories(source, read()) == 3
    found = state.histories(["u3", "nobody", "u1"])
    assert same(found[0], USERS["u3"])
    assert found[1] is None
    assert same(found[2], USERS["u1"])


def test_users_are_listed_in_order_over_pages(state, source, monkeypatch):
    monkeypatch.setattr(state_module, "PAGE", 2)
    state.import_histories(source, read({f"u{n}": history(2) for n in (3, 1, 2, 5, 4)}))
    assert list(state.user_ids()) == ["u1", "u2", "u3", "u4", "u5"]
    assert [found is None for found in state.histories(["u5", "u4", "u9", "u1"])] == [0, 0, 1, 0]


def test_one_version_is_imported_once_and_another_replaces_it(state, source, tmp_path):
    state.import_histories(source, read())

    def never(path: Path):
        raise AssertionError("read twice")

    state.database.close()
    again = opened(tmp_path / "state.sqlite", maps="some ids")
    assert again.import_histories(source, never) == 3
    source.write_bytes(b"another version")
    assert again.import_histories(source, read({"u9": history(3)})) == 1
    assert list(again.user_ids()) == ["u9"]


def test_erasure_wins_over_a_later_import(state, source):
    state.import_histories(source, read())
    assert state.delete_user("u2") is True
    assert state.delete_user("u2") is False
    assert state.delete_user("never seen") is False
    source.write_bytes(b"another version")
    assert state.import_histories(source, read(USERS | {"never seen": history(2)})) == 2
    assert state.histories(["u2", "never seen"]) == [None, None]


def test_an_erased_user_leaves_no_bytes(tmp_path, source):
    state = opened(tmp_path / "state.sqlite", maps="some ids")
    state.import_histories(source, read({"somebody-by-name": history(2)}))
    state.delete_user("somebody-by-name")
    files = list(tmp_path.glob("state.sqlite*"))
    assert files
    assert not any(b"somebody-by-name" in file.read_bytes() for file in files)


def test_failed_import_changes_nothing(state, source):
    state.import_histories(source, read())
    source.write_bytes(b"another version")

    def breaks(path: Path):
        yield "u9", history(2)
        raise DataError("row 2 is broken")

    with pytest.raises(DataError, match="row 2"):
        state.import_histories(source, breaks)
    assert list(state.user_ids()) == ["u1", "u2", "u3"]


def open_other(tmp_path, maps="other ids", **options):
    return opened(tmp_path / "state.sqlite", maps=maps, **options)


def test_histories_of_two_sets_of_ids_lie_beside_each_other(state, source, tmp_path):
    state.import_histories(source, read())
    other = open_other(tmp_path)
    assert (other.num_users(), other.histories(["u1"]), list(other.user_ids())) == (0, [None], [])
    assert not other.has_histories
    other.import_histories(source, read({"u1": history(9), "u4": history(8)}))
    for each, expected in ((state, USERS), (other, {"u1": history(9), "u4": history(8)})):
        assert list(each.user_ids()) == sorted(expected)
        assert each.num_users() == len(expected)
        assert all(
            same(found, expected[user])
            for user, found in zip(expected, each.histories([*expected]), strict=True)
        )


def test_an_import_replaces_only_its_own(state, source, tmp_path):
    state.import_histories(source, read())
    other = open_other(tmp_path)
    other.import_histories(source, read({"u1": history(9)}))
    source.write_bytes(b"another version")
    other.import_histories(source, read({"u7": history(7)}))
    assert list(other.user_ids()) == ["u7"]
    assert list(state.user_ids()) == [*USERS]


def test_an_erased_user_is_erased_for_all_bundles(state, source, tmp_path):
    state.import_histories(source, read())
    other = open_other(tmp_path)
    other.import_histories(source, read())
    assert other.delete_user("u2") is True
    assert state.histories(["u2"]) == [None]
    third = open_other(tmp_path, maps="third ids")
    assert third.import_histories(source, read()) == 2
    assert third.histories(["u2"]) == [None]


def test_the_longest_unused_histories_are_removed_and_the_log_says_so(state, source, tmp_path, caplog):
    state.import_histories(source, read())
    second = open_other(tmp_path, maps="second", kept_maps=2)
    second.import_histories(source, read())
    assert state.num_users() == 3
    assert not caplog.records
    open_other(tmp_path, maps="third", kept_maps=2).import_histories(source, read())
    assert "removed the histories of the bundle with maps some ids" in caplog.text
    assert second.num_users() == 3
    for ask in (state.num_users, lambda: list(state.user_ids()), lambda: state.histories(["u1"])):
        with pytest.raises(StateError, match=r"histories of this bundle were removed.* start this process"):
            ask()


def test_reads_count_as_use(state, source, tmp_path):
    state.import_histories(source, read())
    second = open_other(tmp_path, maps="second", kept_maps=2)
    state.histories(["u1"])
    open_other(tmp_path, maps="third", kept_maps=2)
    assert state.num_users() == 3
    with pytest.raises(StateError):
        second.num_users()


def test_a_look_up_reads_by_the_key_and_not_every_row(state):
    """Every user of a page is found by the primary key, fingerprint checked in the same statement."""
    query = (
        "EXPLAIN QUERY PLAN SELECT user_id, history FROM maps LEFT JOIN histories "
        "ON maps_id = id AND user_id IN (?2, ?3) WHERE fingerprint = ?1"
    )
    plan = [row[3] for row in state.database.read(query, "some ids", "u1", "u2")]
    assert [line.split()[0] for line in plan] == ["SEARCH", "SEARCH"]
    assert "maps_id=? AND user_id=?" in plan[1]


def test_reads_go_on_while_another_process_writes(state, source, tmp_path):
    state.import_histories(source, read())
    other = sqlite3.connect(tmp_path / "state.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert [found is None for found in state.histories(["u1", "nobody"])] == [False, True]
    other.execute("ROLLBACK")
    other.close()


def test_a_state_in_memory_starts_from_the_file_with_its_erasures(state, source, tmp_path):
    state.import_histories(source, read())
    state.delete_user("u2")
    state.database.close()
    before = (tmp_path / "state.sqlite").read_bytes()
    copy = opened(":memory:", maps="some ids", copy_of=tmp_path / "state.sqlite")
    assert not copy.database.is_durable
    assert list(copy.user_ids()) == ["u1", "u3"]
    source.write_bytes(b"another version")
    assert copy.import_histories(source, read()) == 2
    assert (tmp_path / "state.sqlite").read_bytes() == before


def test_a_file_with_changes_not_yet_in_it_is_not_copied(state, source, tmp_path):
    state.import_histories(source, read())
    assert (tmp_path / "state.sqlite-wal").stat().st_size
    with pytest.raises(DataError, match=r"state\.sqlite-wal beside it holds changes"):
        opened(":memory:", maps="some ids", copy_of=tmp_path / "state.sqlite")


def make_database(path, *statements):
    database = sqlite3.connect(path)
    for statement in statements:
        database.execute(statement)
    database.commit()
    database.close()


def test_the_former_layout_is_made_anew_and_keeps_erasures(tmp_path, source, caplog):
    make_database(
        tmp_path / "state.sqlite",
        "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
        "CREATE TABLE users (user_id TEXT PRIMARY KEY, history BLOB NOT NULL)",
        "CREATE TABLE erased (user_hash TEXT PRIMARY KEY) WITHOUT ROWID",
        "INSERT INTO users VALUES ('u1', x'00')",
        f"INSERT INTO erased VALUES ('{hashlib.sha256(b'u2').hexdigest()}')",
    )
    state = opened(tmp_path / "state.sqlite", maps="some ids")
    assert "layout of an older recsys and was made anew: erasures are kept" in caplog.text
    assert state.num_users() == 0
    assert state.import_histories(source, read()) == 2
    assert list(state.user_ids()) == ["u1", "u3"]


def test_the_layout_before_live_rows_keeps_its_histories_and_gets_the_tables(tmp_path, source):
    path = tmp_path / "state.sqlite"
    state = opened(path, maps="some ids")
    state.import_histories(source, read())
    state.delete_user("u2")
    state.database.close()
    new = ("events", "live_users", "impressions")
    make_database(path, *(f"DROP TABLE {name}" for name in new), "PRAGMA user_version = 2")
    state = opened(path, maps="some ids")
    assert list(state.user_ids()) == ["u1", "u3"]
    rows = SqliteLiveRows(state.database)
    rows.append_events([LiveEvent(event_id="e", user="u1", item="i", timestamp=1)])
    assert (rows.num_users(), len(rows.erased())) == (1, 1)


@pytest.mark.parametrize(
    ("statements", "said"),
    [
        (("CREATE TABLE runs (id INTEGER)",), "is a database of something else .tables runs."),
        (("PRAGMA application_id = 1919247219", "PRAGMA user_version = 99"), "layout 99, this recsys reads"),
    ],
)
def test_a_foreign_or_newer_database_is_refused_and_left_as_it_was(tmp_path, statements, said):
    make_database(tmp_path / "state.sqlite", *statements)
    before = (tmp_path / "state.sqlite").read_bytes()
    with pytest.raises(DataError, match=said):
        opened(tmp_path / "state.sqlite", maps="some ids")
    assert (tmp_path / "state.sqlite").read_bytes() == before


def test_a_file_that_was_removed_under_a_running_process_is_told(state):
    state.database.close()
    with pytest.raises(StateError, match="cannot be read"):
        state.num_users()


def test_missing_file_and_unusable_database_are_named(state, tmp_path):
    with pytest.raises(DataError, match=r"no histories at .*gone\.parquet"):
        state.import_histories(tmp_path / "gone.parquet", read())
    (tmp_path / "text").write_text("this is no database, but a text that is long enough" * 9)
    with pytest.raises(DataError, match="cannot be used"):
        opened(tmp_path / "text", maps="")
