"""One contract for every database of live rows, and what holds for SQLite files alone."""

import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from redis_parts import RedisServer, needs_redis

from recsys.errors import StateError
from serving.state import Impression, LiveEvent, LiveItem, LiveUser
from serving.state.database import Database
from serving.state.live import SqliteLiveRows
from serving.state.protocol import hash_of


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory):
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.kill()


@pytest.fixture(params=["file", "memory", pytest.param("redis", marks=needs_redis)])
def rows(request, tmp_path):
    if request.param == "redis":
        from serving.state.redis_rows import RedisLiveRows

        rows = RedisLiveRows(request.getfixturevalue("redis_server").url, seconds_between_attempts=0)
        rows._redis.flushdb()
    else:
        rows = SqliteLiveRows(Database(tmp_path / "state.sqlite" if request.param == "file" else ":memory:"))
    yield rows
    rows.close()


def event(number, user="u", item=None, *, at=0, **more):
    return LiveEvent(event_id=f"e{number}", user=user, item=item or f"i{number}", timestamp=at, **more)


def ids(user: LiveUser) -> list[str]:
    return [each.event_id for each in user.events]


def impression(number, user="u"):
    return Impression(
        request_id=f"r{number}",
        user=user,
        timestamp=number,
        bundle="b1",
        items=("i1", "i2"),
        scores=(0.5, 0.25),
        sources=("history", "popularity"),
        propensities=(1.0, 0.5),
    )


def test_events_come_back_whole_in_the_order_of_their_times(rows):
    whole = event(1, at=7, kind="buy", value=4.5, review="good ½", request_id="r1")
    assert rows.append_events([whole, event(2, at=5), event(3, at=7), event(4, "other")]).accepted == 4
    (user,) = rows.users(["u"])
    assert ids(user) == ["e2", "e1", "e3"]
    assert user.events[1] == whole
    assert (user.seen, user.profile, user.is_erased) == ({"i1", "i2", "i3"}, None, False)


def test_an_event_with_a_known_id_is_stored_once(rows):
    rows.append_events([event(1)])
    appended = rows.append_events([event(2), event(1, item="changed"), event(2), event(3)])
    assert (appended.accepted, appended.duplicates) == (2, (1, 2))
    assert [each.item for each in rows.events()] == ["i1", "i2", "i3"]


def test_the_newest_events_are_read_and_all_items_are_seen(rows):
    rows.append_events([event(n, item=f"i{n % 7}", at=n) for n in range(20)])
    (user,) = rows.users(["u"], newest=3)
    assert ids(user) == ["e17", "e18", "e19"]
    assert user.seen == {f"i{n}" for n in range(7)}


def test_users_are_read_in_the_order_asked_for_and_listed_ascending(rows, monkeypatch):
    monkeypatch.setattr(sys.modules[type(rows).__module__], "PAGE", 2)
    rows.append_events([event(n, f"u{n}") for n in (3, 1, 2, 5)])
    rows.set_profile("u4", {})
    assert list(rows.user_ids()) == ["u1", "u2", "u3", "u4", "u5"]
    assert rows.num_users() == 5
    assert [ids(user) for user in rows.users(["u5", "nobody", "u1", "u4"])] == [["e5"], [], ["e1"], []]
    assert [each.user for each in rows.events()] == ["u3", "u1", "u2", "u5"]


def test_fields_replace_each_other(rows):
    rows.set_profile("u", {"job": ["cook"], "town": ["Rome"]})
    rows.set_profile("u", {"job": ["cook", "baker"]})
    rows.append_events([event(1)])
    assert rows.users(["u"])[0].profile == {"job": ("cook", "baker")}


def test_impressions_come_back_in_order(rows):
    given = [impression(1), impression(2, None), impression(3, "other")]
    rows.append_impressions(given[:2])
    rows.append_impressions(given[2:])
    assert list(rows.impressions()) == given
    assert rows.num_users() == 0  # who was only answered is unknown


