"""`RedisLiveRows`: the rows that came in over HTTP, in a Redis that several servers share.

Keys, all with the prefix `{recsys}:`, whose braces keep them on one node of a cluster:
    layout                  number of this layout
    seq                     number of the last event or impression
    events                  event id -> the event as a JSON list
    order                   event ids by number, the order of arrival
    user:USER               number and id of the user's events, by time
    seen:USER               the user's items
    users                   every user with an event or fields, by id
    profiles                user -> fields as JSON
    impressions, listed     number -> impression as JSON; the numbers in order
    shown:USER              numbers of the user's impressions
    erased                  hashes of the users who were erased
and those of the items (`item_rows/redis.py`).

Events are appended, and users erased, by a script each, which Redis runs as a whole or not at all. A row is
as durable as the Redis: with `appendonly yes` and `appendfsync always` it is on the disk when it is
acknowledged.
"""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import urlsplit

from recsys.errors import DataError, MissingExtraError, StateError
from serving.state.item_rows import RedisItemRows
from serving.state.protocol import MAX_LIVE_EVENTS, Appended, Impression, LiveEvent, LiveUser, hash_of

try:
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry
except ImportError:
    raise MissingExtraError("redis", "serve") from None

PREFIX: Final = "{recsys}:"
PAGE: Final = 1000  # rows that are in memory at once
TIMEOUT_S: Final = 1.0  # of one answer of the Redis
SECONDS_BETWEEN_ATTEMPTS: Final = 1.0  # after an attempt that failed; until then every call fails at once
_LAYOUT: Final = 1
_DIGITS: Final = 16  # of an event's number before its id, so that equal times are in the order of arrival
# ARGV: prefix, then id, user, item, time and JSON of each event. Returns the positions of known ids.
_APPEND: Final = """
local p, known = ARGV[1], {}
for at = 2, #ARGV, 5 do
  local id, user = ARGV[at], ARGV[at + 1]
  if redis.call('HSETNX', p .. 'events', id, ARGV[at + 4]) == 1 then
    local seq = redis.call('INCR', p .. 'seq')
    redis.call('ZADD', p .. 'order', seq, id)
    redis.call('ZADD', p .. 'user:' .. user, ARGV[at + 3], string.format('%016d', seq) .. ':' .. id)
    redis.call('SADD', p .. 'seen:' .. user, ARGV[at + 2])
    redis.call('ZADD', p .. 'users', 0, user)
  else
    table.insert(known, (at - 2) / 5)
  end
end
return known
"""
# ARGV: prefix, then user ("" for none) and JSON of each impression.
_SHOW: Final = """
local p = ARGV[1]
for at = 2, #ARGV, 2 do
  local seq = redis.call('INCR', p .. 'seq')
  redis.call('HSET', p .. 'impressions', seq, ARGV[at + 1])
  redis.call('ZADD', p .. 'listed', seq, seq)
  if ARGV[at] ~= '' then redis.call('SADD', p .. 'shown:' .. ARGV[at], seq) end
end
"""
# ARGV: prefix, user, hash of the user. Returns whether there was a row.
_ERASE: Final = """
local p, user, removed = ARGV[1], ARGV[2], 0
for _, member in ipairs(redis.call('ZRANGE', p .. 'user:' .. user, 0, -1)) do
  local id = string.sub(member, 18)
  redis.call('HDEL', p .. 'events', id)
  redis.call('ZREM', p .. 'order', id)
  removed = 1
end
for _, seq in ipairs(redis.call('SMEMBERS', p .. 'shown:' .. user)) do
  redis.call('HDEL', p .. 'impressions', seq)
  redis.call('ZREM', p .. 'listed', seq)
  removed = 1
end
if redis.call('HDEL', p .. 'profiles', user) == 1 then removed = 1 end
redis.call('DEL', p .. 'user:' .. user, p .. 'seen:' .. user, p .. 'shown:' .. user)
redis.call('ZREM', p .. 'users', user)
redis.call('SADD', p .. 'erased', ARGV[3])
return removed
"""


