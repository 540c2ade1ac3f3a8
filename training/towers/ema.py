"""An exponential moving average of the parameters; it generalises better than the last parameters.

Polyak and Juditsky 1992; the warm-up of the decay is that of TensorFlow's ExponentialMovingAverage.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from recsys.models import Part

ROWS_AT_ONCE = 65_536  # exchanged in one piece; bounds the memory


def decay_of(num_updates: float) -> float:
    """The decay whose time constant is `num_updates`; 0 for none."""
    return max(0.0, 1.0 - 1.0 / num_updates) if num_updates else 0.0


def decay_at(update: int, decay: float) -> float:
    """The decay of the update with this number, counted from 1."""
    return min(decay, update / (update + 10))


class WeightAverage:
    """The average of parameters over their updates; a `decay` of 0 is the parameters themselves."""

    def __init__(self, parameters: Iterable[nn.Parameter], decay: float) -> None:
        self.decay, self.num_updates = decay, 0
        self.parameters = [parameter.detach() for parameter in parameters]
        self.average = [tensor.clone() for tensor in self.parameters] if decay else []

    @torch.no_grad()
    def update(self) -> None:
        """Add the parameters to the average."""
        if not self.decay:
            return
        self.num_updates += 1
        decay = decay_at(self.num_updates, self.decay)
        torch._foreach_lerp_(self.average, self.parameters, 1.0 - decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Within, the parameters are the averaged ones."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    def keep(self) -> None:
        """Make the parameters the averaged ones; training is over."""
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


class TableAverage:
    """The same average of tables of which a step changes few rows; it costs what the step's rows cost.

    While a row p is constant, n updates with decays d bring its average a to p + (a - p) * d_1 * ... * d_n.
    A row is therefore averaged before it changes, for all updates since its last change at once.

    Legend: S rows of a part of a table, D width.
    """

    def __init__(self, parts: Sequence[Part], decay: float) -> None:
        self.parts, self.decay = parts, decay
        self.average = [part.weight_SD.clone() for part in parts]
        self.restart(0)

    def restart(self, num_updates: int) -> None:
        """Let the average be the tables as they are now, after `num_updates` updates."""
        for average_SD, part in zip(self.average, self.parts, strict=True):
            average_SD.copy_(part.weight_SD)
        self.num_updates, self._log_decay = num_updates, 0.0  # sum of the logs of the decays from here on
        # What the sum was when the row was averaged last.
        self._averaged_at = [torch.zeros(len(part.weight_SD), dtype=torch.float64) for part in self.parts]

    def update(self) -> None:
        """Count an update of the tables; `before_change` was called for the rows that it changed."""
        self.num_updates += 1
        self._log_decay += math.log(decay_at(self.num_updates, self.decay))

    @torch.no_grad()
    def before_change(self, ids: Mapping[str, Tensor]) -> None:
        """Average the rows `ids` of each table, by name and ascending, that are in the parts here."""
        for at, part in enumerate(self.parts):
            row = ids[part.name].cpu() - part.start
            self._average(at, row[(row >= 0) & (row < len(part.weight_SD))])

    @torch.no_grad()
    def exchange(self) -> None:
        """Exchange the tables with their average."""
        for at, part in enumerate(self.parts):
            for row in torch.arange(len(part.weight_SD)).split(ROWS_AT_ONCE):
                self._average(at, row)
                kept = part.weight_SD[row].clone()
                part.weight_SD[row] = self.average[at][row]
                self.average[at][row] = kept
            self._averaged_at[at].zero_()
        self._log_decay = 0.0  # a training that goes on from here starts with the same sum

    def _average(self, at: int, row: Tensor) -> None:
        part, averaged_at = self.parts[at], self._averaged_at[at]
        factor = (self._log_decay - averaged_at[row]).exp().float().to(part.weight_SD.device)
        own, average = part.weight_SD[row], self.average[at][row]
        self.average[at][row] = torch.lerp(own, average, factor.unsqueeze(1))  # exact for a factor of 1
        averaged_at[row] = self._log_decay
