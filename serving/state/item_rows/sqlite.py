"""`SqliteItemRows`: the rows of live items, in the SQLite state."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from serving.state.database import Database
from serving.state.protocol import LiveItem

PAGE: Final = 200  # rows that are in memory at once; one has some kilobytes of vectors


class SqliteItemRows:
    """The part of `LiveRows` about items; a commit is on the disk when it returns."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put_items(
        self, items: Sequence[LiveItem], media: Mapping[str, Mapping[str, bytes]] | None = None
    ) -> int:
        with self._database.transaction() as connection:
            (last,) = connection.execute("SELECT coalesce(max(version), 0) FROM live_items").fetchone()
            for version, each in enumerate(items, last + 1):
                connection.execute(
                    "INSERT INTO live_items (item_id, version, fields, content, is_deleted) "
                    "VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (item_id) DO UPDATE SET "
                    "version = ?2, fields = ?3, content = ?4, is_deleted = ?5",
                    (each.item, version, json.dumps(dict(each.fields)), each.content, each.is_deleted),
                )
                files = {} if each.is_deleted else (media or {}).get(each.item)
                if files is not None:
                    connection.execute("DELETE FROM item_media WHERE item_id = ?", (each.item,))
                    rows = [(each.item, name, content) for name, content in files.items()]
                    connection.executemany("INSERT INTO item_media VALUES (?, ?, ?)", rows)
        return int(last) + len(items)

    def items(self, after: int = 0) -> Iterator[LiveItem]:
        last = 0
        while True:
            query = (
                "SELECT seq, item_id, fields, content, is_deleted, version FROM live_items "
                "WHERE seq > ? AND version > ? ORDER BY seq LIMIT ?"
            )
            page = self._database.read(query, last, after, PAGE)
            for _, item, fields, content, is_deleted, version in page:
                yield LiveItem(
                    item=item,
                    fields=json.loads(fields),
                    content=content,
                    is_deleted=bool(is_deleted),
                    version=version,
                )
            if len(page) < PAGE:
                return
            last = page[-1][0]

    def items_version(self) -> int:
        return int(self._database.read("SELECT coalesce(max(version), 0) FROM live_items")[0][0])

    def item_medium(self, item: str, name: str) -> bytes | None:
        query = "SELECT content FROM item_media WHERE item_id = ? AND name = ?"
        rows = self._database.read(query, item, name)
        return bytes(rows[0][0]) if rows else None
