"""The loss of next-item prediction, its catalogue rows and its windows split into shards, one a core.

The rows are embedded shard by shard. Their vectors are the leaves of the shards of windows; the gradient of
the vectors then flows back through the item tower, shard by shard.

Legend: B windows, L events, P predictions, N items, R embedded rows and a last row of zeros, D width.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from recsys.models import ItemInputs, sequence_tensors, to_device
from training.sequences import Window, target_mask
from training.towers.context import Gradients, LossGradients, StepContext, sum_present
from training.towers.softmax import Softmax, StepSoftmax

# Reads catalogue rows: the item tower's inputs, and further leaves whose gradients are returned as well.
ReadItems = Callable[[Tensor], tuple[ItemInputs, Sequence[Tensor]]]


@dataclass(frozen=True, kw_only=True)
class Batch:
    """One step's rows and windows by shard, with the seed of each shard's random stream."""

    softmax: StepSoftmax
    rows: Sequence[Tensor]
    row_seeds: Sequence[int]
    windows: Sequence[list[Window]]
    window_seeds: Sequence[int]
    place_N: Tensor  # of a catalogue row among the embedded ones; the last, of zeros, for all others
    num_targets: int


@dataclass(frozen=True, kw_only=True)
class EmbeddedShard:
    """Vectors of a shard's rows, and the leaves to which their gradient flows."""

    vector_ND: Tensor
    leaves: Sequence[Tensor]


class NextItemLoss:
    """Mean cross entropy over the events of the windows that may be predicted."""

    def __init__(self, context: StepContext, softmax: Softmax) -> None:
        self.context, self.softmax = context, softmax

    def start_epoch(self) -> None:
        self.softmax.start_epoch()

    def start(self, windows: list[Window]) -> Callable[[], LossGradients]:
        batch = self.draw(windows)
        return lambda: self.gradients(batch)

    def draw(self, windows: list[Window]) -> Batch:
        """The softmax of the step, the shards and their seeds."""
        softmax, context = self.softmax.draw(windows), self.context
        shards = [part for at in range(context.num_shards) if (part := windows[at :: context.num_shards])]
        num_item_shards = self.softmax.num_item_shards
        place_N = torch.full((context.model.features.size,), len(softmax.rows))
        place_N[softmax.rows] = torch.arange(len(softmax.rows))
        seeds = torch.randint(2**62, (num_item_shards + len(shards),)).tolist()
        return Batch(
            softmax=softmax,
            rows=softmax.rows.tensor_split(num_item_shards),
            row_seeds=seeds[:num_item_shards],
            windows=shards,
            window_seeds=seeds[num_item_shards:],
            place_N=place_N,
            num_targets=sum(int(window.target.sum()) for window in windows),
        )

    def gradients(
        self, batch: Batch, read_items: Sequence[ReadItems] | None = None, *, weight: float = 1.0
    ) -> LossGradients:
        """The mean loss times `weight`, the rows of each shard read by its function in `read_items`.

        Gradients of the further leaves that such a function names follow those of the item parameters.
        """
        readers = read_items or [self._read_items] * len(batch.rows)
        embedded = self.context.each(
            self._embed, list(zip(batch.rows, batch.row_seeds, readers, strict=True))
        )
        vectors = [shard.vector_ND for shard in embedded]
        zeros_1D = vectors[0].new_zeros(1, vectors[0].shape[1])  # padding, and rows that are not embedded
        item_RD = torch.cat([*(vector_ND.detach() for vector_ND in vectors), zeros_1D])
        tasks = zip(batch.windows, batch.window_seeds, strict=True)
        read = self.context.each(
            self._read_windows, [(part, seed, item_RD, batch, weight) for part, seed in tasks]
        )
        grad_RD = sum_present([gradient for _, _, gradient in read])
        assert grad_RD is not None
        grads_ND = grad_RD[:-1].tensor_split(len(batch.rows))
        return LossGradients(
            loss=torch.stack([loss for loss, _, _ in read]).sum(),
            of_users=[gradients for _, gradients, _ in read],
            of_items=self.context.each(_flow_back, list(zip(embedded, grads_ND, strict=True))),
        )

    def _read_items(self, rows: Tensor) -> tuple[ItemInputs, Sequence[Tensor]]:
        return self.context.model.item_inputs(rows), ()

    def _embed(self, rows: Tensor, seed: int, read_items: ReadItems) -> EmbeddedShard:
        context = self.context
        with context.random_stream(seed), context.autocast():
            inputs, further = read_items(rows)
            vector_ND = context.model.embed_inputs(inputs).vector_ND
        return EmbeddedShard(vector_ND=vector_ND, leaves=[*context.item_parameters, *further])

    def _read_windows(
        self, windows: list[Window], seed: int, item_RD: Tensor, batch: Batch, weight: float
    ) -> tuple[Tensor, Gradients, Tensor | None]:
        """The shard's part of the mean loss, and its gradients for the user tower and the vectors."""
        item_RD = item_RD.detach().requires_grad_()
        with self.context.random_stream(seed):
            mean = self._loss(windows, item_RD, batch)
        fraction = weight * sum(int(window.target.sum()) for window in windows) / max(batch.num_targets, 1)
        loss = mean * fraction
        leaves = [*self.context.user_parameters, item_RD]
        *gradients, grad_RD = torch.autograd.grad(loss, leaves, allow_unused=True)
        return loss.detach(), gradients, grad_RD

    def _loss(self, windows: list[Window], item_RD: Tensor, batch: Batch) -> Tensor:
        model = self.context.model
        item_BL, inputs, _ = sequence_tensors([w.history for w in windows], model.schema, model.device)
        with self.context.autocast():
            place_BL = to_device(batch.place_N[item_BL], model.device)
            state_BPD = model.user_tower.states(item_RD[place_BL], inputs)
        where = target_mask(windows, item_BL.shape[1])
        # Their number is known on the host; a mask on the device would make the host wait for it.
        row_P, event_P = (to_device(place_P, model.device) for place_P in where.nonzero(as_tuple=True))
        state_PD = state_BPD[row_P, event_P] / model.temperature
        return batch.softmax.loss(state_PD, item_RD, item_BL[where], batch.place_N)


def _flow_back(shard: EmbeddedShard, grad_ND: Tensor) -> Gradients:
    """The gradient of a shard's vectors as the gradients of its leaves."""
    gradients: Gradients = torch.autograd.grad(
        shard.vector_ND, shard.leaves, grad_outputs=grad_ND.to(shard.vector_ND.dtype), allow_unused=True
    )
    return gradients
