"""Where a new item stands: a map from its content to the vector that its events would give it.

Ridge regression on the content itself and on its likeness to landmarks, which are known items drawn by lot:
the fourth power of a cosine, the kernel of Cortes and Vapnik 1995 in the form of Williams and Seeger 2001,
"Using the Nyström Method". What the item tower makes of the content joins in with a fixed share.

Legend: N items, W inputs, M landmarks, D width, C values of an item in a category field, V values of a field.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recsys.ids import NUM_RESERVED
from recsys.models.item_tower import ItemTowerSpec

MAX_VALUES = 256  # a category field with more values is looked up instead of spread out
LARGEST = 3.0  # standardised inputs are cut here, in deviations
TOWER_SHARE = 1 / 3


def settle(vector_ND: Tensor, newcomer_ND: Tensor, known_N: Tensor) -> Tensor:
    """The tower's vectors of items that are known, the newcomer head's of all others."""
    return torch.where(known_N.unsqueeze(-1), vector_ND, newcomer_ND)


class NewcomerHead(nn.Module):
    """Solved in closed form (training/cold_start/content_regression.py), never trained by gradients.

    The vector that it gives is not of unit length: content that says little gives a short one, which
    keeps an item of which little is known from standing above one that surely fits.
    """

    landmark_MW: Tensor
    gain: Tensor
    length: Tensor

    def __init__(self, spec: ItemTowerSpec, *, num_landmarks: int = 0) -> None:
        super().__init__()
        self.modalities = tuple(spec.dense_dims)
        self.narrow = tuple(name for name, size in spec.category_sizes.items() if size <= MAX_VALUES)
        self.wide = tuple(name for name in spec.category_sizes if name not in self.narrow)
        for name in self.narrow:
            one_hot = torch.eye(spec.category_sizes[name])
            one_hot[:NUM_RESERVED] = 0.0
            self.register_buffer(f"one_hot_{name}", one_hot, persistent=False)
        for name in self.wide:
            self.register_buffer(f"values_{name}", torch.zeros(spec.category_sizes[name], spec.dim))
        width = sum(spec.dense_dims.values()) + sum(spec.category_sizes[name] for name in self.narrow)
        self.register_buffer("landmark_MW", torch.zeros(num_landmarks, width))
        self.register_buffer("gain", torch.tensor(0.0))  # of the kernel
        self.register_buffer("length", torch.tensor(1.0))  # what every vector is multiplied by
        self.linear = nn.Linear(width + num_landmarks, spec.dim).requires_grad_(False)

    def inputs(self, dense: Mapping[str, tuple[Tensor, Tensor]], ids_NC: Mapping[str, Tensor]) -> Tensor:
        """Standardised vectors and values of narrow fields, each part at about unit length. [N, W]."""
        parts = []
        for name in self.modalities:
            vector_NM, has_N = dense[name]
            cut_NM = vector_NM.clamp(-LARGEST, LARGEST) * has_N.unsqueeze(-1).to(vector_NM.dtype)
            parts.append(cut_NM / cut_NM.shape[1] ** 0.5)
        for name in self.narrow:
            count_NV = self.get_buffer(f"one_hot_{name}")[ids_NC[name]].sum(1)
            parts.append(count_NV / count_NV.sum(1, keepdim=True).clamp(min=1.0).sqrt())
        return torch.cat(parts, dim=1)

    def spread(self, input_NW: Tensor) -> Tensor:
        """The inputs and, after them, how like they are to each landmark. [N, W + M]."""
        cosine_NM = F.normalize(input_NW, dim=1, eps=1e-6) @ self.landmark_MW.T
        square_NM = cosine_NM.clamp(min=0.0) ** 2
        return torch.cat([input_NW, self.gain * square_NM * square_NM], dim=1)

    def regress(self, dense: Mapping[str, tuple[Tensor, Tensor]], ids_NC: Mapping[str, Tensor]) -> Tensor:
        """What the regression says of items as if they were new. [N, D]."""
        vector_ND: Tensor = self.linear(self.spread(self.inputs(dense, ids_NC)))
        for name in self.wide:
            ids = ids_NC[name]
            vector_ND = vector_ND + self.get_buffer(f"values_{name}")[ids].sum(1) * share_of(ids).unsqueeze(1)
        return vector_ND

    def forward(
        self,
        dense: Mapping[str, tuple[Tensor, Tensor]],
        ids_NC: Mapping[str, Tensor],
        tower_ND: Tensor,
    ) -> Tensor:
        """Vectors [N, D] of items as if they were new; `tower_ND` are those of the item tower."""
        return self.length * blend(self.regress(dense, ids_NC), tower_ND)


def blend(regressed_ND: Tensor, tower_ND: Tensor) -> Tensor:
    """Both at about unit length."""
    return (1.0 - TOWER_SHARE) * regressed_ND + TOWER_SHARE * tower_ND


def share_of(ids_NC: Tensor) -> Tensor:
    """What each value of a wide field counts, so that all of an item's have unit length. Shape [N]."""
    return (ids_NC >= NUM_RESERVED).sum(1).clamp(min=1).to(torch.float32).rsqrt()
