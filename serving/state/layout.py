"""The SQLite file of the state: its tables, and functions that open it.

Rows by external ids, which no bundle owns:
    events       one row for each event that came in over HTTP, in the order in which they came
    live_users   one row for each user with an event or fields of their own, which are JSON
    impressions  one row for each answered request; what it listed is JSON
    erased       hashes of the users who were erased
    live_items   one row for each item that came in, was changed or removed; its fields are JSON
    item_media   one row for each file of a live item

Histories of training, imported for one bundle's id maps:
    maps         one row for each set of id maps: its fingerprint, the imported file, the last use
    histories    one row for each user and set of id maps; item ids in a history are those of the maps

A history belongs to the row of `maps` with its `maps_id`. Unknown tables are left alone, so that a later
recsys may add some without a new layout.

A commit is on the disk when it returns: the log is written ahead (WAL) and synced with every commit
(synchronous = FULL), so that neither `kill -9` nor a loss of power loses a row that was acknowledged.
"""

import logging
import sqlite3
from pathlib import Path
from typing import Final

from recsys.errors import DataError

IN_MEMORY: Final = ":memory:"
BUSY_TIMEOUT_S: Final = 30.0  # how long a write waits for another process
_APPLICATION_ID: Final = 0x72656373  # "recs" in the header of the file
_LAYOUT: Final = 3  # raised with every change of the tables or of the bytes of a history
_FORMER_TABLES: Final = {"meta", "users", "erased"}  # layout 1, which had no number
_TABLES: Final = (
    """CREATE TABLE IF NOT EXISTS maps (
        id INTEGER PRIMARY KEY AUTOINCREMENT, fingerprint TEXT NOT NULL UNIQUE, source TEXT,
        used_at REAL NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS histories (
        maps_id INTEGER NOT NULL, user_id TEXT NOT NULL, history BLOB NOT NULL,
        PRIMARY KEY (maps_id, user_id)) WITHOUT ROWID""",
    "CREATE TABLE IF NOT EXISTS erased (user_hash TEXT PRIMARY KEY) WITHOUT ROWID",
    """CREATE TABLE IF NOT EXISTS events (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, event_id TEXT NOT NULL UNIQUE, user_id TEXT NOT NULL,
        item_id TEXT NOT NULL, kind TEXT, value REAL, timestamp INTEGER NOT NULL, review TEXT,
        request_id TEXT)""",
    "CREATE INDEX IF NOT EXISTS events_of_user ON events (user_id, timestamp, seq)",
    """CREATE TABLE IF NOT EXISTS live_users (
        user_id TEXT PRIMARY KEY, profile TEXT) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS impressions (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, request_id TEXT NOT NULL, user_id TEXT,
        timestamp INTEGER NOT NULL, listed TEXT NOT NULL)""",
    "CREATE INDEX IF NOT EXISTS impressions_of_user ON impressions (user_id)",
    """CREATE TABLE IF NOT EXISTS live_items (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, item_id TEXT NOT NULL UNIQUE, version INTEGER NOT NULL,
        fields TEXT NOT NULL, content BLOB NOT NULL, is_deleted INTEGER NOT NULL)""",
    "CREATE INDEX IF NOT EXISTS live_items_by_version ON live_items (version)",
    """CREATE TABLE IF NOT EXISTS item_media (
        item_id TEXT NOT NULL, name TEXT NOT NULL, content BLOB NOT NULL,
        PRIMARY KEY (item_id, name))""",
)
_UNWRITABLE: Final = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM)
log = logging.getLogger(__name__)


class UnwritableStateError(DataError):
    """The state's file, or its folder, cannot be written."""


def connect(path: Path) -> sqlite3.Connection:
    """The database at `path`, made where there is none, ready for reads and writes.

    Raises `UnwritableStateError`, and `DataError` where the file is no state or one of a newer recsys.
    """
    connection = None
    try:
        connection = _opened(path)
        _check_layout(connection, path)  # before anything is written to a file that may be another's
        if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
            connection.execute("PRAGMA journal_mode = WAL")
        _prepare(connection, path)
    except sqlite3.Error as error:
        if connection is not None:
            connection.close()
        raise _explained(path, error) from None
    except DataError:
        assert connection is not None
        connection.close()
        raise
    return connection


def connect_memory(copy_of: Path | None = None) -> sqlite3.Connection:
    """A database in memory with the content of the file `copy_of`, which is not written.

    Raises `DataError` where the file cannot be read without being written.
    """
    connection = _opened(IN_MEMORY)
    if copy_of is not None and copy_of.exists():
        log_file = copy_of.with_name(f"{copy_of.name}-wal")
        if log_file.exists() and log_file.stat().st_size:
            raise DataError(
                f"{copy_of} cannot be written, and {log_file.name} beside it holds changes that a killed "
                "process left behind; open the state once where it can be written, or name another one "
                "with --state"
            )
        try:
            source = sqlite3.connect(f"{copy_of.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
            source.backup(connection)
            source.close()
        except sqlite3.Error as error:
            raise _explained(copy_of, error) from None
    _prepare(connection, copy_of or Path(IN_MEMORY))
    return connection


def _opened(path: Path | str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA secure_delete = ON")  # what is erased leaves no bytes in the file
    connection.execute("PRAGMA synchronous = FULL")  # a commit is on the disk when it returns
    return connection


def connect_reader(path: Path) -> sqlite3.Connection:
    """One more connection to the database that `connect` opened, for reads alone."""
    connection = _opened(path)
    connection.execute("PRAGMA query_only = ON")
    return connection


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Make the tables, in one transaction: two processes may open a new file at the same time."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        _check_layout(connection, path)
        _drop_former_tables(connection, path)
        for table in _TABLES:
            connection.execute(table)
        connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {_LAYOUT}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def _drop_former_tables(connection: sqlite3.Connection, path: Path) -> None:
    """Histories of layout 1 did not say for which maps they were written, so they are imported again."""
    if _tables(connection) == _FORMER_TABLES:
        connection.execute("DROP TABLE users")
        connection.execute("DROP TABLE meta")
        log.warning(
            "%s: the state had the layout of an older recsys and was made anew: erasures are kept, and each "
            "bundle's histories are imported again from its file of histories",
            path,
        )


def _tables(connection: sqlite3.Connection) -> set[str]:
    return {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def _check_layout(connection: sqlite3.Connection, path: Path) -> None:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (layout,) = connection.execute("PRAGMA user_version").fetchone()
    tables = _tables(connection)
    if application == _APPLICATION_ID:
        if layout > _LAYOUT:
            raise DataError(
                f"{path}: the state has layout {layout}, this recsys reads up to {_LAYOUT}; upgrade recsys, "
                "or name another state with --state"
            )
    elif tables and tables != _FORMER_TABLES:
        raise DataError(
            f"{path} is a database of something else (tables {', '.join(sorted(tables))}); name another file "
            "with --state"
        )


def _explained(path: Path, error: sqlite3.Error) -> DataError:
    if isinstance(error, sqlite3.OperationalError):
        if error.sqlite_errorcode & 0xFF in _UNWRITABLE:  # the low byte is the kind of error
            return UnwritableStateError(
                f"{path}: the state's database cannot be written: {error}; name a writable file with "
                f"--state, or --state {IN_MEMORY}"
            )
        if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return DataError(f"{path}: the state's database is locked by another process; try again later")
    return DataError(f"{path}: cannot be used as the state's database: {error}")
