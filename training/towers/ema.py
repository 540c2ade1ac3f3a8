"""An exponential moving average of the parameters; it generalises better than the last parameters.

Polyak and Juditsky 1992; the warm-up of the decay is that of TensorFlow's ExponentialMovingAverage.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


def decay_of(num_updates: float) -> float:
    """The decay whose time constant is `num_updates`; 0 for none."""
    return max(0.0, 1.0 - 1.0 / num_updates) if num_updates else 0.0


class WeightAverage:
    """The average of `model`'s parameters over its updates; a `decay` of 0 is the model itself."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay, self.num_updates = decay, 0
        self.parameters = [parameter.detach() for parameter in model.parameters()]
        self.average = [tensor.clone() for tensor in self.parameters] if decay else []

    @torch.no_grad()
    def update(self) -> None:
        """Add the model's parameters to the average."""
        if not self.decay:
            return
        self.num_updates += 1
        decay = min(self.decay, self.num_updates / (self.num_updates + 10))
        torch._foreach_lerp_(self.average, self.parameters, 1.0 - decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Within, the model has the averaged parameters."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    def keep(self) -> None:
        """Give the model the averaged parameters; training is over."""
        self._exchange()

    @torch.no_grad()
    def _exchange(self) -> None:
        for own, average in zip(self.parameters, self.average, strict=False):
            kept = own.clone()
            own.copy_(average)
            average.copy_(kept)

    def state_dict(self) -> dict[str, Any]:
        """State for a checkpoint."""
        return {"num_updates": self.num_updates, "average": self.average}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a `state_dict`."""
        self.num_updates = state["num_updates"]
        for own, kept in zip(self.average, state["average"], strict=True):
            own.copy_(kept)
