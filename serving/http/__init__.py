"""The HTTP endpoint."""

from serving.http.app import serve
from serving.http.guard import Limits, add_key, read_keys, remove_key
from serving.http.parts import AnswerSettings
from serving.http.schemas import MAX_K, Subject

__all__ = [
    "MAX_K",
    "AnswerSettings",
    "Limits",
    "Subject",
    "add_key",
    "read_keys",
    "remove_key",
    "serve",
]
