"""Publication of a run's bundle: the gate before the champion's place, the store and the registry."""

from training.publishing.bars import Bar, failed
from training.publishing.publish import CHALLENGER, CHAMPION, Published, Registry, publish
from training.publishing.registry import MlflowRegistry, ModelCode, save_model

__all__ = [
    "CHALLENGER",
    "CHAMPION",
    "Bar",
    "MlflowRegistry",
    "ModelCode",
    "Published",
    "Registry",
    "failed",
    "publish",
    "save_model",
]