class RedisLiveRows(RedisItemRows):
    """The live rows of the Redis at `url`, such as redis://localhost:6379/0.

    Raises `DataError` where it cannot be reached or holds rows of a newer recsys. After an attempt that
    failed, calls fail at once for `seconds_between_attempts`, so that requests do not wait for it.
    """

    _prefix = PREFIX

    def __init__(self, url: str, *, seconds_between_attempts: float = SECONDS_BETWEEN_ATTEMPTS) -> None:
        parts = urlsplit(url)
        self._shown = f"redis://{parts.hostname}:{parts.port or 6379}{parts.path}"  # without a password
        self._pause, self._failed_at = seconds_between_attempts, -seconds_between_attempts
        try:
            self._redis: Any = redis.Redis.from_url(
                url,
                decode_responses=True,
                socket_timeout=TIMEOUT_S,
                socket_connect_timeout=TIMEOUT_S,
                retry=Retry(NoBackoff(), 1),  # a connection that was closed meanwhile is opened again
            )
            self.is_durable = self._check()
        except DataError:
            raise
        except (ValueError, StateError) as error:
            raise DataError(
                f"--state {self._shown}: cannot be used: {error}; start the Redis, or name a file"
            ) from None

    def append_events(self, events: Sequence[LiveEvent]) -> Appended:
        given = [
            value
            for each in events
            for value in (each.event_id, each.user, each.item, each.timestamp, json.dumps(each))
        ]
        with self._answers("written"):
            known = self._redis.eval(_APPEND, 0, PREFIX, *given)
        return Appended(accepted=len(events) - len(known), duplicates=tuple(known))

    def set_profile(self, user: str, profile: Mapping[str, Sequence[str]]) -> None:
        fields = json.dumps({name: list(values) for name, values in profile.items()})
        with self._answers("written"), self._redis.pipeline(transaction=True) as batch:
            batch.hset(PREFIX + "profiles", user, fields)
            batch.zadd(PREFIX + "users", {user: 0})
            batch.execute()

    def users(self, names: Sequence[str], *, newest: int = MAX_LIVE_EVENTS) -> list[LiveUser]:
        found: list[LiveUser] = []
        with self._answers("read"):
            for start in range(0, len(names), PAGE):
                found += self._users(names[start : start + PAGE], newest)
        return found

    def user_ids(self) -> Iterator[str]:
        last = "-"  # below every id
        while True:
            with self._answers("read"):
                page = self._redis.zrangebylex(PREFIX + "users", last, "+", 0, PAGE)
            yield from page
            if len(page) < PAGE:
                return
            last = f"({page[-1]}"

    def num_users(self) -> int:
        with self._answers("read"):
            return int(self._redis.zcard(PREFIX + "users"))

    def append_impressions(self, impressions: Sequence[Impression]) -> None:
        given = []
        for each in impressions:
            row = json.dumps([each.request_id, each.user, each.timestamp, each.listed()])
            given += ["" if each.user is None else each.user, row]
        with self._answers("written"):
            self._redis.eval(_SHOW, 0, PREFIX, *given)

    def events(self) -> Iterator[LiveEvent]:
        return (LiveEvent._make(json.loads(row)) for row in self._rows("order", "events"))

    def impressions(self) -> Iterator[Impression]:
        for row in self._rows("listed", "impressions"):
            yield Impression.of_stored(*json.loads(row))

    def erase_user(self, user: str) -> bool:
        with self._answers("written"):
            return bool(self._redis.eval(_ERASE, 0, PREFIX, user, hash_of(user)))

    def erased(self) -> frozenset[str]:
        with self._answers("read"):
            return frozenset(self._redis.smembers(PREFIX + "erased"))

    def is_empty(self) -> bool:
        names = (PREFIX + name for name in ("users", "impressions", "erased", "items"))
        with self._answers("read"):
            return not self._redis.exists(*names)

    def close(self) -> None:
        self._redis.close()

    @contextmanager
    def _answers(self, done: str) -> Iterator[None]:
        """Errors of the Redis become `StateError`; soon after one, no attempt is made."""
        if time.monotonic() - self._failed_at < self._pause:
            raise StateError(f"{self._shown}: the state cannot be {done}: it did not answer a moment ago")
        try:
            yield
        except (redis.ConnectionError, redis.TimeoutError) as error:
            self._failed_at = time.monotonic()
            raise StateError(f"{self._shown}: the state cannot be {done}: {error}") from None
        except redis.RedisError as error:
            raise StateError(f"{self._shown}: the state cannot be {done}: {error}") from None

    def _check(self) -> bool:
        """Whether every write is synced to the disk; raises `DataError` for rows of a newer recsys."""
        with self._answers("read"):
            self._redis.set(PREFIX + "layout", _LAYOUT, nx=True)
            layout = self._redis.get(PREFIX + "layout")
        if not str(layout).isdigit() or int(layout) > _LAYOUT:
            raise DataError(
                f"--state {self._shown}: the state has layout {layout}, this recsys reads up to {_LAYOUT}; "
                "upgrade recsys, or name another database of the Redis"
            )
        try:
            with self._answers("read"):
                settings = self._redis.config_get("append*")
        except StateError:  # a managed Redis keeps its settings to itself
            return False
        return bool(settings.get("appendonly") == "yes" and settings.get("appendfsync") == "always")

    def _users(self, names: Sequence[str], newest: int) -> list[LiveUser]:
        if not names:
            return []
        with self._redis.pipeline(transaction=False) as batch:
            for name in names:
                batch.zrange(f"{PREFIX}user:{name}", -newest, -1)
            batch.hmget(PREFIX + "profiles", list(names))
            batch.smismember(PREFIX + "erased", [hash_of(name) for name in names])
            *members, profiles, erased = batch.execute()
        events = self._events([each[_DIGITS + 1 :] for page in members for each in page])
        users = []
        for name, page, profile, is_erased in zip(names, members, profiles, erased, strict=True):
            own = tuple(events[each[_DIGITS + 1 :]] for each in page if each[_DIGITS + 1 :] in events)
            seen = {each.item for each in own}
            if len(page) == newest:
                seen = self._redis.smembers(f"{PREFIX}seen:{name}")
            users.append(
                LiveUser(
                    events=own, seen=frozenset(seen), profile=_profile(profile), is_erased=bool(is_erased)
                )
            )
        return users

    def _events(self, ids: Sequence[str]) -> dict[str, LiveEvent]:
        """The events of these ids; one that was erased in this moment is left out."""
        if not ids:
            return {}
        rows = zip(ids, self._redis.hmget(PREFIX + "events", list(ids)), strict=True)
        return {name: LiveEvent._make(json.loads(row)) for name, row in rows if row is not None}

    def _rows(self, order: str, rows: str) -> Iterator[str]:
        """All rows of a hash in the order of their numbers, a page in memory."""
        last: float = 0
        while True:
            with self._answers("read"):
                page = self._redis.zrangebyscore(
                    PREFIX + order, f"({last:.0f}", "+inf", 0, PAGE, withscores=True
                )
                found = self._redis.hmget(PREFIX + rows, [name for name, _ in page]) if page else []
            yield from (row for row in found if row is not None)
            if len(page) < PAGE:
                return
            last = page[-1][1]


def _profile(fields: str | None) -> dict[str, tuple[str, ...]] | None:
    if fields is None:
        return None
    return {name: tuple(values) for name, values in json.loads(fields).items()}
