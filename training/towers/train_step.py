"""Loss and gradients of one batch of windows: the sum of the losses that the configuration switches on.

Each loss draws what is random (negatives, a batch of items, seeds of dropout), starts its work on the
context's threads, and returns its gradients by shard. Gradients are summed over the shards of all ranks, so
that a step of several ranks is the step of one rank on all of their windows.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from recsys.config import TrainConfig
from recsys.models import Retriever
from training.ranks import ONE_RANK, Ranks
from training.sequences import Window
from training.towers.adversarial_loss import AdversarialLoss
from training.towers.auxiliary_losses import ItemBatchLoss
from training.towers.context import Loss, StepContext, set_gradients
from training.towers.next_item_loss import NextItemLoss
from training.towers.softmax import build_softmax
from training.towers.tables import StepRows, Tables


def build_losses(context: StepContext, config: TrainConfig, *, index_kind: str) -> tuple[Loss[Any], ...]:
    """The losses of `config` in the order in which they draw and in which gradients are summed.

    Raises `ConfigError` for a loss that cannot be computed on this catalogue.
    """
    auxiliary = config.auxiliary
    next_item = NextItemLoss(context, build_softmax(context, config, index_kind=index_kind))
    adversarial = AdversarialLoss.of(next_item, auxiliary.adversarial)
    on_items = ItemBatchLoss.of(context, auxiliary)
    return (adversarial or next_item, *((on_items,) if on_items is not None else ()))


class TrainStep:
    """Gradients of the training loss; `num_shards` None takes as many shards as torch has threads.

    Raises `ConfigError` for an option of `config` that has no meaning on this catalogue.
    """

    def __init__(
        self,
        model: Retriever,
        config: TrainConfig,
        *,
        num_shards: int | None = None,
        index_kind: str = "exact",
        ranks: Ranks = ONE_RANK,
        tables: Tables | None = None,
    ) -> None:
        self.model, self.ranks = model, ranks
        self.context = StepContext(model, config, num_shards, ranks=ranks, tables=tables)
        self.tables = self.context.tables
        self.losses = build_losses(self.context, config, index_kind=index_kind)

    @property
    def trained_rows(self) -> Tensor:
        """Catalogue rows that may be targets or negatives."""
        return self.context.trained_rows

    @property
    def parameters(self) -> list[nn.Parameter]:
        """Those whose gradients `backward` sets."""
        context = self.context
        return [*context.user_parameters, *context.item_parameters, *self.tables.parameters]

    def start_epoch(self) -> None:
        """Renew what lives for an epoch: the index of hard negatives."""
        for loss in self.losses:
            loss.start_epoch()

    def backward(self, windows: list[Window]) -> Tensor:
        """Set the gradient of every parameter to that of the training loss, and return the loss.

        The loss is a scalar on the model's device: reading it makes the host wait for the step.
        The training loss is the mean over the targets plus the weighted auxiliary losses. `windows` are those
        of this rank; loss and gradients are those of all ranks.
        """
        context = self.context
        drawn = [loss.draw(windows) for loss in self.losses]
        row_N = torch.unique(torch.cat([each.own_rows for each in drawn]))
        read = self.tables.read(row_N)
        rows = StepRows(row_N, read)
        started = [loss.start(each, rows) for loss, each in zip(self.losses, drawn, strict=True)]
        found = [wait() for wait in started]
        set_gradients(context.user_parameters, [shard for each in found for shard in each.of_users])
        set_gradients(context.item_parameters, [shard for each in found for shard in each.of_items])
        loss = torch.stack([each.loss for each in found]).sum()
        loss = _sum_over_ranks(self.ranks, [*context.user_parameters, *context.item_parameters], loss)
        self.tables.receive(read, rows.sum_gradients([shard for each in found for shard in each.of_tables]))
        return loss

    @torch.no_grad()
    def clip(self, max_norm: float) -> Tensor:
        """Scale the gradients of `parameters` so that the norm of all gradients is at most `max_norm`.

        Returns the factor, at most 1, also for the gradients that the tables keep for their own update.
        """
        gradients = [parameter.grad for parameter in self.parameters if parameter.grad is not None]
        norms = torch.stack(torch._foreach_norm(gradients))
        norm = (norms.square().sum() + self.tables.squared_norm()).sqrt()
        factor = (max_norm / (norm + 1e-6)).clamp(max=1.0)
        torch._foreach_mul_(gradients, factor)
        return factor

    @contextmanager
    def one_thread_per_operation(self) -> Iterator[None]:
        """Within, the shards are the only parallel work; see `StepContext`."""
        with self.context.one_thread_per_operation():
            yield


def _sum_over_ranks(ranks: Ranks, parameters: Sequence[nn.Parameter], loss: Tensor) -> Tensor:
    """The sum of `loss` over all ranks; the gradients of `parameters` become the sums over all ranks.

    DistributedDataParallel sums gradients that `Tensor.backward` accumulates. Those of a step are computed
    shard by shard with `torch.autograd.grad`, so they are summed here. A parameter without a gradient on any
    rank keeps none.
    """
    if ranks.size == 1:
        return loss
    parts = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    has = loss.new_tensor([float(p.grad is not None) for p in parameters])
    flat = torch.cat([has, loss.view(1), *(part.flatten() for part in parts)])
    ranks.sum_(flat)
    has, loss, *sums = flat.split([len(has), 1, *(p.numel() for p in parameters)])
    for parameter, count, part in zip(parameters, has.tolist(), sums, strict=True):
        parameter.grad = part.view_as(parameter) if count else None
    return loss.squeeze(0)
