"""Loss and gradients of one batch of windows: the sum of the losses that the configuration switches on.

Each loss draws what is random (negatives, a batch of items, seeds of dropout), starts its work on the
context's threads, and returns its gradients by shard.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from recsys.config import TrainConfig
from recsys.models import Retriever
from training.sequences import Window
from training.towers.adversarial_loss import AdversarialLoss
from training.towers.auxiliary_losses import ItemBatchLoss
from training.towers.context import Loss, StepContext, set_gradients
from training.towers.next_item_loss import NextItemLoss
from training.towers.softmax import build_softmax


def build_losses(context: StepContext, config: TrainConfig, *, index_kind: str) -> tuple[Loss, ...]:
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
    ) -> None:
        self.model = model
        self.context = StepContext(model, config, num_shards)
        self.losses = build_losses(self.context, config, index_kind=index_kind)

    @property
    def trained_rows(self) -> Tensor:
        """Catalogue rows that may be targets or negatives."""
        return self.context.trained_rows

    def start_epoch(self) -> None:
        """Renew what lives for an epoch: the index of hard negatives."""
        for loss in self.losses:
            loss.start_epoch()

    def backward(self, windows: list[Window]) -> Tensor:
        """Set the gradient of every parameter to that of the training loss, and return the loss.

        The loss is a scalar on the model's device: reading it makes the host wait for the step.
        The training loss is the mean over the targets plus the weighted auxiliary losses.
        """
        started = [loss.start(windows) for loss in self.losses]
        found = [wait() for wait in started]
        context = self.context
        set_gradients(context.user_parameters, [shard for each in found for shard in each.of_users])
        set_gradients(context.item_parameters, [shard for each in found for shard in each.of_items])
        return torch.stack([each.loss for each in found]).sum()

    @contextmanager
    def one_thread_per_operation(self) -> Iterator[None]:
        """Within, the shards are the only parallel work; see `StepContext`."""
        with self.context.one_thread_per_operation():
            yield
