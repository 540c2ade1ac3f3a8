"""`RedisItemRows`: the rows of live items, in a Redis that several servers share.

Keys, with the prefix of `redis_rows`:
    items           item id -> the row as a JSON list, its content in base64
    item_order      item ids by the number of their first change
    item_versions   item ids by the number of their last change
    item_version    number of the last change of any item
    media:ITEM      name -> file of the item, in base64
"""

import json
from abc import ABC, abstractmethod
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final

from serving.state.protocol import LiveItem

PAGE: Final = 200  # rows that are in memory at once
# ARGV: prefix, then id, row and number of files of each item, -1 to keep the former ones; then name and
# content of each file. Returns the last version.
_PUT: Final = """
local p, at = ARGV[1], 2
while at <= #ARGV do
  local id, files = ARGV[at], tonumber(ARGV[at + 2])
  local version = redis.call('INCR', p .. 'item_version')
  redis.call('HSET', p .. 'items', id, ARGV[at + 1])
  redis.call('ZADD', p .. 'item_order', 'NX', version, id)
  redis.call('ZADD', p .. 'item_versions', version, id)
  at = at + 3
  if files >= 0 then
    redis.call('DEL', p .. 'media:' .. id)
    for _ = 1, files do
      redis.call('HSET', p .. 'media:' .. id, ARGV[at], ARGV[at + 1])
      at = at + 2
    end
  end
end
return tonumber(redis.call('GET', p .. 'item_version') or 0)
"""


class RedisItemRows(ABC):
    """The part of `LiveRows` about items; `_answers` turns errors of the Redis into `StateError`."""

    _redis: Any
    _prefix: str

    @abstractmethod
    def _answers(self, done: str) -> AbstractContextManager[None]: ...

    def put_items(
        self, items: Sequence[LiveItem], media: Mapping[str, Mapping[str, bytes]] | None = None
    ) -> int:
        given: list[Any] = []
        for each in items:
            files = {} if each.is_deleted else (media or {}).get(each.item)
            row = json.dumps([dict(each.fields), b64encode(each.content).decode(), each.is_deleted])
            given += [each.item, row, -1 if files is None else len(files)]
            for name, content in (files or {}).items():
                given += [name, b64encode(content).decode()]
        with self._answers("written"):
            return int(self._redis.eval(_PUT, 0, self._prefix, *given))

    def items(self, after: int = 0) -> Iterator[LiveItem]:
        with self._answers("read"):
            changed = self._redis.zrangebyscore(
                self._prefix + "item_versions", f"({after}", "+inf", withscores=True
            )
        version_of = {name: int(version) for name, version in changed}
        with self._answers("read"):
            first = self._redis.zmscore(self._prefix + "item_order", list(version_of)) if version_of else []
        names = [name for _, name in sorted(zip(first, version_of, strict=True))]
        for start in range(0, len(names), PAGE):
            page = names[start : start + PAGE]
            with self._answers("read"):
                rows = self._redis.hmget(self._prefix + "items", page)
            for name, row in zip(page, rows, strict=True):
                fields, content, is_deleted = json.loads(row)
                yield LiveItem(
                    item=name,
                    fields=fields,
                    content=b64decode(content),
                    is_deleted=is_deleted,
                    version=version_of[name],
                )

    def items_version(self) -> int:
        with self._answers("read"):
            return int(self._redis.get(self._prefix + "item_version") or 0)

    def item_medium(self, item: str, name: str) -> bytes | None:
        with self._answers("read"):
            found = self._redis.hget(f"{self._prefix}media:{item}", name)
        return None if found is None else b64decode(found)
