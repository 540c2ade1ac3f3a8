"""What a step hands to its shards and gets back from them, and sums of it in the shards' order."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor, nn

from training.sequences import Window
from training.towers.negative_sampling import Negatives

Gradients = Sequence[Tensor | None]


@dataclass(frozen=True, kw_only=True)
class Shards:
    """One step's work: rows of the catalogue and windows, a shard each, and the streams they draw from."""

    rows: Sequence[Tensor]
    windows: Sequence[list[Window]]
    row_seeds: Sequence[int]
    window_seeds: Sequence[int]
    place_N: Tensor  # of an item among the rows
    negatives: Negatives | None
    num_targets: int


@dataclass(frozen=True, kw_only=True)
class Embedded:
    """Vectors of a shard's rows, and where their gradient counts the modalities' vectors they are made of."""

    vector_ND: Tensor
    content: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Pass:
    """A loss, its gradients by shard, and of each shard of rows those of the modalities' vectors."""

    loss: float
    of_users: Sequence[Gradients]
    of_items: Sequence[Gradients]
    of_content: Sequence[Mapping[str, Tensor]]


def trainable(*modules: nn.Module) -> list[nn.Parameter]:
    return [p for module in modules for p in module.parameters() if p.requires_grad]


def summed(tensors: Sequence[Tensor | None]) -> Tensor | None:
    total: Tensor | None = None
    for tensor in tensors:
        if tensor is not None:
            total = tensor if total is None else total + tensor
    return total


def set_gradients(parameters: Sequence[nn.Parameter], shards: Sequence[Gradients]) -> None:
    for parameter, parts in zip(parameters, zip(*shards, strict=True), strict=True):
        parameter.grad = summed(parts)
