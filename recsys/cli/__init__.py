"""The command line: the one place that knows all four packages, each only when a command needs it."""

from recsys.cli import data, runs, ablation, answers  # noqa: I001  (the order of the help)
from recsys.cli.app import app, default_cache, main

__all__ = ["ablation", "answers", "app", "data", "default_cache", "main", "runs"]
