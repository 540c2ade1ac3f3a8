"""Training state on disk: written atomically, read back only for the same run.

Rank 0 writes it, and every rank reads it. Its tensors are whole, so that any number of ranks can go on.
"""

import copy
import logging
import math
from dataclasses import dataclass, field
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Protocol

import torch
from torch import nn

from recsys.errors import RankError
from recsys.files import replacing
from training.ranks import ONE_RANK, Ranks

logger = logging.getLogger(__name__)


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

    def record(self, entry: dict[str, float], model: nn.Module | None) -> None:
        """Append an epoch's results, and copy the parameters where validation is the best so far."""
        self.curve.append(entry)
        score = entry.get("validation_ndcg_at_10", math.nan)
        if not math.isnan(score) and (math.isnan(self.best_score) or score > self.best_score):
            self.best_score, self.best_epoch = score, self.epoch
            self.best_parameters = None if model is None else copy.deepcopy(model.state_dict())


def save_state(
    path: Path | None, fingerprint: str, state: TrainingState, *parts: Stateful, ranks: Ranks = ONE_RANK
) -> None:
    """Write a checkpoint of `parts`; an interruption leaves the previous one. All ranks call it."""
    if path is None:
        return
    content = {
        "fingerprint": fingerprint,
        "state": vars(state),
        "parts": [part.state_dict() for part in parts],
        "rng": torch.get_rng_state(),
    }
    if ranks.rank == 0:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Through a file of Python: torch's own writer has no error number for a full disk.
        with replacing(path) as temporary, temporary.open("wb") as file:
            torch.save(content, file)
            file.flush()


def load_state(
    path: Path | None, fingerprint: str, *parts: Stateful, ranks: Ranks = ONE_RANK
) -> TrainingState | None:
    """Restore `parts` from the checkpoint at `path` if there is one of the same `fingerprint`.

    A damaged file is a warning, and is not restored. Raises `RankError` on a rank that does not read what
    rank 0 reads.
    """
    content = _read(path, fingerprint)
    epoch = None if content is None else content["state"]["epoch"]
    if ranks.share(lambda: epoch) != epoch:
        raise RankError(
            f"rank {ranks.rank} finds another checkpoint at {path} than rank 0; "
            "the run directory must be on a file system that all processes share"
        )
    if content is None:
        return None
    for part, kept in zip(parts, content["parts"], strict=True):
        part.load_state_dict(kept)
    torch.set_rng_state(content["rng"])
    return TrainingState(**content["state"])


def _read(path: Path | None, fingerprint: str) -> dict[str, Any] | None:
    """The content of the checkpoint; None without one, for another fingerprint, and for a damaged file."""
    if path is None or not path.exists():
        return None
    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        return content if content["fingerprint"] == fingerprint else None
    except (RuntimeError, ValueError, KeyError, TypeError, EOFError, UnpicklingError) as error:
        logger.warning("%s is damaged (%s); the training starts anew", path, error)
        return None
