"""The learned tables of items: id rows and categories. This module alone imports TorchRec.

The exported graphs contain no TorchRec. Their id rows are inputs, and their category tables are the
`PooledGather` modules of `export_categories`; a test compares the outputs of both.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torchrec import EmbeddingBagCollection, EmbeddingCollection, KeyedJaggedTensor
from torchrec.modules.embedding_configs import EmbeddingBagConfig, EmbeddingConfig, PoolingType

from recsys.ids import PAD
from recsys.models.devices import to_device

INIT_STD = 0.02


def _init(weight: Tensor) -> Tensor:
    return nn.init.normal_(weight, std=INIT_STD)


class ItemIdEmbedding(nn.Module):
    """One learned row for each item with training events; all other items share the row `UNKNOWN`."""

    def __init__(self, *, num_items: int, dim: int) -> None:
        super().__init__()
        config = EmbeddingConfig(
            name="item_id",
            feature_names=["item_id"],
            num_embeddings=num_items,
            embedding_dim=dim,
            init_fn=_init,
        )
        self.collection = EmbeddingCollection(tables=[config])

    def forward(self, row_N: Tensor) -> Tensor:
        num = len(row_N)
        jagged = KeyedJaggedTensor(
            keys=["item_id"],
            values=row_N,
            lengths=torch.ones_like(row_N, dtype=torch.int32),
            stride=num,
            length_per_key=[num],  # known here: TorchRec would read it back from the device
            offset_per_key=[0, num],
        )
        vector_ND: Tensor = self.collection(jagged)["item_id"].values()
        return vector_ND

    @property
    def weight(self) -> Tensor:
        """The whole table, [num_items, D]."""
        weight: Tensor = self.collection.embeddings["item_id"].weight
        return weight


class CategoryEmbedding(nn.Module):
    """For each category field, the mean of the embeddings of an item's values."""

    def __init__(self, *, sizes: Mapping[str, int], dim: int) -> None:
        super().__init__()
        self.fields = tuple(sizes)
        self.collection = EmbeddingBagCollection(
            tables=[
                EmbeddingBagConfig(
                    name=field,
                    feature_names=[field],
                    num_embeddings=size,
                    embedding_dim=dim,
                    pooling=PoolingType.MEAN,
                    init_fn=_init,
                )
                for field, size in sizes.items()
            ]
        )

    def forward(self, ids_NC: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Mean embeddings [N, D] by field; zeros where an item has no value.

        Ids in host memory are packed there and then moved to the tables' device: their number is known on
        the host, so that nothing is read back from the device.
        """
        present = [ids_NC[field] != PAD for field in self.fields]
        jagged = KeyedJaggedTensor(
            keys=list(self.fields),
            values=torch.cat([ids_NC[field][has] for field, has in zip(self.fields, present, strict=True)]),
            lengths=torch.cat([has.sum(1, dtype=torch.int32) for has in present]),
        )
        device = next(self.parameters()).device
        if jagged.values().device != device:
            jagged = _move(jagged, device)
        pooled = self.collection(jagged)
        return {field: pooled[field] for field in self.fields}

    def weight(self, field: str) -> Tensor:
        """The table of `field`, [size, D]."""
        weight: Tensor = self.collection.embedding_bags[field].weight
        return weight


def _move(jagged: KeyedJaggedTensor, device: torch.device) -> KeyedJaggedTensor:
    """`jagged` on `device`, with the lengths of its keys known on the host."""
    per_key = jagged.length_per_key()
    return KeyedJaggedTensor(
        keys=jagged.keys(),
        values=to_device(jagged.values(), device),
        lengths=to_device(jagged.lengths(), device),
        stride=jagged.stride(),
        length_per_key=per_key,
        offset_per_key=jagged.offset_per_key(),
    )


class PooledGather(nn.Module):
    """One category field of `CategoryEmbedding` without TorchRec: gather and mean, operators of ONNX."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight.detach().clone(), requires_grad=False)

    def forward(self, ids_NC: Tensor) -> Tensor:
        has_NC = (ids_NC != PAD).to(self.weight.dtype)
        sum_ND = (self.weight[ids_NC] * has_NC.unsqueeze(-1)).sum(1)
        return sum_ND / has_NC.sum(1, keepdim=True).clamp(min=1.0)


def export_categories(embedding: CategoryEmbedding) -> dict[str, PooledGather]:
    """The `PooledGather` of every field."""
    return {field: PooledGather(embedding.weight(field)) for field in embedding.fields}
