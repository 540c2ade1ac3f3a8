"""The command line. It alone uses all four packages; each is imported when a command needs it."""

from recsys.cli import ablation, bundles, data, publishing, runs, search, tracking
from recsys.cli.app import app, default_cache, main

__all__ = [
    "ablation",
    "app",
    "bundles",
    "data",
    "default_cache",
    "main",
    "publishing",
    "runs",
    "search",
    "tracking",
]
