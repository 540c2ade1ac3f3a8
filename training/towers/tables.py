"""The learned tables in a step: read once for all losses, and written once with the sum of their gradients.

A step reads its catalogue rows from the tables on one thread. The vectors that are read are leaves for the
shards of the losses. The gradients of the leaves are summed over the shards, and flow back into the tables.

Legend: N rows of a step, M rows of a shard, D width.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from recsys.config import TablesConfig
from recsys.models import Retriever, ShardedTables, TableVectors, to_device
from training.ranks import ONE_RANK, Ranks
from training.towers.ema import TableAverage

Gradients = Sequence[Tensor | None]  # one a tensor


class Tables(Protocol):
    """The tables of a model in training, in one process or among several."""

    parameters: Sequence[nn.Parameter]  # those that the optimizer of the towers updates
    plan: str  # which rank holds which rows, as text

    def set_rate(self, rate: float) -> None:
        """The learning rate of the coming step, as a fraction of its peak; for tables not in `parameters`."""
        ...

    def read(self, row_N: Tensor) -> TableVectors:
        """The vectors of this rank's catalogue rows, with the graph that leads back to the tables."""
        ...

    def receive(self, read: TableVectors, gradients: Sequence[Tensor]) -> None:
        """Take the gradients of `read.tensors()`; all ranks' gradients are summed."""
        ...

    def squared_norm(self) -> Tensor:
        """Sum of the squares of the gradients that are not in `parameters`; a scalar."""
        ...

    def update(self, scale: Tensor) -> None:
        """Update the tables that are not in `parameters`, by the received gradients times `scale`."""
        ...

    def exchange_average(self) -> None:
        """Exchange the tables that are not in `parameters` with their moving average."""
        ...

    def fill(self) -> None:
        """Give the model of rank 0 whole tables, as they are now."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """State for a checkpoint, whole tables on rank 0; the same for any number of ranks."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class WholeTables:
    """Tables that every rank holds whole, with dense gradients for the optimizer of the towers."""

    def __init__(self, model: Retriever, ranks: Ranks = ONE_RANK) -> None:
        self.model, self.ranks = model, ranks
        modules = [module for module in (model.item_id, model.category) if module is not None]
        self.plan = f"{ranks.size} ranks: each holds every table whole (train.tables.optimizer: adamw)"
        self.parameters: Sequence[nn.Parameter] = [each for module in modules for each in module.parameters()]

    def set_rate(self, rate: float) -> None: ...

    def read(self, row_N: Tensor) -> TableVectors:
        return self.model.read_tables(row_N)

    def receive(self, read: TableVectors, gradients: Sequence[Tensor]) -> None:
        if not self.parameters:
            return
        found = torch.autograd.grad(read.tensors(), self.parameters, gradients, allow_unused=True)
        for parameter, gradient in zip(self.parameters, found, strict=True):
            parameter.grad = torch.zeros_like(parameter) if gradient is None else gradient
            self.ranks.sum_(parameter.grad)

    def squared_norm(self) -> Tensor:
        return torch.zeros((), device=self.model.device)

    def update(self, scale: Tensor) -> None: ...

    def exchange_average(self) -> None: ...

    def fill(self) -> None: ...

    def state_dict(self) -> dict[str, Any]:
        state = self.model.state_dict()
        return {"weight": {name: tensor for name, tensor in state.items() if is_of_tables(name)}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["weight"], strict=False)


