"""The command line. It alone uses all four packages; each is imported when a command needs it."""

from recsys.cli import ablation, bundles, data, publishing, runs, tracking
from recsys.cli.app import app, default_cache, errors_as_messages, main

__all__ = [
    "ablation",
    "app",
    "bundles",
    "data",
    "default_cache",
    "errors_as_messages",
    "main",
    "publishing",
    "runs",
    "tracking",
]
