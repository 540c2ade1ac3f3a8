"""Training state on disk: written atomically, read back only for the same run."""

import copy
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from recsys.files import replacing


class Stateful(Protocol):
    """A model, an optimizer, a schedule, an average."""

    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state_dict: dict[str, Any], /) -> Any: ...


@dataclass
class TrainingState:
    """Progress of a training and its best parameters so far; mutable."""

    epoch: int = 0
    best_epoch: int = 0
    best_score: float = math.nan
    best_parameters: dict[str, Any] | None = None
    curve: list[dict[str, float]] = field(default_factory=list)

    def record(self, entry: dict[str, float], model: nn.Module) -> None:
        """Append an epoch's results, and copy the parameters where validation is the best so far."""
        self.curve.append(entry)
        score = entry.get("validation_ndcg_at_10", math.nan)
        if not math.isnan(score) and (math.isnan(self.best_score) or score > self.best_score):
            self.best_score, self.best_epoch = score, self.epoch
            self.best_parameters = copy.deepcopy(model.state_dict())


def save_state(
    path: Path | None,
    fingerprint: str,
    state: TrainingState,
    *parts: Stateful,
) -> None:
    """Write a checkpoint of `parts`; an interruption leaves the previous one."""
    if path is None:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "fingerprint": fingerprint,
        "state": vars(state),
        "parts": [part.state_dict() for part in parts],
        "rng": torch.get_rng_state(),
    }
    with replacing(path) as temporary:
        torch.save(content, temporary)


def load_state(path: Path | None, fingerprint: str, *parts: Stateful) -> TrainingState | None:
    """Restore `parts` from the checkpoint at `path` if there is one of the same `fingerprint`."""
    if path is None or not path.exists():
        return None
    content = torch.load(path, map_location="cpu", weights_only=True)  # it may come from a GPU
    if content["fingerprint"] != fingerprint:
        return None
    for part, kept in zip(parts, content["parts"], strict=True):
        part.load_state_dict(kept)
    torch.set_rng_state(content["rng"])
    return TrainingState(**content["state"])
