"""Users' histories behind one protocol; the embedded default is an SQLite database beside the bundle."""

import hashlib
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from recsys.checksums import sha256_of
from recsys.errors import DataError
from recsys.history import History
from serving.state.codec import decode, encode

Reader = Callable[[Path], Iterable[tuple[str, History]]]  # users and their histories out of a file
PAGE = 1000  # users whose ids, or histories, stand in memory at once
_TABLES = """
    CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS users (user_id TEXT PRIMARY KEY, history BLOB NOT NULL);
    CREATE TABLE IF NOT EXISTS erased (user_hash TEXT PRIMARY KEY) WITHOUT ROWID;
"""


class State(Protocol):
    """What the engine asks of its state; safe to call from many threads."""

    def histories(self, user_ids: Sequence[str]) -> list[History | None]:
        """The history of each user, None for one that is not known."""
        ...

    def user_ids(self) -> Iterator[str]:
        """Every known user, ascending."""
        ...

    def num_users(self) -> int: ...

    def delete_user(self, user_id: str) -> bool:
        """Erase a user for good: no later import brings them back. True where there was something."""
        ...

    def close(self) -> None: ...


class SqliteState:
    """Histories in one SQLite file, written in the ids of one bundle's maps."""

    def __init__(self, path: Path | str, *, maps: str) -> None:
        """Open or make the database at `path` (":memory:" keeps it in memory).

        `maps` is the fingerprint of the id maps that histories are written in. Raises `DataError` where
        `path` is no database or cannot be written.
        """
        self._path, self._maps = path, maps
        self._lock = threading.Lock()  # one connection serves all threads
        try:
            self._db = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA secure_delete = ON")  # what is erased leaves no bytes in the file
            self._db.executescript(_TABLES)
        except sqlite3.Error as error:
            raise DataError(f"{path}: cannot be used as the state's database: {error}") from None

    def import_histories(self, source: Path, read: Reader) -> int:
        """Take over every user of `source` who was not erased, in place of those imported before.

        Returns how many users there are now. The same file, by content, is imported once. Raises
        `DataError` where `source` is missing; after that and after any error of `read` the state stays
        as it was.
        """
        if not source.is_file():
            raise DataError(f"no histories at {source}")
        fingerprint = f"{sha256_of(source)} {self._maps}"
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                if self._meta("fingerprint") != fingerprint:
                    self._db.execute("DELETE FROM users")
                    self._db.executemany("INSERT INTO users VALUES (?, ?)", self._rows(read(source)))
                    settings = [("fingerprint", fingerprint), ("maps", self._maps)]
                    self._db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", settings)
                self._db.execute("COMMIT")
            except sqlite3.IntegrityError:
                self._db.execute("ROLLBACK")
                raise DataError(f"{source}: a user stands twice; export the histories again") from None
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
        return self.num_users()

    def check(self) -> None:
        """Raise `DataError` where the histories were imported for another catalogue."""
        with self._lock:
            imported_for = self._meta("maps")
        if imported_for not in (None, self._maps):
            raise DataError(
                f"{self._path}: its histories were imported for another bundle's items; "
                "name the histories that belong to this one"
            )

    def histories(self, user_ids: Sequence[str]) -> list[History | None]:
        found: dict[str, bytes] = {}
        for start in range(0, len(user_ids), PAGE):
            page = list(user_ids[start : start + PAGE])
            marks = ",".join("?" * len(page))
            query = f"SELECT user_id, history FROM users WHERE user_id IN ({marks})"
            with self._lock:
                found.update(self._db.execute(query, page))
        return [decode(found[user]) if user in found else None for user in user_ids]

    def user_ids(self) -> Iterator[str]:
        last = None
        while True:
            query = "SELECT user_id FROM users WHERE ?1 IS NULL OR user_id > ?1 ORDER BY user_id LIMIT ?2"
            with self._lock:
                page = [user for (user,) in self._db.execute(query, (last, PAGE))]
            yield from page
            if len(page) < PAGE:
                return
            last = page[-1]

    def num_users(self) -> int:
        with self._lock:
            (count,) = self._db.execute("SELECT count(*) FROM users").fetchone()
        return int(count)

    def delete_user(self, user_id: str) -> bool:
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            gone = self._db.execute("DELETE FROM users WHERE user_id = ?", (user_id,)).rowcount > 0
            self._db.execute("INSERT OR IGNORE INTO erased VALUES (?)", (_hash(user_id),))
            self._db.execute("COMMIT")
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # the log must not keep the row either
        return gone

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def _rows(self, histories: Iterable[tuple[str, History]]) -> Iterable[tuple[str, bytes]]:
        erased = {value for (value,) in self._db.execute("SELECT user_hash FROM erased")}
        for user_id, history in histories:
            if not erased or _hash(user_id) not in erased:
                yield user_id, encode(history)

    def _meta(self, key: str) -> str | None:
        row = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])


def _hash(user_id: str) -> str:
    # An erased user's id itself would be what they asked to be rid of.
    return hashlib.sha256(user_id.encode()).hexdigest()
