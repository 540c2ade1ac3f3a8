"""`Guard`: before a request reaches its endpoint its key, rate and size are checked; after it, it is counted.

The log has one JSON line for each request, without ids of users and items, bodies or addresses.
"""

import json
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import uuid4

from fastapi import HTTPException

from serving.http.guard.keys import Key, KeyFile
from serving.http.guard.metrics import Metrics
from serving.http.guard.scopes import scope_of
from serving.http.problems import problem

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
Receive = Callable[[], Awaitable[Message]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

access = logging.getLogger("recsys.access")
MAX_CALLERS: Final = 10_000  # whose rates are remembered
REQUEST_ID: Final = b"x-request-id"
BUNDLE: Final = b"x-bundle"  # the version that answered


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits of every request; 0 is no limit."""

    body_bytes: int = 64_000_000
    per_second: float = 0.0  # requests of one key, or of one address without keys; twice as many at once


class _Rates:
    """Token buckets by caller."""

    def __init__(self, per_second: float) -> None:
        self._per_second, self._most = per_second, max(1.0, 2.0 * per_second)
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()  # tokens, and when

    def seconds_to_wait(self, caller: str, now: float) -> float:
        """0 where the caller may ask now, which takes a token."""
        if not self._per_second:
            return 0.0
        tokens, then = self._left.pop(caller, (self._most, now))
        tokens = min(self._most, tokens + (now - then) * self._per_second)
        wait = max(0.0, (1.0 - tokens) / self._per_second)
        self._left[caller] = (tokens if wait else tokens - 1.0, now)
        if len(self._left) > MAX_CALLERS:
            self._left.popitem(last=False)
        return wait


class Guard:
    """ASGI middleware around the whole application."""

    def __init__(
        self,
        app: App,
        *,
        metrics: Metrics,
        keys: KeyFile | None = None,
        limits: Limits | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._app, self._metrics, self._keys, self._clock = app, metrics, keys, clock
        self._limits = limits or Limits()
        self._rates = _Rates(self._limits.per_second)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, request_id = self._clock(), uuid4()
        scope.setdefault("state", {}).update(request_id=request_id, started=started)
        status = 500

        async def answered(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = [*message.get("headers", []), (REQUEST_ID, request_id.hex.encode())]
                if (bundle := scope["state"].get("bundle")) is not None:
                    headers.append((BUNDLE, bundle.encode()))
                message = {**message, "headers": headers}
            await send(message)

        key: Key | None = None
        try:
            key, refusal = self._checked(scope)
            if refusal is not None:
                await _refuse(answered, *refusal)
            else:
                await self._app(scope, self._counted(receive), answered)
        finally:
            seconds = self._clock() - started
            route = getattr(scope.get("route"), "path", None) or "other"
            self._metrics.answered(scope["method"], route, status, seconds)
            entry = {
                "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                "request_id": request_id.hex,
                "method": scope["method"],
                "route": route,
                "status": status,
                "bundle": scope["state"].get("bundle"),
                "milliseconds": round(1000 * seconds, 2),
                "key": key and key.name,
            }
            access.info("%s", json.dumps(entry))

    def _checked(
        self, scope: MutableMapping[str, Any]
    ) -> tuple[Key | None, tuple[int, dict[str, Any], dict[str, str]] | None]:
        """The key of the request, and the answer that refuses it: status, body, headers."""
        headers = {name.lower(): value for name, value in scope["headers"]}
        key, needed = None, scope_of(scope["method"], scope["path"])
        if self._keys is not None and needed is not None:
            kind, _, token = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
            key = self._keys.find(token.strip()) if kind.lower() == "bearer" else None
            if key is None:
                message = "needs a valid API key: send the header Authorization: Bearer KEY"
                return None, (401, problem("authorization", message), {"WWW-Authenticate": "Bearer"})
            if needed not in key.scopes:
                message = f"this key has no scope {needed!r}; it has: {', '.join(key.scopes)}"
                return key, (403, problem("authorization", message), {})
        caller = key.name if key is not None else str((scope.get("client") or ("",))[0])
        if needed is not None and (wait := self._rates.seconds_to_wait(caller, time.monotonic())):
            message = (
                f"more than {self._limits.per_second:g} requests a second; wait, or ask for a higher rate"
            )
            return key, (429, problem(None, message), {"Retry-After": str(int(wait) + 1)})
        stated = headers.get(b"content-length", b"")
        if self._limits.body_bytes and stated.isdigit() and int(stated[:20]) > self._limits.body_bytes:
            return key, (413, problem("body", self._too_large()), {"Connection": "close"})
        return key, None

    def _counted(self, receive: Receive) -> Receive:
        """`receive` that ends a body that is too large."""
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if self._limits.body_bytes and received > self._limits.body_bytes:
                raise HTTPException(413, problem("body", self._too_large()))
            return message

        return counted

    def _too_large(self) -> str:
        return f"has more than {self._limits.body_bytes / 1e6:g} MB; send smaller or fewer parts"


async def _refuse(send: Send, status: int, body: dict[str, Any], headers: dict[str, str]) -> None:
    content = json.dumps(body).encode()
    listed = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
    listed += [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": listed})
    await send({"type": "http.response.body", "body": content})
