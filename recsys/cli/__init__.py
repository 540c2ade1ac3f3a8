"""The command line. It alone uses all four packages; each is imported when a command needs it."""

from recsys.cli import bundles, data, experiments, publishing, runs, search
from recsys.cli.app import app, default_cache, errors_as_messages, main

__all__ = [
    "app",
    "bundles",
    "data",
    "default_cache",
    "errors_as_messages",
    "experiments",
    "main",
    "publishing",
    "runs",
    "search",
]
