"""Training state on disk: written whole or not at all, read back only for the same run."""

import copy
import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn


@dataclass
class TrainingState:
    """How far training has come; the one mutable thing of a run."""

    epoch: int = 0
    best_epoch: int = 0
    best_score: float = math.nan
    best_parameters: dict[str, Any] | None = None
    curve: list[dict[str, float]] = field(default_factory=list)

    def record(self, entry: dict[str, float], model: nn.Module) -> None:
        """Note an epoch's figures, and keep the parameters where validation is the best so far."""
        self.curve.append(entry)
        score = entry.get("validation_ndcg_at_10", math.nan)
        if not math.isnan(score) and (math.isnan(self.best_score) or score > self.best_score):
            self.best_score, self.best_epoch = score, self.epoch
            self.best_parameters = copy.deepcopy(model.state_dict())


def save_state(
    path: Path | None,
    fingerprint: str,
    state: TrainingState,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    scheduler: torch.optim.lr_scheduler.LRScheduler,
) -> None:
    """Write a checkpoint; an interruption leaves the one before it."""
    if path is None:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    content = {
        "fingerprint": fingerprint,
        "state": vars(state),
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "scheduler": scheduler.state_dict(),
        "rng": torch.get_rng_state(),
    }
    torch.save(content, temporary)
    os.replace(temporary, path)


def load_state(
    path: Path | None,
    fingerprint: str,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    scheduler: torch.optim.lr_scheduler.LRScheduler,
) -> TrainingState | None:
    """Restore the checkpoint at `path` if there is one of the same `fingerprint`."""
    if path is None or not path.exists():
        return None
    content = torch.load(path, weights_only=True)
    if content["fingerprint"] != fingerprint:
        return None
    model.load_state_dict(content["model"])
    optimizer.load_state_dict(content["optimizer"])
    scheduler.load_state_dict(content["scheduler"])
    torch.set_rng_state(content["rng"])
    return TrainingState(**content["state"])
