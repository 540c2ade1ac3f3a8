"""The cold-start head: an item vector from content alone.

A linear map of the content and of its similarity to M landmarks, warm items that are sampled at random. The
similarity is the fourth power of a cosine: a polynomial kernel (Cortes and Vapnik 1995) in the form of
Williams and Seeger 2001, "Using the Nyström Method". With t the item tower's vector, the vector of a cold
item is

    (1 - TOWER_WEIGHT) * regression(content) + TOWER_WEIGHT * t

Legend: N items, W inputs, M landmarks, D width, C values of an item in a category field, V values of a field.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recsys.ids import NUM_RESERVED
from recsys.models.item_tower import ItemTowerSpec

# Constants: they are part of the exported graph's form, and validation hardly depends on them.
MAX_VALUES = 256  # a category field with more values is a look-up table instead of one-hot inputs
MAX_DEVIATIONS = 3.0  # at which standardised inputs are clipped
TOWER_WEIGHT = 1 / 3  # of the item tower's vector in the blend


def replace_cold(vector_ND: Tensor, cold_ND: Tensor, warm_N: Tensor) -> Tensor:
    """`vector_ND` for warm items and `cold_ND` for cold items. Shape [N, D]."""
    return torch.where(warm_N.unsqueeze(-1), vector_ND, cold_ND)


class ColdStartHead(nn.Module):
    """Solved in closed form (training/cold_start/content_regression.py), never trained by gradients.

    Its vectors do not have unit length. Content that predicts little gives a short vector, so that the score
    of the item is near zero for every user.
    """

    landmark_MW: Tensor
    gain: Tensor

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
        self.register_buffer("gain", torch.tensor(0.0))  # factor of the kernel
        self.linear = nn.Linear(width + num_landmarks, spec.dim).requires_grad_(False)

    def inputs(self, dense: Mapping[str, tuple[Tensor, Tensor]], ids_NC: Mapping[str, Tensor]) -> Tensor:
        """Standardised vectors and values of narrow fields, each of about unit length. Shape [N, W]."""
        parts = []
        for name in self.modalities:
            vector_NM, has_N = dense[name]
            cut_NM = vector_NM.clamp(-MAX_DEVIATIONS, MAX_DEVIATIONS) * has_N.unsqueeze(-1).to(
                vector_NM.dtype
            )
            parts.append(cut_NM / cut_NM.shape[1] ** 0.5)
        for name in self.narrow:
            count_NV = self.get_buffer(f"one_hot_{name}")[ids_NC[name]].sum(1)
            parts.append(count_NV / count_NV.sum(1, keepdim=True).clamp(min=1.0).sqrt())
        return torch.cat(parts, dim=1)

    def with_kernel(self, input_NW: Tensor) -> Tensor:
        """The inputs, followed by their similarity to each landmark. Shape [N, W + M]."""
        cosine_NM = F.normalize(input_NW, dim=1, eps=1e-6) @ self.landmark_MW.T
        square_NM = cosine_NM.clamp(min=0.0) ** 2
        return torch.cat([input_NW, self.gain * square_NM * square_NM], dim=1)

    def regress(self, dense: Mapping[str, tuple[Tensor, Tensor]], ids_NC: Mapping[str, Tensor]) -> Tensor:
        """The regression's vectors of items from content alone. Shape [N, D]."""
        vector_ND: Tensor = self.linear(self.with_kernel(self.inputs(dense, ids_NC)))
        for name in self.wide:
            ids = ids_NC[name]
            vector_ND = vector_ND + self.get_buffer(f"values_{name}")[ids].sum(1) * inverse_root_count(
                ids
            ).unsqueeze(1)
        return vector_ND

    def forward(
        self,
        dense: Mapping[str, tuple[Tensor, Tensor]],
        ids_NC: Mapping[str, Tensor],
        tower_ND: Tensor,
    ) -> Tensor:
        """Vectors of cold items; `tower_ND` are the item tower's vectors of the same items. Shape [N, D]."""
        return blend(self.regress(dense, ids_NC), tower_ND)


def blend(regressed_ND: Tensor, tower_ND: Tensor) -> Tensor:
    """(1 - TOWER_WEIGHT) * regressed + TOWER_WEIGHT * tower. Shape [N, D]."""
    return (1.0 - TOWER_WEIGHT) * regressed_ND + TOWER_WEIGHT * tower_ND


def inverse_root_count(ids_NC: Tensor) -> Tensor:
    """1 / sqrt(number of the item's values), which scales its multi-hot row to length 1. Shape [N]."""
    return (ids_NC >= NUM_RESERVED).sum(1).clamp(min=1).to(torch.float32).rsqrt()
