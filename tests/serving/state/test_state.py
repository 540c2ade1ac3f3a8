"""The state keeps what it was given, and forgets for good what it was told to."""

from pathlib import Path

import numpy as np
import pytest

from recsys.errors import DataError
from recsys.history import History
from serving.state import sqlite as state_module
from serving.state.codec import decode, encode
from serving.state.sqlite import SqliteState


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


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "histories.parquet"
    path.write_bytes(b"one version")
    return path


@pytest.fixture
def state(tmp_path):
    return SqliteState(tmp_path / "state.sqlite", maps="some ids")


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

    state.close()
    again = SqliteState(tmp_path / "state.sqlite", maps="some ids")
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
    state = SqliteState(tmp_path / "state.sqlite", maps="some ids")
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


def test_histories_of_other_ids_are_refused_until_imported_anew(state, source, tmp_path):
    state.import_histories(source, read())
    state.check()
    other = SqliteState(tmp_path / "state.sqlite", maps="other ids")
    with pytest.raises(DataError, match="another bundle's items"):
        other.check()
    other.import_histories(source, read())
    other.check()


def test_missing_file_and_unusable_database_are_named(state, tmp_path):
    with pytest.raises(DataError, match=r"no histories at .*gone\.parquet"):
        state.import_histories(tmp_path / "gone.parquet", read())
    (tmp_path / "text").write_text("this is no database, but a text that is long enough" * 9)
    with pytest.raises(DataError, match="cannot be used"):
        SqliteState(tmp_path / "text", maps="")
