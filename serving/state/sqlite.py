"""`SqliteState`: users' histories in one SQLite file, which several bundles may share."""

import hashlib
import logging
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from recsys.checksums import sha256_of
from recsys.errors import DataError, StateError
from recsys.history import History
from serving.state.codec import decode, encode
from serving.state.layout import BUSY_TIMEOUT_S, IN_MEMORY, connect, connect_memory
from serving.state.protocol import ReadHistories

PAGE: Final = 1000  # users whose ids, or histories, are in memory at once
KEPT_MAPS: Final = (
    4  # sets of id maps whose histories are kept, those last used; a retrained model has a new one
)
SECONDS_BETWEEN_USES: Final = 60.0  # how often a read notes that its maps are in use
log = logging.getLogger(__name__)


class SqliteState:
    """Histories written in the ids of the maps with the fingerprint `maps`; others are invisible.

    `path` is the database, made where there is none; ":memory:" keeps everything in memory. `copy_of` is a
    file that a state in memory starts from. `kept_maps` is how many sets of id maps keep their histories:
    with a new one, the histories of those longest unused are removed, and the log says so. Raises
    `DataError` where `path` is no state, `UnwritableStateError` where it cannot be written.
    """

    def __init__(
        self, path: Path | str, *, maps: str, copy_of: Path | None = None, kept_maps: int = KEPT_MAPS
    ) -> None:
        self._path, self._maps, self._kept_maps = path, maps, kept_maps
        self._lock = threading.Lock()  # one connection serves all threads
        self.is_durable = str(path) != IN_MEMORY
        self._db = connect(Path(path)) if self.is_durable else connect_memory(copy_of)
        self._used_at = 0.0
        try:
            with self._transaction():
                self._register()
        except BaseException:
            self._db.close()
            raise

    def import_histories(self, source: Path, read: ReadHistories) -> int:
        """Store every user of `source` who was not erased, in place of those imported before for these maps.

        Returns the number of users. The same file, by content, is imported once. Raises `DataError` where
        `source` is missing, and whatever `read` raises; after any error the state is as it was.
        """
        if not source.is_file():
            raise DataError(f"no histories at {source}")
        fingerprint = sha256_of(source)
        try:
            with self._transaction():
                maps_id, imported = self._register()
                if imported != fingerprint:
                    if imported is not None:
                        log.info(
                            "%s: histories of this bundle's items are replaced by %s", self._path, source
                        )
                    self._db.execute("DELETE FROM histories WHERE maps_id = ?", (maps_id,))
                    rows = ((maps_id, *row) for row in self._rows(read(source)))
                    self._db.executemany("INSERT INTO histories VALUES (?, ?, ?)", rows)
                    self._db.execute("UPDATE maps SET source = ? WHERE id = ?", (fingerprint, maps_id))
        except sqlite3.IntegrityError:
            raise DataError(f"{source}: a user has two rows; export the histories again") from None
        return self.num_users()

    @property
    def has_histories(self) -> bool:
        """Whether a file of histories was imported for these maps."""
        return self._query("SELECT source FROM maps WHERE fingerprint = ?1")[0][0] is not None

    def histories(self, user_ids: Sequence[str]) -> list[History | None]:
        found: dict[str, bytes] = {}
        for start in range(0, len(user_ids), PAGE):
            page = user_ids[start : start + PAGE]
            marks = ",".join(f"?{at}" for at in range(2, len(page) + 2))
            rows = self._query(
                "SELECT user_id, history FROM maps LEFT JOIN histories "
                f"ON maps_id = id AND user_id IN ({marks}) WHERE fingerprint = ?1",
                *page,
            )
            found.update(rows)
        self._note_use()
        return [decode(found[user]) if user in found else None for user in user_ids]

    def user_ids(self) -> Iterator[str]:
        last = ""  # below every id
        while True:
            rows = self._query(
                "SELECT user_id FROM maps LEFT JOIN histories ON maps_id = id AND user_id > ?2 "
                "WHERE fingerprint = ?1 ORDER BY user_id LIMIT ?3",
                last,
                PAGE,
            )
            page = [user for (user,) in rows if user is not None]
            yield from page
            if len(page) < PAGE:
                return
            last = page[-1]

    def num_users(self) -> int:
        rows = self._query(
            "SELECT (SELECT count(*) FROM histories WHERE maps_id = id) FROM maps WHERE fingerprint = ?1"
        )
        return int(rows[0][0])

    def delete_user(self, user_id: str) -> bool:
        with self._transaction():
            query = "DELETE FROM histories WHERE maps_id IN (SELECT id FROM maps) AND user_id = ?"
            was_known = self._db.execute(query, (user_id,)).rowcount > 0
            self._db.execute("INSERT OR IGNORE INTO erased VALUES (?)", (_hash(user_id),))
        with self._lock:
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # the log must not keep the row either
        return was_known

    def is_empty(self) -> bool:
        """Whether the database holds nothing at all, of any bundle."""
        query = "SELECT EXISTS (SELECT 1 FROM histories) OR EXISTS (SELECT 1 FROM erased)"
        with self._lock:
            return not self._db.execute(query).fetchone()[0]

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def _query(self, query: str, *values: object) -> list[Any]:
        """Rows of a query that begins from this object's row of `maps`, its fingerprint being ?1.

        Such a query finds at least one row. None means that the histories of the maps were removed.
        """
        try:
            with self._lock:
                rows = self._db.execute(query, (self._maps, *values)).fetchall()
        except sqlite3.Error as error:
            raise StateError(f"{self._path}: the state cannot be read: {error}") from None
        if not rows:
            raise StateError(
                f"{self._path}: the histories of this bundle were removed, since {self._kept_maps} other "
                "bundles were opened after it was last used; start this process again"
            )
        return rows

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Everything or nothing; other processes wait."""
        with self._lock:
            try:
                self._db.execute("BEGIN IMMEDIATE")
            except sqlite3.Error as error:
                raise StateError(f"{self._path}: the state cannot be written: {error}") from None
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                self._db.execute("ROLLBACK")
                raise

    def _register(self) -> tuple[int, str | None]:
        """Id of this object's row of `maps`, made where there is none, and the hash of the imported file."""
        self._db.execute(
            "INSERT INTO maps (fingerprint, used_at) VALUES (?1, ?2) "
            "ON CONFLICT (fingerprint) DO UPDATE SET used_at = ?2",
            (self._maps, time.time()),
        )
        row = self._db.execute("SELECT id, source FROM maps WHERE fingerprint = ?", (self._maps,)).fetchone()
        self._remove_unused()
        return row[0], row[1]

    def _remove_unused(self) -> None:
        query = "SELECT id, fingerprint FROM maps WHERE fingerprint != ? ORDER BY used_at DESC, id DESC"
        for maps_id, fingerprint in self._db.execute(query, (self._maps,)).fetchall()[self._kept_maps - 1 :]:
            self._db.execute("DELETE FROM histories WHERE maps_id = ?", (maps_id,))
            self._db.execute("DELETE FROM maps WHERE id = ?", (maps_id,))
            log.warning(
                "%s: removed the histories of the bundle with maps %s…, the longest unused of more than %d",
                self._path,
                fingerprint[:12],
                self._kept_maps,
            )

    def _note_use(self) -> None:
        """Record for other processes that these maps are in use; skipped while another process writes."""
        if time.monotonic() - self._used_at < SECONDS_BETWEEN_USES:
            return
        self._used_at = time.monotonic()
        with self._lock, suppress(sqlite3.OperationalError):  # noted with a later read
            self._db.execute("PRAGMA busy_timeout = 0")
            try:
                self._db.execute(
                    "UPDATE maps SET used_at = ? WHERE fingerprint = ?", (time.time(), self._maps)
                )
            finally:
                self._db.execute(f"PRAGMA busy_timeout = {round(BUSY_TIMEOUT_S * 1000)}")

    def _rows(self, histories: Iterable[tuple[str, History]]) -> Iterator[tuple[str, bytes]]:
        erased = {value for (value,) in self._db.execute("SELECT user_hash FROM erased")}
        for user_id, history in histories:
            if not erased or _hash(user_id) not in erased:
                yield user_id, encode(history)


def _hash(user_id: str) -> str:
    # An erased user's id itself would be what they asked to be rid of.
    return hashlib.sha256(user_id.encode()).hexdigest()
