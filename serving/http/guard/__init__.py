"""Who may ask what, how often and how much; what was asked, in the log and in numbers."""

from serving.http.guard.exposure import LOGGING, check_exposure
from serving.http.guard.keys import SCOPES, KeyFile, Scope, add_key, read_keys, remove_key
from serving.http.guard.metrics import CONTENT_TYPE, Metrics
from serving.http.guard.middleware import Guard, Limits
from serving.http.guard.openapi import describe_guard
from serving.http.guard.scopes import scope_of

__all__ = [
    "CONTENT_TYPE",
    "LOGGING",
    "SCOPES",
    "Guard",
    "KeyFile",
    "Limits",
    "Metrics",
    "Scope",
    "add_key",
    "check_exposure",
    "describe_guard",
    "read_keys",
    "remove_key",
    "scope_of",
]
