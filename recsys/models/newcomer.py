"""Where a new item stands: a linear map from its content to the vector that its events would give it.

Legend: N items, W inputs, D width, C values of a category field.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from recsys.ids import NUM_RESERVED
from recsys.models.item_tower import ItemTowerSpec

MAX_VALUES = 256  # a category field with more values has too few items a value for a map of its own
LARGEST = 3.0  # standardised inputs are cut here, in deviations


def settle(vector_ND: Tensor, newcomer_ND: Tensor, known_N: Tensor) -> Tensor:
    """The tower's vectors of items that are known, the newcomer head's of all others."""
    return torch.where(known_N.unsqueeze(-1), vector_ND, newcomer_ND)


class NewcomerHead(nn.Module):
    """Solved in closed form (training/newcomers.py), never trained by gradients.

    The vector that it gives is not of unit length: content that says little gives a short one, which
    keeps an item of which little is known from standing above one that surely fits.
    """

    def __init__(self, spec: ItemTowerSpec) -> None:
        super().__init__()
        self.modalities = tuple(spec.dense_dims)
        self.fields = tuple(name for name, size in spec.category_sizes.items() if size <= MAX_VALUES)
        for name in self.fields:
            one_hot = torch.eye(spec.category_sizes[name])
            one_hot[:NUM_RESERVED] = 0.0
            self.register_buffer(f"one_hot_{name}", one_hot, persistent=False)
        width = sum(spec.dense_dims.values()) + sum(spec.category_sizes[name] for name in self.fields)
        self.linear = nn.Linear(width, spec.dim).requires_grad_(False)

    def inputs(self, dense: Mapping[str, tuple[Tensor, Tensor]], ids_NC: Mapping[str, Tensor]) -> Tensor:
        """Standardised vectors and values of the categories, each part at about unit length. [N, W]."""
        parts = []
        for name in self.modalities:
            vector_NM, has_N = dense[name]
            cut_NM = vector_NM.clamp(-LARGEST, LARGEST) * has_N.unsqueeze(-1).to(vector_NM.dtype)
            parts.append(cut_NM / cut_NM.shape[1] ** 0.5)
        for name in self.fields:
            count_NV = self.get_buffer(f"one_hot_{name}")[ids_NC[name]].sum(1)
            parts.append(count_NV / count_NV.sum(1, keepdim=True).clamp(min=1.0).sqrt())
        return torch.cat(parts, dim=1)

    def forward(self, dense: Mapping[str, tuple[Tensor, Tensor]], ids_NC: Mapping[str, Tensor]) -> Tensor:
        """Vectors [N, D] of items as if they were new."""
        vector_ND: Tensor = self.linear(self.inputs(dense, ids_NC))
        return vector_ND
