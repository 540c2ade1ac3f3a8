"""The scope that a request needs."""

from typing import Final

from serving.http.guard.keys import Scope

WRITES: Final = (
    ("POST", "/v1/events"),
    ("POST", "/v1/items:batch"),
    ("PUT", "/v1/"),
    ("PATCH", "/v1/"),
    ("DELETE", "/v1/"),
)


def scope_of(method: str, path: str) -> Scope | None:
    """The scope for this request; None where no key is asked for.

    Pages, their files and what says whether the server is alive are open: they have no data.
    """
    if path.startswith(("/v1/admin", "/metrics")):
        return "admin"
    if any(method == verb and path.startswith(start) for verb, start in WRITES):
        return "write"
    return "recommend" if path.startswith("/v1") else None
