"""Ids, configuration, models, metrics, retrieval, the bundle and the commands; see docs/architecture.md."""

__version__ = "0.1.0"
