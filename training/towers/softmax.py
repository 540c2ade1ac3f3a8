"""The softmax of next-item prediction: full over the trained items, or sampled with logQ correction.

Both have one interface. `draw` gives the softmax of one step: the catalogue rows that the step embeds, and
the mean cross entropy of predictions over these rows.

Legend: P predictions, N items, R embedded rows and a last row of zeros, D width, J negatives.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from recsys.config import TrainConfig
from recsys.ids import NUM_RESERVED
from recsys.models import chunked_cross_entropy, sampled_cross_entropy, to_device
from training.sequences import Window
from training.towers.context import StepContext
from training.towers.negative_sampling import HardNegatives, Negatives, NegativeSampler


class StepSoftmax(Protocol):
    """The softmax of one step."""

    @property
    def rows(self) -> Tensor:
        """Catalogue rows to embed, ascending."""
        ...

    def loss(self, state_PD: Tensor, item_RD: Tensor, target_row_P: Tensor, place_N: Tensor) -> Tensor:
        """Mean cross entropy of states, divided by the temperature, and their target's catalogue rows.

        `place_N` is the place of a catalogue row in `item_RD`.
        """
        ...


class Softmax(Protocol):
    num_item_shards: int  # in which the rows are embedded

    def start_epoch(self) -> None: ...

    def draw(self, windows: list[Window]) -> StepSoftmax: ...


def build_softmax(context: StepContext, config: TrainConfig, *, index_kind: str) -> Softmax:
    """Sampled above `train.sampled_above` trained items, else full.

    Raises `ConfigError` for hard negatives of a full softmax.
    """
    model, rows = context.model, context.trained_rows
    is_sampled = len(rows) > config.sampled_above
    hard = HardNegatives.of(model, rows, config, is_sampled=is_sampled, index_kind=index_kind)
    if not is_sampled:
        return FullSoftmax(context, config.loss_chunk)
    return SampledSoftmax(context, NegativeSampler(model.features, rows, config.num_negatives, hard))


class FullSoftmax:
    """Over all trained items, `chunk` predictions at a time; every step's softmax is the same."""

    def __init__(self, context: StepContext, chunk: int) -> None:
        self.context, self.chunk = context, chunk
        self.rows, self.num_item_shards = context.trained_rows, context.num_shards

    def start_epoch(self) -> None: ...

    def draw(self, windows: list[Window]) -> "FullSoftmax":
        return self

    def loss(self, state_PD: Tensor, item_RD: Tensor, target_row_P: Tensor, place_N: Tensor) -> Tensor:
        return chunked_cross_entropy(
            state_PD,
            item_RD[:-1].to(self.context.dtype),
            to_device(place_N[target_row_P], state_PD.device),
            temperature=1.0,
            chunk=self.chunk,
        )


class SampledSoftmax:
    """Over the target and the negatives of the step.

    Its tables are large, and so is a dense gradient of them: rows are embedded in one shard.
    """

    num_item_shards = 1

    def __init__(self, context: StepContext, sampler: NegativeSampler) -> None:
        self.context, self.sampler = context, sampler

    def start_epoch(self) -> None:
        """Renew the index of hard negatives."""
        if self.sampler.hard is not None:
            self.sampler.hard.refresh()

    def draw(self, windows: list[Window]) -> "SampledStep":
        negatives = self.sampler.draw(windows)
        items = [torch.from_numpy(window.history.item) for window in windows]
        rows = torch.unique(torch.cat([*items, negatives.row_J]))
        return SampledStep(rows=rows[rows >= NUM_RESERVED], negatives=negatives, dtype=self.context.dtype)


@dataclass(frozen=True, kw_only=True)
class SampledStep:
    """The sampled softmax of one step; its rows are the items of the windows and the negatives."""

    rows: Tensor
    negatives: Negatives
    dtype: torch.dtype

    def loss(self, state_PD: Tensor, item_RD: Tensor, target_row_P: Tensor, place_N: Tensor) -> Tensor:
        device, negative_J, log_q_N = state_PD.device, self.negatives.row_J, self.negatives.log_q_N
        return sampled_cross_entropy(
            state_PD,
            item_RD[to_device(place_N[target_row_P], device)].to(self.dtype),
            item_RD[to_device(place_N[negative_J], device)].to(self.dtype),
            target_id_P=to_device(target_row_P, device),
            negative_id_J=to_device(negative_J, device),
            target_log_q_P=to_device(log_q_N[target_row_P], device),
            negative_log_q_J=to_device(log_q_N[negative_J], device),
            temperature=1.0,
        )
