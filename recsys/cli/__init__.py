"""The command line: the one place that knows all four packages, each only when a command needs it."""

from recsys.cli import ablation, bundles, data, runs, tracking
from recsys.cli.app import app, default_cache, main

__all__ = ["ablation", "app", "bundles", "data", "default_cache", "main", "runs", "tracking"]
