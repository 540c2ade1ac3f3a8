"""The HTTP endpoint."""

from serving.http.app import serve

__all__ = [
    "serve",
]
