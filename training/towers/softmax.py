"""The softmax of next-item prediction: full over the trained items, or sampled with logQ correction.

Both have one interface. `draw` gives the softmax of one step: the catalogue rows that the step embeds, and
the mean cross entropy of predictions over these rows.

Legend: P predictions, R embedded rows and a last row of zeros, D width, J negatives.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from recsys.config import TrainConfig
from recsys.ids import NUM_RESERVED
from recsys.models import chunked_cross_entropy, sampled_cross_entropy, to_device
from training.sequences import Window
from training.towers.context import StepContext
from training.towers.negative_sampling import HardNegatives, Negatives, NegativeSampler, is_sampled

Place = Callable[[Tensor], Tensor]  # of catalogue rows among the embedded ones; the last of all for others


class StepSoftmax(Protocol):
    """The softmax of one step."""

    @property
    def rows(self) -> Tensor:
        """Catalogue rows that the ranks embed together, ascending."""
        ...

    def loss(self, state_PD: Tensor, item_RD: Tensor, target_row_P: Tensor, place: Place) -> Tensor:
        """Mean cross entropy of states, divided by the temperature, and their target's catalogue rows.

        `place` gives the rows of `item_RD` of catalogue rows.
        """
        ...


class Softmax(Protocol):
    def start_epoch(self) -> None: ...

    def draw(self, windows: list[Window]) -> StepSoftmax: ...


def build_softmax(context: StepContext, config: TrainConfig, *, index_kind: str) -> Softmax:
    """Sampled above `train.sampled_above` trained items, else full.

    Raises `ConfigError` for hard negatives of a full softmax.
    """
    hard = HardNegatives.of(context, config, index_kind=index_kind)
    if not is_sampled(context.model.features, config):
        return FullSoftmax(context, config.loss_chunk)
    features, rows = context.model.features, context.trained_rows
    sampler = NegativeSampler(features, rows, config.num_negatives, hard)
    return SampledSoftmax(context, sampler, config.loss_chunk)


class FullSoftmax:
    """Over all trained items, `chunk` predictions at a time; every step's softmax is the same."""

    def __init__(self, context: StepContext, chunk: int) -> None:
        self.context, self.chunk, self.rows = context, chunk, context.trained_rows

    def start_epoch(self) -> None: ...

    def draw(self, windows: list[Window]) -> "FullSoftmax":
        return self

    def loss(self, state_PD: Tensor, item_RD: Tensor, target_row_P: Tensor, place: Place) -> Tensor:
        return chunked_cross_entropy(
            state_PD,
            item_RD[:-1].to(self.context.dtype),
            to_device(place(target_row_P), state_PD.device),
            temperature=1.0,
            chunk=self.chunk,
        )


class SampledSoftmax:
    """Over the target and the negatives of the step, the same on all ranks; `chunk` predictions at a time."""

    def __init__(self, context: StepContext, sampler: NegativeSampler, chunk: int) -> None:
        self.context, self.sampler, self.chunk = context, sampler, chunk

    def start_epoch(self) -> None:
        """Renew the index of hard negatives."""
        if self.sampler.hard is not None:
            self.sampler.hard.refresh()

    def draw(self, windows: list[Window]) -> "SampledStep":
        negatives = self.sampler.draw(windows)
        none = torch.empty(0, dtype=torch.int64)
        items = [none, *(torch.from_numpy(window.history.item) for window in windows)]
        in_windows = self.context.ranks.gather(torch.unique(torch.cat(items)))
        rows = torch.unique(torch.cat([in_windows, negatives.row_J]))
        rows = rows[rows >= NUM_RESERVED]
        return SampledStep(rows=rows, negatives=negatives, dtype=self.context.dtype, chunk=self.chunk)


@dataclass(frozen=True, kw_only=True)
class SampledStep:
    """The sampled softmax of one step; its rows are the items of all ranks' windows and the negatives."""

    rows: Tensor
    negatives: Negatives
    dtype: torch.dtype
    chunk: int  # predictions at a time

    def loss(self, state_PD: Tensor, item_RD: Tensor, target_row_P: Tensor, place: Place) -> Tensor:
        device, negatives = state_PD.device, self.negatives
        return sampled_cross_entropy(
            state_PD,
            item_RD[to_device(place(target_row_P), device)].to(self.dtype),
            item_RD[to_device(place(negatives.row_J), device)].to(self.dtype),
            target_id_P=to_device(target_row_P, device),
            negative_id_J=to_device(negatives.row_J, device),
            target_log_q_P=to_device(negatives.log_q(target_row_P), device),
            negative_log_q_J=to_device(negatives.log_q(negatives.row_J), device),
            temperature=1.0,
            chunk=self.chunk,
        )