def test_an_erased_user_has_no_rows_and_may_come_back_as_a_new_one(rows):
    assert rows.is_empty()
    rows.append_events([event(1), event(2, "other")])
    rows.append_impressions([impression(1), impression(2, "other")])
    rows.set_profile("u", {"job": ["cook"]})
    assert rows.erase_user("u") is True
    assert rows.erase_user("u") is False
    assert rows.users(["u", "other"])[0] == LiveUser(is_erased=True)
    assert list(rows.user_ids()) == ["other"]
    assert [each.user for each in rows.events()] == ["other"]
    assert [each.user for each in rows.impressions()] == ["other"]
    assert rows.erased() == {hash_of("u")}
    rows.append_events([event(1), event(9)])
    (user,) = rows.users(["u"])
    assert (ids(user), user.is_erased) == (["e1", "e9"], True)
    assert not rows.is_empty()


def item(name, **more):
    return LiveItem(item=name, fields={"title": name}, **more)


def names(items):
    return [each.item for each in items]


def test_items_come_back_whole_by_their_first_change_and_replace_each_other(rows):
    assert (rows.items_version(), list(rows.items())) == (0, [])
    whole = LiveItem(item="a", fields={"title": "Ant ½", "legs": 6}, content=b"\0\xff", version=1)
    assert rows.put_items([whole, item("b"), item("c")]) == 3
    assert not rows.is_empty()
    assert next(iter(rows.items())) == whole
    assert rows.put_items([item("b", is_deleted=True)]) == 4
    assert names(rows.items()) == ["a", "b", "c"]
    (changed,) = rows.items(after=3)
    assert (changed.item, changed.is_deleted, changed.version) == ("b", True, 4)
    assert (rows.put_items([]), rows.items_version()) == (4, 4)


def test_items_are_read_a_page_at_a_time(rows, monkeypatch):
    for module in ("sqlite", "redis"):
        monkeypatch.setattr(f"serving.state.item_rows.{module}.PAGE", 2)
    rows.put_items([item(f"i{n}") for n in range(5)])
    rows.put_items([item("i3"), item("i1")])
    assert names(rows.items()) == [f"i{n}" for n in range(5)]
    assert names(rows.items(after=5)) == ["i1", "i3"]


def test_files_of_an_item_stay_until_they_are_replaced(rows):
    rows.put_items([item("a"), item("b")], {"a": {"image": b"\x89\0"}})
    rows.put_items([item("a")])
    assert (rows.item_medium("a", "image"), rows.item_medium("b", "image")) == (b"\x89\0", None)
    rows.put_items([item("a")], {"a": {"audio": b"1"}})
    assert (rows.item_medium("a", "image"), rows.item_medium("a", "audio")) == (None, b"1")
    rows.put_items([item("a", is_deleted=True)])
    assert rows.item_medium("a", "audio") is None


def test_many_threads_lose_and_double_nothing(rows):
    def add(thread):
        for n in range(20):
            rows.append_events([event(f"{thread % 4}-{n}", f"u{thread % 4}"), event(f"own-{thread}-{n}")])
            rows.users(["u", f"u{thread % 4}"])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, range(8)))
    assert [len(user.events) for user in rows.users(["u", "u0", "u3"])] == [160, 20, 20]


def test_a_closed_database_is_an_error_of_the_state(tmp_path):
    rows = SqliteLiveRows(Database(tmp_path / "state.sqlite"))
    rows.close()
    for ask in (rows.num_users, lambda: rows.users(["u"]), lambda: rows.append_events([event(1)])):
        with pytest.raises(StateError, match=r"the state cannot be (read|written)"):
            ask()


def test_two_openings_of_one_file_see_each_other(tmp_path):
    one, other = (SqliteLiveRows(Database(tmp_path / "state.sqlite")) for _ in range(2))
    one.append_events([event(1)])
    other.append_events([event(1), event(2)])
    assert ids(one.users(["u"])[0]) == ids(other.users(["u"])[0]) == ["e1", "e2"]
    one.erase_user("u")
    assert other.users(["u"])[0] == LiveUser(is_erased=True)
    for rows in (one, other):
        rows.close()


def test_an_erased_user_leaves_no_bytes(tmp_path):
    rows = SqliteLiveRows(Database(tmp_path / "state.sqlite"))
    other = SqliteLiveRows(Database(tmp_path / "state.sqlite"))
    rows.append_events([event(1, "somebody-by-name", at=n) for n in range(3)] + [event(2)])
    rows.append_impressions([impression(1, "somebody-by-name"), impression(2)])
    rows.set_profile("somebody-by-name", {"job": ["cook"]})
    other.users(["somebody-by-name"])
    files = sorted(tmp_path.glob("state.sqlite*"))
    assert any(b"somebody-by-name" in file.read_bytes() for file in files)
    rows.erase_user("somebody-by-name")
    assert len(files) == 3  # with the write-ahead log and its index
    assert not any(b"somebody-by-name" in file.read_bytes() for file in files)


