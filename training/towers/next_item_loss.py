"""The loss of next-item prediction, its catalogue rows and its windows split into shards, one a core.

Each rank embeds its part of the step's rows, shard by shard, and the ranks exchange the vectors. The vectors
are the leaves of the shards of windows; the sum of the vectors' gradients over all ranks then flows back
through the item tower, each rank's part on its own rank.

Legend: B windows, L events, P predictions, R embedded rows and a last row of zeros, D width, N, M rows.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from recsys.models import ItemInputs, TableVectors, sequence_tensors, to_device
from training.sequences import Window, target_mask
from training.towers.context import LossGradients, StepContext, sum_present
from training.towers.softmax import Softmax, StepSoftmax
from training.towers.tables import Gradients, ShardGradient, ShardLeaves, StepRows

# Reads catalogue rows, of which the tables' vectors are given: the item tower's inputs, and further leaves
# whose gradients are returned as well.
ReadItems = Callable[[Tensor, TableVectors], tuple[ItemInputs, Sequence[Tensor]]]


@dataclass(frozen=True, kw_only=True)
class Batch:
    """This rank's part of the rows and windows of one step, with the seeds of its shards."""

    softmax: StepSoftmax
    own_rows: Tensor
    own_place: slice  # of `own_rows` among the rows of the softmax
    row_seeds: Sequence[int]
    windows: Sequence[list[Window]]
    window_seeds: Sequence[int]
    num_targets: int  # of all ranks

    @property
    def rows(self) -> Sequence[Tensor]:
        """This rank's rows by shard."""
        return self.own_rows.tensor_split(len(self.row_seeds))

    def place(self, row: Tensor) -> Tensor:
        """The places of catalogue rows among the embedded ones; the last, of zeros, for all others."""
        rows = self.softmax.rows
        at = torch.searchsorted(rows, row).clamp(max=len(rows) - 1)
        return torch.where(rows[at] == row, at, len(rows))


@dataclass(frozen=True, kw_only=True)
class EmbeddedShard:
    """Vectors of a shard's rows, and the leaves to which their gradient flows."""

    vector_ND: Tensor
    tables: ShardLeaves
    leaves: Sequence[Tensor]  # item parameters, vectors of the tables, further leaves


@dataclass(frozen=True, kw_only=True)
class NextItemGradients(LossGradients):
    further: Sequence[Gradients]  # of the further leaves, by shard


