"""The interface of the training losses, and what all of them share: model, parameters, threads, streams.

On a CPU one thread a shard beats several threads an operation: the work between matrix products is bound by
memory and hardly gains from threads. Gradients are summed in the order of the shards, and every shard draws
its dropout from a random stream of its own, so a seed and a number of shards fix the result. The shards of
several ranks are counted together: two ranks of one shard draw as one rank of two shards does.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from recsys.config import TrainConfig
from recsys.models import Retriever, use_generator
from training.ranks import ONE_RANK, Ranks
from training.runtime import choose_dtype
from training.sequences import Window
from training.towers.tables import Gradients, ShardGradient, StepRows, Tables, WholeTables

T = TypeVar("T")
D = TypeVar("D", bound="Drawn")


@dataclass(frozen=True, kw_only=True)
class LossGradients:
    """The weighted value of this rank's part of a loss, and its gradients by shard."""

    loss: Tensor  # a scalar on the model's device, without a gradient
    of_users: Sequence[Gradients] = ()  # of `StepContext.user_parameters`
    of_items: Sequence[Gradients] = ()  # of `StepContext.item_parameters`
    of_tables: Sequence[ShardGradient] = ()


class Drawn(Protocol):
    """What a loss has drawn for a step."""

    @property
    def own_rows(self) -> Tensor:
        """Catalogue rows that this rank reads for the loss."""
        ...


class Loss(Protocol[D]):
    """One term of the training loss. A term that is off is not built."""

    def start_epoch(self) -> None:
        """Renew what lives for an epoch."""

    def draw(self, windows: list[Window]) -> D:
        """Draw all random numbers of the step, the same on every rank."""
        ...

    def start(self, drawn: D, rows: StepRows) -> Callable[[], LossGradients]:
        """Start the work on what was drawn; the returned function waits for its end."""
        ...


class StepContext:
    """Model, parameters, threads and ranks of the losses.

    `num_shards` is the number of this rank, the same on all ranks; None takes as many as torch has threads.
    """

    def __init__(
        self,
        model: Retriever,
        config: TrainConfig,
        num_shards: int | None = None,
        *,
        ranks: Ranks = ONE_RANK,
        tables: Tables | None = None,
    ) -> None:
        self.model, self.dtype, self.ranks = model, choose_dtype(config, model.device), ranks
        self.tables = WholeTables(model, ranks) if tables is None else tables
        self.trained_rows = torch.from_numpy(np.flatnonzero(model.features.trained))
        on_cpu = model.device.type == "cpu"
        self.num_shards = num_shards or (torch.get_num_threads() if on_cpu else 1)
        self._pool = ThreadPoolExecutor(self.num_shards) if self.num_shards > 1 else None
        of_tables = ("item_id", "category")
        modules = {name: each for name, each in model.named_children() if name not in of_tables}
        user_tower = modules.pop("user_tower")
        self.item_parameters = _trainable(*modules.values())
        learns_temperature = model.log_temperature.requires_grad
        self.user_parameters = [
            *_trainable(user_tower),
            *([model.log_temperature] if learns_temperature else []),
        ]

    def each(self, work: Callable[..., T], tasks: Sequence[tuple[object, ...]]) -> list[T]:
        """The results of `work` on each task, a thread a task."""
        if self._pool is None or len(tasks) == 1:
            return [work(*task) for task in tasks]
        return [future.result() for future in [self._pool.submit(work, *task) for task in tasks]]

    def start(self, work: Callable[..., T], *task: object) -> Callable[[], T]:
        """Start `work` beside the shards; the returned function waits for its result."""
        if self._pool is not None:
            return self._pool.submit(work, *task).result
        result = work(*task)
        return lambda: result

    def draw_seeds(self) -> list[int]:
        """A seed for each shard of this rank.

        One number is drawn, however many shards there are, so that negatives do not depend on their number.
        """
        first = int(torch.randint(2**62, ())) + self.ranks.rank * self.num_shards
        return list(range(first, first + self.num_shards))

    def own_part(self, rows: Tensor) -> tuple[Tensor, slice]:
        """This rank's part of rows that all ranks know, and its place among them."""
        parts = rows.tensor_split(self.ranks.size)
        start = sum(len(part) for part in parts[: self.ranks.rank])
        own = parts[self.ranks.rank]
        return own, slice(start, start + len(own))

    @contextmanager
    def one_thread_per_operation(self) -> Iterator[None]:
        """Within, an operation has one thread, as every shard has a core; afterwards all threads again."""
        before = torch.get_num_threads()
        if self._pool is not None:
            torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(before)

    @contextmanager
    def random_stream(self, seed: int) -> Iterator[None]:
        """Within, dropout draws from a generator of its own."""
        with use_generator(torch.Generator(self.model.device).manual_seed(seed)):
            yield

    def autocast(self) -> torch.autocast:
        """Matrix products in `dtype`."""
        return torch.autocast(self.model.device.type, torch.bfloat16, enabled=self.dtype == torch.bfloat16)


def sum_present(tensors: Sequence[Tensor | None]) -> Tensor | None:
    """The sum of the tensors that are not None, in their order; None without any."""
    total: Tensor | None = None
    for tensor in tensors:
        if tensor is not None:
            total = tensor if total is None else total + tensor
    return total


def set_gradients(parameters: Sequence[nn.Parameter], shards: Sequence[Gradients]) -> None:
    """Set each parameter's gradient to the sum over the shards; None where no shard has one."""
    for at, parameter in enumerate(parameters):
        parameter.grad = sum_present([shard[at] for shard in shards])


def _trainable(*modules: nn.Module) -> list[nn.Parameter]:
    return [p for module in modules for p in module.parameters() if p.requires_grad]