KILLED = """
import os, sys
from serving.state import LiveEvent
from serving.state.database import Database
from serving.state.live import SqliteLiveRows
rows = SqliteLiveRows(Database(sys.argv[1]))
for n in range(5):
    rows.append_events([LiveEvent(event_id=f"{n}-{m}", user="u", item="i", timestamp=n) for m in range(3)])
    print(n, flush=True)
database = rows._database
with database.transaction() as connection:
    connection.execute("INSERT INTO events (event_id, user_id, item_id, timestamp) VALUES ('x', 'u', 'i', 9)")
    os.kill(os.getpid(), 9)
"""


def test_what_was_acknowledged_outlives_a_killed_process(tmp_path):
    path = tmp_path / "state.sqlite"
    killed = subprocess.run([sys.executable, "-c", KILLED, path], capture_output=True, check=False)
    assert (killed.returncode, killed.stdout.split()) == (-9, [b"0", b"1", b"2", b"3", b"4"])
    rows = SqliteLiveRows(Database(path))
    assert ids(rows.users(["u"])[0]) == [f"{n}-{m}" for n in range(5) for m in range(3)]
    rows.close()


def test_every_commit_is_synced(tmp_path):
    database = Database(tmp_path / "state.sqlite")
    with database.transaction() as connection:
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    database.close()


def test_a_failed_append_stores_nothing(tmp_path):
    rows = SqliteLiveRows(Database(tmp_path / "state.sqlite"))
    with pytest.raises(sqlite3.Error):
        rows.append_events([event(1), event(2, value=object())])
    assert list(rows.events()) == []
    rows.close()


STREAM = """
import os, random, sys, time
from threading import Thread
from serving.state import LiveEvent, LiveItem
from serving.state.database import Database
from serving.state.live import SqliteLiveRows


def stream(rows, client, out):
    for n in range(1_000_000):
        event = LiveEvent(event_id=f"{round}-{client}-{n}", user=f"u{client}", item="i", timestamp=n)
        rows.append_events([event])
        os.write(out, f"{event.event_id}\\n".encode())  # acknowledged
        item = LiveItem(item=f"{round}-{client}-{n}", fields={"n": n})
        rows.put_items([item], {item.item: {"image": b"file"}})
        os.write(out, f"item:{item.item}\\n".encode())


for round in range(int(sys.argv[2])):
    read, write = os.pipe()
    child = os.fork()
    if not child:
        rows = SqliteLiveRows(Database(sys.argv[1]))
        for client in range(8):
            Thread(target=stream, args=(rows, client, write), daemon=True).start()
        time.sleep(60)
        os._exit(1)
    os.close(write)
    first = os.read(read, 1)
    time.sleep(random.Random(round).random() * 0.1)
    os.kill(child, 9)
    os.waitpid(child, 0)
    with os.fdopen(read, "rb") as pipe:
        sys.stdout.buffer.write(first + pipe.read())
    sys.stdout.flush()
"""


@pytest.mark.parametrize("kills", [2, pytest.param(100, marks=pytest.mark.long)])
def test_no_acknowledged_event_is_lost_or_doubled_by_kills_under_load(tmp_path, kills):
    path = tmp_path / "state.sqlite"
    command = [sys.executable, "-W", "ignore", "-c", STREAM, path, str(kills)]
    ran = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    said = ran.stdout.split()
    items = {each.removeprefix("item:") for each in said if each.startswith("item:")}
    acknowledged = [each for each in said if not each.startswith("item:")]
    assert len(acknowledged) >= kills
    rows = SqliteLiveRows(Database(path))
    stored = [each.event_id for each in rows.events()]
    assert len(stored) == len(set(stored))
    assert set(acknowledged) <= set(stored)
    assert len(stored) - len(acknowledged) <= 8 * kills  # stored, and killed before it was said
    kept = [each.item for each in rows.items()]
    assert len(kept) == len(set(kept))
    assert items <= set(kept)
    assert all(rows.item_medium(name, "image") == b"file" for name in kept)
    assert len(kept) - len(items) <= 8 * kills
    rows.close()
