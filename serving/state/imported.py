"""`ImportedHistories`: the histories of training, from a file of histories, for one bundle's id maps.

Several bundles may share the database. A new bundle imports its own file; nothing else is in this table, so
that nothing is lost where its rows are removed.
"""

import logging
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from recsys.checksums import sha256_of
from recsys.errors import DataError, StateError
from recsys.history import History
from serving.state.codec import decode, encode
from serving.state.database import Database
from serving.state.protocol import ReadHistories, hash_of

PAGE: Final = 1000  # users whose ids, or histories, are in memory at once
KEPT_MAPS: Final = (
    4  # sets of id maps whose histories are kept, those last used; a retrained model has a new one
)
SECONDS_BETWEEN_USES: Final = 60.0  # how often a read notes that its maps are in use
log = logging.getLogger(__name__)


class ImportedHistories:
    """Histories written in the ids of the maps with the fingerprint `maps`; others are invisible.

    `kept_maps` is how many sets of id maps keep their histories: with a new one, the histories of those
    longest unused are removed, and the log says so.
    """

    def __init__(self, database: Database, *, maps: str, kept_maps: int = KEPT_MAPS) -> None:
        self._database, self._maps, self._kept_maps = database, maps, kept_maps
        self._used_at = 0.0
        with database.transaction() as connection:
            self._register(connection)

    def import_histories(self, source: Path, read: ReadHistories) -> int:
        """Store every user of `source` who was not erased, in place of those imported before for these maps.

        Returns the number of users. The same file, by content, is imported once. Raises `DataError` where
        `source` is missing, and whatever `read` raises; after any error the state is as it was.
        """
        if not source.is_file():
            raise DataError(f"no histories at {source}")
        fingerprint = sha256_of(source)
        try:
            with self._database.transaction() as connection:
                maps_id, imported = self._register(connection)
                if imported != fingerprint:
                    if imported is not None:
                        log.info(
                            "%s: histories of this bundle's items are replaced by %s",
                            self._database.path,
                            source,
                        )
                    connection.execute("DELETE FROM histories WHERE maps_id = ?", (maps_id,))
                    erased = {value for (value,) in connection.execute("SELECT user_hash FROM erased")}
                    rows = ((maps_id, *row) for row in _rows(read(source), erased))
                    connection.executemany("INSERT INTO histories VALUES (?, ?, ?)", rows)
                    connection.execute("UPDATE maps SET source = ? WHERE id = ?", (fingerprint, maps_id))
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

    def count_known(self, user_ids: Sequence[str]) -> int:
        """How many of at most `PAGE` users have a history."""
        marks = ",".join(f"?{at}" for at in range(2, len(user_ids) + 2))
        rows = self._query(
            "SELECT (SELECT count(*) FROM histories WHERE maps_id = id "
            f"AND user_id IN ({marks})) FROM maps WHERE fingerprint = ?1",
            *user_ids,
        )
        return int(rows[0][0])

    def delete_user(self, user_id: str) -> bool:
        """Erase a user from the histories of all bundles; returns whether there was a history."""
        with self._database.transaction() as connection:
            query = "DELETE FROM histories WHERE maps_id IN (SELECT id FROM maps) AND user_id = ?"
            was_known = connection.execute(query, (user_id,)).rowcount > 0
            connection.execute("INSERT OR IGNORE INTO erased VALUES (?)", (hash_of(user_id),))
        self._database.forget_removed()
        return was_known

    def remove_erased(self, hashes: frozenset[str]) -> None:
        """Erase the users with these hashes, whom another database remembers."""
        with self._database.transaction() as connection:
            known = {value for (value,) in connection.execute("SELECT user_hash FROM erased")}
            new = hashes - known
            if not new:
                return
            for (user,) in connection.execute("SELECT DISTINCT user_id FROM histories").fetchall():
                if hash_of(user) in new:
                    connection.execute("DELETE FROM histories WHERE user_id = ?", (user,))
            connection.executemany("INSERT INTO erased VALUES (?)", ((value,) for value in new))
        self._database.forget_removed()

    def is_empty(self) -> bool:
        """Whether no bundle has a history."""
        return not self._database.read("SELECT EXISTS (SELECT 1 FROM histories)")[0][0]

    def _query(self, query: str, *values: object) -> list[Any]:
        """Rows of a query that begins from this object's row of `maps`, its fingerprint being ?1.

        Such a query finds at least one row. None means that the histories of the maps were removed.
        """
        rows = self._database.read(query, self._maps, *values)
        if not rows:
            raise StateError(
                f"{self._database.path}: the histories of this bundle were removed, since {self._kept_maps} "
                "other bundles were opened after it was last used; start this process again"
            )
        return rows

    def _register(self, connection: sqlite3.Connection) -> tuple[int, str | None]:
        """Id of this object's row of `maps`, made where there is none, and the hash of the imported file."""
        connection.execute(
            "INSERT INTO maps (fingerprint, used_at) VALUES (?1, ?2) "
            "ON CONFLICT (fingerprint) DO UPDATE SET used_at = ?2",
            (self._maps, time.time()),
        )
        row = connection.execute(
            "SELECT id, source FROM maps WHERE fingerprint = ?", (self._maps,)
        ).fetchone()
        self._remove_unused(connection)
        return row[0], row[1]

    def _remove_unused(self, connection: sqlite3.Connection) -> None:
        query = "SELECT id, fingerprint FROM maps WHERE fingerprint != ? ORDER BY used_at DESC, id DESC"
        for maps_id, fingerprint in connection.execute(query, (self._maps,)).fetchall()[
            self._kept_maps - 1 :
        ]:
            connection.execute("DELETE FROM histories WHERE maps_id = ?", (maps_id,))
            connection.execute("DELETE FROM maps WHERE id = ?", (maps_id,))
            log.warning(
                "%s: removed the histories of the bundle with maps %s…, the longest unused of more than %d",
                self._database.path,
                fingerprint[:12],
                self._kept_maps,
            )

    def _note_use(self) -> None:
        """Record for other processes that these maps are in use."""
        if time.monotonic() - self._used_at < SECONDS_BETWEEN_USES:
            return
        self._used_at = time.monotonic()
        self._database.write_if_free(
            "UPDATE maps SET used_at = ? WHERE fingerprint = ?", (time.time(), self._maps)
        )


def _rows(histories: Iterable[tuple[str, History]], erased: set[str]) -> Iterator[tuple[str, bytes]]:
    for user_id, history in histories:
        if not erased or hash_of(user_id) not in erased:
            yield user_id, encode(history)
