"""TorchRec's unsharded collections on torch's own embeddings: same names of parameters, same results."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import torch
from torch import Tensor, nn


class PoolingType(Enum):
    SUM = "sum"
    MEAN = "mean"


@dataclass(kw_only=True)
class EmbeddingConfig:
    name: str
    feature_names: Sequence[str]
    num_embeddings: int
    embedding_dim: int
    init_fn: Callable[[Tensor], Any] | None = None


@dataclass(kw_only=True)
class EmbeddingBagConfig(EmbeddingConfig):
    pooling: PoolingType = PoolingType.SUM


class JaggedTensor:
    def __init__(self, values: Tensor) -> None:
        self._values = values

    def values(self) -> Tensor:
        return self._values


class KeyedJaggedTensor:
    """Values of several keys behind one another, `lengths` of each row of each key."""

    def __init__(
        self,
        keys: Sequence[str],
        values: Tensor,
        lengths: Tensor,
        stride: int | None = None,
        length_per_key: list[int] | None = None,
        offset_per_key: list[int] | None = None,
    ) -> None:
        self._keys, self._values, self._lengths = list(keys), values, lengths
        self._stride = len(lengths) // len(self._keys) if stride is None else stride
        self._length_per_key = length_per_key

    def keys(self) -> list[str]:
        return self._keys

    def values(self) -> Tensor:
        return self._values

    def lengths(self) -> Tensor:
        return self._lengths

    def stride(self) -> int:
        return self._stride

    def length_per_key(self) -> list[int]:
        if self._length_per_key is None:
            self._length_per_key = self._lengths.view(len(self._keys), -1).sum(1).tolist()
        return self._length_per_key

    def offset_per_key(self) -> list[int]:
        return [sum(self.length_per_key()[:key]) for key in range(len(self._keys) + 1)]

    def parts(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Values and lengths by key."""
        values = self._values.split(self.length_per_key())
        lengths = self._lengths.view(len(self._keys), -1).unbind(0)
        return {key: (values[at], lengths[at]) for at, key in enumerate(self._keys)}


def _initialised(table: nn.Embedding | nn.EmbeddingBag, config: EmbeddingConfig) -> Any:
    if config.init_fn is not None:
        with torch.no_grad():
            config.init_fn(table.weight)
    return table


class EmbeddingCollection(nn.Module):
    def __init__(self, tables: Sequence[EmbeddingConfig], device: torch.device | None = None) -> None:
        super().__init__()
        self.configs = list(tables)
        self.embeddings = nn.ModuleDict(
            {
                each.name: _initialised(
                    nn.Embedding(each.num_embeddings, each.embedding_dim, device=device), each
                )
                for each in tables
            }
        )

    def forward(self, features: KeyedJaggedTensor) -> dict[str, JaggedTensor]:
        parts = features.parts()
        return {
            key: JaggedTensor(self.embeddings[each.name](parts[key][0]))
            for each in self.configs
            for key in each.feature_names
        }


class EmbeddingBagCollection(nn.Module):
    def __init__(self, tables: Sequence[EmbeddingBagConfig], device: torch.device | None = None) -> None:
        super().__init__()
        self.configs = list(tables)
        self.embedding_bags = nn.ModuleDict(
            {
                each.name: _initialised(
                    nn.EmbeddingBag(
                        each.num_embeddings,
                        each.embedding_dim,
                        mode=each.pooling.value,
                        include_last_offset=True,
                        device=device,
                    ),
                    each,
                )
                for each in tables
            }
        )

    def forward(self, features: KeyedJaggedTensor) -> dict[str, Tensor]:
        parts, pooled = features.parts(), {}
        for each in self.configs:
            for key in each.feature_names:
                values, lengths = parts[key]
                offsets = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)]).to(values.dtype)
                pooled[key] = self.embedding_bags[each.name](values, offsets)
        return pooled
