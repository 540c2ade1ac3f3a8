"""The HTTP endpoint."""

from serving.http.app import serve
from serving.http.schemas import MAX_K, Subject

__all__ = [
    "MAX_K",
    "Subject",
    "serve",
]