class DividedTables:
    """Tables that TorchRec divides among the ranks. A step updates the rows that it has read.

    Between `receive` and `update` their gradients are those of the vectors that were read, for clipping. The
    moving average of a row is computed before the row changes; see `TableAverage`.
    """

    parameters: Sequence[nn.Parameter] = ()

    def __init__(
        self, model: Retriever, config: TablesConfig, *, decay: float = 0.0, ranks: Ranks = ONE_RANK
    ) -> None:
        self.ranks, self.config = ranks, config
        self.sharded = ShardedTables(
            model, id_sharding=config.id_sharding, category_sharding=config.category_sharding
        )
        self.plan = f"{ranks.size} ranks (train.tables.optimizer: rowwise_adagrad)\n\n{self.sharded.plan}"
        self.average = TableAverage(self.sharded.parts, decay) if decay else None
        self.row_N = torch.empty(0, dtype=torch.int64)
        self._received: tuple[TableVectors, list[Tensor]] | None = None

    def set_rate(self, rate: float) -> None:
        self.sharded.set_learning_rate(rate * self.config.learning_rate)

    def read(self, row_N: Tensor) -> TableVectors:
        self.row_N = row_N
        return self.sharded.read(row_N)

    def receive(self, read: TableVectors, gradients: Sequence[Tensor]) -> None:
        self._received = read, list(gradients)

    def squared_norm(self) -> Tensor:
        assert self._received is not None
        total = torch.zeros((), device=self.sharded.model.device)
        for gradient in self._received[1]:
            total += gradient.square().sum()
        self.ranks.sum_(total)
        return total

    def update(self, scale: Tensor) -> None:
        assert self._received is not None
        read, gradients = self._received
        if self.average is not None:
            self.average.before_change(self.sharded.ids(self.ranks.gather(self.row_N)))
        self.sharded.update(read, [gradient * scale for gradient in gradients])
        if self.average is not None:
            self.average.update()
        self._received = None

    def exchange_average(self) -> None:
        if self.average is not None:
            self.average.exchange()

    def fill(self) -> None:
        self.sharded.fill()

    def state_dict(self) -> dict[str, Any]:
        state: dict[str, Any] = self.sharded.whole()
        if self.average is not None:
            self.average.exchange()
            state |= {"average": self.sharded.whole()["weight"], "num_updates": self.average.num_updates}
            self.average.exchange()
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if self.average is not None:
            self.sharded.load({"weight": state["average"]})
            self.average.restart(state["num_updates"])
        self.sharded.load({kind: state[kind] for kind in ("weight", "momentum1")})


def is_of_tables(name: str) -> bool:
    """Whether the parameter of this name of a `Retriever` is a learned table."""
    return name.startswith(("item_id.", "category."))


@dataclass(frozen=True, kw_only=True)
class ShardLeaves:
    """The vectors of a shard's rows as leaves, and the places of these rows among the rows of the step."""

    place_M: Tensor
    vectors: TableVectors


@dataclass(frozen=True, kw_only=True)
class ShardGradient:
    """The gradients of `ShardLeaves.vectors.tensors()`."""

    place_M: Tensor
    gradients: Gradients


class StepRows:
    """The catalogue rows that this rank reads in a step, ascending, and their vectors of the tables."""

    def __init__(self, row_N: Tensor, read: TableVectors) -> None:
        self.row_N, self.read = row_N, read

    def leaves(self, row_M: Tensor) -> ShardLeaves:
        """Leaves for the rows `row_M`, all of which the step has read."""
        place_M = torch.searchsorted(self.row_N, row_M)
        # A copy: shards that read the same row must not share a gradient.
        leaves = [
            tensor.detach()[to_device(place_M, tensor.device)].requires_grad_()
            for tensor in self.read.tensors()
        ]
        return ShardLeaves(place_M=place_M, vectors=self.read.replaced(leaves))

    def sum_gradients(self, shards: Sequence[ShardGradient]) -> list[Tensor]:
        """The gradients of `read.tensors()`: sums over the shards, in their order."""
        totals = [torch.zeros_like(tensor) for tensor in self.read.tensors()]
        for shard in shards:
            for total, gradient in zip(totals, shard.gradients, strict=True):
                if gradient is not None:
                    total.index_add_(0, to_device(shard.place_M, total.device), gradient.to(total.dtype))
        return totals
