"""`SqliteLiveRows`: the rows that came in over HTTP, in the SQLite state."""

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from serving.state.database import Database
from serving.state.item_rows import SqliteItemRows
from serving.state.protocol import MAX_LIVE_EVENTS, Appended, Impression, LiveEvent, LiveUser, hash_of

PAGE: Final = 1000  # rows that are in memory at once
_COLUMNS: Final = "event_id, user_id, item_id, timestamp, kind, value, review, request_id"  # of LiveEvent
_NOBODY: Final = LiveUser()


class SqliteLiveRows(SqliteItemRows):
    """The live rows of a database; a commit is on the disk when it returns (serving/state/layout.py)."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.is_durable = database.is_durable

    def append_events(self, events: Sequence[LiveEvent]) -> Appended:
        duplicates = []
        with self._database.transaction() as connection:
            for at, each in enumerate(events):
                row = connection.execute(
                    f"INSERT INTO events ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?) "
                    "ON CONFLICT (event_id) DO NOTHING",
                    each,
                )
                if not row.rowcount:
                    duplicates.append(at)
                    continue
                connection.execute("INSERT OR IGNORE INTO live_users (user_id) VALUES (?)", (each.user,))
        return Appended(accepted=len(events) - len(duplicates), duplicates=tuple(duplicates))

    def set_profile(self, user: str, profile: Mapping[str, Sequence[str]]) -> None:
        fields = json.dumps({name: list(values) for name, values in profile.items()})
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT INTO live_users VALUES (?1, ?2) ON CONFLICT (user_id) DO UPDATE SET profile = ?2",
                (user, fields),
            )

    def users(self, names: Sequence[str], *, newest: int = MAX_LIVE_EVENTS) -> list[LiveUser]:
        found: dict[str, LiveUser] = {}
        with self._database.reading() as connection:
            any_erased = connection.execute("SELECT EXISTS (SELECT 1 FROM erased)").fetchone()[0]
            for start in range(0, len(names), PAGE):
                page = list(names[start : start + PAGE])
                marks = ",".join("?" * len(page))
                query = f"SELECT user_id, profile FROM live_users WHERE user_id IN ({marks})"
                for user, profile in connection.execute(query, page).fetchall():
                    found[user] = _user(connection, user, profile, newest)
            if any_erased:
                return [_with_erasure(connection, name, found.get(name, _NOBODY)) for name in names]
        return [found.get(name, _NOBODY) for name in names]

    def user_ids(self) -> Iterator[str]:
        last = ""  # below every id
        while True:
            query = "SELECT user_id FROM live_users WHERE user_id > ? ORDER BY user_id LIMIT ?"
            page = [user for (user,) in self._database.read(query, last, PAGE)]
            yield from page
            if len(page) < PAGE:
                return
            last = page[-1]

    def num_users(self) -> int:
        return int(self._database.read("SELECT count(*) FROM live_users")[0][0])

    def append_impressions(self, impressions: Sequence[Impression]) -> None:
        rows = [(each.request_id, each.user, each.timestamp, each.listed()) for each in impressions]
        query = "INSERT INTO impressions (request_id, user_id, timestamp, listed) VALUES (?, ?, ?, ?)"
        with self._database.transaction() as connection:
            connection.executemany(query, rows)

    def events(self) -> Iterator[LiveEvent]:
        for _, *row in self._rows("events", _COLUMNS):
            yield LiveEvent._make(row)

    def impressions(self) -> Iterator[Impression]:
        columns = "request_id, user_id, timestamp, listed"
        for _, *row in self._rows("impressions", columns):
            yield Impression.of_stored(*row)

    def erase_user(self, user: str) -> bool:
        with self._database.transaction() as connection:
            removed = [
                connection.execute(f"DELETE FROM {table} WHERE user_id = ?", (user,)).rowcount
                for table in ("events", "live_users", "impressions")
            ]
            connection.execute("INSERT OR IGNORE INTO erased VALUES (?)", (hash_of(user),))
        self._database.forget_removed()
        return any(removed)

    def erased(self) -> frozenset[str]:
        return frozenset(value for (value,) in self._database.read("SELECT user_hash FROM erased"))

    def is_empty(self) -> bool:
        tables = ("live_users", "impressions", "erased", "live_items")
        query = " OR ".join(f"EXISTS (SELECT 1 FROM {table})" for table in tables)
        return not self._database.read(f"SELECT {query}")[0][0]

    def close(self) -> None:
        self._database.close()

    def _rows(self, table: str, columns: str) -> Iterator[tuple[Any, ...]]:
        """All rows of a table in the order of arrival, a page in memory."""
        last = 0
        while True:
            query = f"SELECT seq, {columns} FROM {table} WHERE seq > ? ORDER BY seq LIMIT ?"
            page = self._database.read(query, last, PAGE)
            yield from page
            if len(page) < PAGE:
                return
            last = page[-1][0]


def _user(connection: sqlite3.Connection, user: str, profile: str | None, newest: int) -> LiveUser:
    query = f"SELECT {_COLUMNS} FROM events WHERE user_id = ? ORDER BY timestamp DESC, seq DESC LIMIT ?"
    rows = connection.execute(query, (user, newest)).fetchall()
    events = tuple(map(LiveEvent._make, reversed(rows)))
    seen = frozenset(each.item for each in events)
    if len(events) == newest:
        query = "SELECT DISTINCT item_id FROM events WHERE user_id = ?"
        seen = frozenset(item for (item,) in connection.execute(query, (user,)))
    fields = (
        None if profile is None else {name: tuple(values) for name, values in json.loads(profile).items()}
    )
    return LiveUser(events=events, seen=seen, profile=fields)


def _with_erasure(connection: sqlite3.Connection, name: str, user: LiveUser) -> LiveUser:
    query = "SELECT EXISTS (SELECT 1 FROM erased WHERE user_hash = ?)"
    if not connection.execute(query, (hash_of(name),)).fetchone()[0]:
        return user
    return LiveUser(events=user.events, seen=user.seen, profile=user.profile, is_erased=True)
