"""Publication of a run's bundle: the gate before the champion's place, the store and the registry."""

from training.publishing.bars import Bar, failed
from training.publishing.publish import CHALLENGER, CHAMPION, Published, Registry, publish

__all__ = [
    "CHALLENGER",
    "CHAMPION",
    "Bar",
    "Published",
    "Registry",
    "failed",
    "publish",
]
