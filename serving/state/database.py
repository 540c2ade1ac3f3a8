"""`Database`: the connections to one SQLite state, safe to use from many threads.

Writes and reads have a connection each, so that a read does not wait for the disk behind a write. In memory
there is one connection. Other processes may have the same file open.
"""

import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from recsys.errors import StateError
from serving.state.layout import BUSY_TIMEOUT_S, IN_MEMORY, connect, connect_memory, connect_reader


class Database:
    """The state at `path`, made where there is none; ":memory:" keeps everything in memory.

    `copy_of` is a file that a state in memory starts from. Raises `DataError` where `path` is no state,
    `UnwritableStateError` where it cannot be written.
    """

    def __init__(self, path: Path | str, *, copy_of: Path | None = None) -> None:
        self.path = path
        self.is_durable = str(path) != IN_MEMORY
        self._writer = connect(Path(path)) if self.is_durable else connect_memory(copy_of)
        self._write_lock = threading.Lock()
        self._reader, self._read_lock = self._writer, self._write_lock
        if self.is_durable:
            self._reader, self._read_lock = connect_reader(Path(path)), threading.Lock()

    def read(self, query: str, *values: object) -> list[Any]:
        """The rows of a query; raises `StateError`."""
        with self._read_lock:
            try:
                return self._reader.execute(query, values).fetchall()
            except sqlite3.Error as error:
                raise StateError(f"{self.path}: the state cannot be read: {error}") from None

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection for reads, whose errors become `StateError`; all of them see the same rows."""
        with self._read_lock:
            try:
                self._reader.execute("BEGIN")
                yield self._reader
            except sqlite3.Error as error:
                raise StateError(f"{self.path}: the state cannot be read: {error}") from None
            finally:
                with suppress(sqlite3.Error):  # of a closed connection
                    self._reader.execute("ROLLBACK")

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Everything or nothing is written, on the disk when the block has ended; other processes wait."""
        with self._write_lock:
            try:
                self._writer.execute("BEGIN IMMEDIATE")
            except sqlite3.Error as error:
                raise StateError(f"{self.path}: the state cannot be written: {error}") from None
            try:
                yield self._writer
                self._writer.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):  # a full disk has ended the transaction already
                    self._writer.execute("ROLLBACK")
                raise

    def write_if_free(self, query: str, values: Iterable[object]) -> None:
        """One statement, skipped while another process writes."""
        with self._write_lock, suppress(sqlite3.OperationalError):
            self._writer.execute("PRAGMA busy_timeout = 0")
            try:
                self._writer.execute(query, tuple(values))
            finally:
                self._writer.execute(f"PRAGMA busy_timeout = {round(BUSY_TIMEOUT_S * 1000)}")

    def forget_removed(self) -> None:
        """Leave no bytes of removed rows in the write-ahead log.

        Raises `StateError` where another process reads for so long that they stay.
        """
        with self._write_lock:
            is_busy = self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        if is_busy:
            raise StateError(
                f"{self.path}: what was erased is gone from every answer, but its bytes stay in the "
                "write-ahead log, which another process is reading; repeat the erasure"
            )

    def close(self) -> None:
        with self._write_lock:
            self._writer.close()
        if self._reader is not self._writer:
            with self._read_lock:
                self._reader.close()