class NextItemLoss:
    """Mean cross entropy over the events of the windows that may be predicted."""

    def __init__(self, context: StepContext, softmax: Softmax) -> None:
        self.context, self.softmax = context, softmax

    def start_epoch(self) -> None:
        self.softmax.start_epoch()

    def start(self, drawn: Batch, rows: StepRows) -> Callable[[], LossGradients]:
        return lambda: self.gradients(drawn, rows)

    def draw(self, windows: list[Window]) -> Batch:
        """The softmax of the step, the shards and their seeds."""
        softmax, context = self.softmax.draw(windows), self.context
        own_rows, own_place = context.own_part(softmax.rows)
        num_targets = torch.tensor(sum(int(window.target.sum()) for window in windows))
        context.ranks.sum_(num_targets)
        return Batch(
            softmax=softmax,
            own_rows=own_rows,
            own_place=own_place,
            row_seeds=context.draw_seeds(),
            windows=[windows[at :: context.num_shards] for at in range(context.num_shards)],
            window_seeds=context.draw_seeds(),
            num_targets=int(num_targets),
        )

    def gradients(
        self,
        batch: Batch,
        rows: StepRows,
        read_items: Sequence[ReadItems] | None = None,
        *,
        weight: float = 1.0,
    ) -> NextItemGradients:
        """This rank's part of the mean loss times `weight`; `read_items` has a function a shard of rows.

        The mean is over the targets of all ranks.
        """
        context = self.context
        readers = read_items or [self._read_items] * len(batch.rows)
        leaves = [rows.leaves(part) for part in batch.rows]
        embedded = context.each(
            self._embed, list(zip(batch.rows, leaves, batch.row_seeds, readers, strict=True))
        )
        item_RD = self._exchange(batch, [shard.vector_ND.detach() for shard in embedded])
        tasks = [task for task in zip(batch.windows, batch.window_seeds, strict=True) if task[0]]
        read = context.each(
            self._read_windows, [(part, seed, item_RD, batch, weight) for part, seed in tasks]
        )
        grad_RD = sum_present([gradient for _, _, gradient in read])
        grad_RD = torch.zeros_like(item_RD) if grad_RD is None else grad_RD
        context.ranks.sum_(grad_RD)
        grads_ND = grad_RD[batch.own_place].tensor_split(len(batch.rows))
        found = context.each(_flow_back, list(zip(embedded, grads_ND, strict=True)))
        loss = torch.stack([item_RD.new_zeros(()), *(loss for loss, _, _ in read)]).sum()
        return self._sorted(loss, [each for _, each, _ in read], embedded, found)

    def _exchange(self, batch: Batch, vectors: Sequence[Tensor]) -> Tensor:
        """The vectors of all ranks' rows, and a last row of zeros for all other rows. Shape [R, D]."""
        own_ND = torch.cat(list(vectors))
        if self.context.ranks.size == 1:
            return torch.cat([own_ND, own_ND.new_zeros(1, own_ND.shape[1])])
        item_RD = own_ND.new_zeros(len(batch.softmax.rows) + 1, own_ND.shape[1])
        item_RD[batch.own_place] = own_ND
        self.context.ranks.sum_(item_RD)
        return item_RD

    def _sorted(
        self,
        loss: Tensor,
        of_users: Sequence[Gradients],
        embedded: Sequence[EmbeddedShard],
        found: Sequence[Gradients],
    ) -> NextItemGradients:
        num = len(self.context.item_parameters)
        ends = [num + len(shard.tables.vectors.tensors()) for shard in embedded]
        return NextItemGradients(
            loss=loss,
            of_users=of_users,
            of_items=[gradients[:num] for gradients in found],
            of_tables=[
                ShardGradient(place_M=shard.tables.place_M, gradients=gradients[num:end])
                for shard, gradients, end in zip(embedded, found, ends, strict=True)
            ],
            further=[gradients[end:] for gradients, end in zip(found, ends, strict=True)],
        )

    def _read_items(self, rows: Tensor, tables: TableVectors) -> tuple[ItemInputs, Sequence[Tensor]]:
        return self.context.model.item_inputs(rows, tables=tables), ()

    def _embed(self, rows: Tensor, tables: ShardLeaves, seed: int, read_items: ReadItems) -> EmbeddedShard:
        context = self.context
        with context.random_stream(seed), context.autocast():
            inputs, further = read_items(rows, tables.vectors)
            vector_ND = context.model.embed_inputs(inputs).vector_ND
        leaves = [*context.item_parameters, *tables.vectors.tensors(), *further]
        return EmbeddedShard(vector_ND=vector_ND, tables=tables, leaves=leaves)

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
            place_BL = to_device(batch.place(item_BL), model.device)
            state_BPD = model.user_tower.states(item_RD[place_BL], inputs)
        where = target_mask(windows, item_BL.shape[1])
        # Their number is known on the host; a mask on the device would make the host wait for it.
        row_P, event_P = (to_device(place_P, model.device) for place_P in where.nonzero(as_tuple=True))
        state_PD = state_BPD[row_P, event_P] / model.temperature
        return batch.softmax.loss(state_PD, item_RD, item_BL[where], batch.place)


def _flow_back(shard: EmbeddedShard, grad_ND: Tensor) -> Gradients:
    """The gradient of a shard's vectors as the gradients of its leaves."""
    gradients: Gradients = torch.autograd.grad(
        shard.vector_ND, shard.leaves, grad_outputs=grad_ND.to(shard.vector_ND.dtype), allow_unused=True
    )
    return gradients
