"""The item tower: every present modality becomes a token, the tokens are fused into the item's vector.

Legend: N items, M width of a modality, T tokens, D model width, C values of a category field.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recsys.config import ItemTowerConfig
from recsys.models.dropout import Dropout, current_generator
from recsys.models.fusion import build_fusion

ID_TOKEN = "id"
ROWS_AT_ONCE = 65_536  # of a memory-mapped array


@dataclass(frozen=True, kw_only=True)
class ItemTowerSpec:
    """Names and sizes of the tower's inputs; the tower is built from them and its configuration."""

    dim: int
    dense_dims: Mapping[str, int]  # modality -> M
    category_sizes: Mapping[str, int]  # field -> size of its vocabulary, reserved ids included
    category_widths: Mapping[str, int]  # field -> C
    num_items: int  # rows of the id table
    has_id: bool

    @property
    def token_names(self) -> tuple[str, ...]:
        """Names of the tokens in their order along T."""
        return (*self.dense_dims, *self.category_sizes, *((ID_TOKEN,) if self.has_id else ()))


class ItemInputs(NamedTuple):
    """Inputs of the tower. `dense`, `category` and `identity` hold vectors [N, .] and presence [N]."""

    dense: Mapping[str, tuple[Tensor, Tensor]]  # standardised
    category: Mapping[str, tuple[Tensor, Tensor]]
    identity: tuple[Tensor, Tensor] | None
    warm: Tensor  # [N] bool: with training events; the cold-start head embeds all other items
    values: Mapping[str, Tensor]  # ids of the category fields [N, C], which the cold-start head reads

    def replaced(
        self, tokens: Mapping[str, tuple[Tensor, Tensor]], values: Mapping[str, Tensor]
    ) -> "ItemInputs":
        """A copy in which `tokens` (token name -> vectors and presence) replace the inputs of the same name.

        The ids of a replaced category field are those of `values`, or zeros where `values` does not name it.
        """
        return ItemInputs(
            dense={name: tokens.get(name, pair) for name, pair in self.dense.items()},
            category={name: tokens.get(name, pair) for name, pair in self.category.items()},
            identity=None if self.identity is None else tokens.get(ID_TOKEN, self.identity),
            warm=self.warm,
            values={
                name: values.get(name, torch.zeros_like(ids)) if name in tokens else ids
                for name, ids in self.values.items()
            },
        )

    def pair(self, token: str) -> tuple[Tensor, Tensor]:
        """Vectors and presence of one token."""
        if token == ID_TOKEN and self.identity is not None:
            return self.identity
        return self.dense[token] if token in self.dense else self.category[token]


class ItemOutput(NamedTuple):
    vector_ND: Tensor  # unit length; of any length where the cold-start head embeds the item
    token_NTD: Tensor
    mask_NT: Tensor


class Standardise(nn.Module):
    """Subtracts the mean and divides by the standard deviation, both over the warm items.

    Pretrained vectors of different items are nearly parallel: acoustic vectors of two recordings have a
    cosine above 0.95. The mean, which all items share, says nothing about preferences.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("std", torch.ones(width))

    def fit(self, vector_NM: Tensor) -> None:
        """Set mean and standard deviation from `vector_NM`.

        The deviation of a dimension is at least a tenth of the mean deviation, so that the noise of a nearly
        constant dimension is not enlarged.
        """
        if len(vector_NM) > 1:
            self.mean.copy_(vector_NM.mean(0))
            std_M = vector_NM.std(0)
            self.std.copy_(torch.maximum(std_M, 0.1 * std_M.mean()).clamp(min=1e-6))

    def fit_rows(self, array: npt.NDArray[Any], rows: npt.NDArray[Any]) -> None:
        """`fit` on rows of an array that need not fit in memory."""
        if len(rows) <= ROWS_AT_ONCE:
            self.fit(torch.from_numpy(array[rows]).float())
            return
        parts = np.array_split(rows, math.ceil(len(rows) / ROWS_AT_ONCE))
        mean_M = sum(array[part].sum(0, dtype=np.float64) for part in parts) / len(rows)
        square_M = sum(((array[part] - mean_M) ** 2).sum(0) for part in parts)
        std_M = torch.from_numpy(np.sqrt(square_M / (len(rows) - 1)))
        self.mean.copy_(torch.from_numpy(mean_M))
        self.std.copy_(torch.maximum(std_M, 0.1 * std_M.mean()).clamp(min=1e-6))

    def forward(self, vector_NM: Tensor) -> Tensor:
        return (vector_NM - self.mean) / self.std


class MappedVectors:
    """Vectors of a modality in a memory-mapped file. Rows are read and standardised when they are taken.

    They take the place of a tensor of standardised vectors. They stay in the file on every device.
    """

    device = torch.device("cpu")
    nbytes = 0

    def __init__(self, array: npt.NDArray[Any], scale: Standardise) -> None:
        self.array = array
        self.mean_M, self.std_M = scale.mean.cpu().clone(), scale.std.cpu().clone()

    def __getitem__(self, row_N: Tensor) -> Tensor:
        return (torch.from_numpy(self.array[row_N.numpy()]).float() - self.mean_M) / self.std_M

    def to(self, device: torch.device) -> "MappedVectors":
        return self


class Projection(nn.Module):
    """Linear map of a modality, with dropout of the same input dimensions for all items of a step.

    The mask is applied to the weights once a step. A mask for every item's vector would be most of the
    cost of dropout over a whole catalogue.
    """

    def __init__(self, width: int, dim: int, dropout: float) -> None:
        super().__init__()
        self.linear = nn.Linear(width, dim)
        self.dropout = Dropout(dropout)

    def forward(self, vector_NM: Tensor) -> Tensor:
        weight_DM = self.linear.weight
        if self.training:
            weight_DM = weight_DM * self.dropout(torch.ones(weight_DM.shape[1], device=weight_DM.device))
        return F.linear(vector_NM, weight_DM, self.linear.bias)


class ItemTower(nn.Module):
    """Maps embeddings and frozen modality vectors of items to item vectors of unit length."""

    def __init__(self, spec: ItemTowerSpec, config: ItemTowerConfig) -> None:
        super().__init__()
        self.spec, self.config = spec, config
        dim = spec.dim
        self.project = nn.ModuleDict(
            {
                name: nn.Sequential(Projection(width, dim, config.dropout), nn.LayerNorm(dim))
                for name, width in spec.dense_dims.items()
            }
        )
        self.norm = nn.ModuleDict(
            {name: nn.LayerNorm(dim) for name in spec.token_names if name not in spec.dense_dims}
        )
        self.type_embedding_TD = nn.Parameter(torch.randn(len(spec.token_names), dim) * 0.02)
        self.fusion = build_fusion(config.fusion, dim, config.num_heads)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(dim),
            nn.Linear(dim, 2 * dim),
            nn.GELU(),
            Dropout(config.dropout),
            nn.Linear(2 * dim, dim),
        )

    def forward(
        self,
        dense: Mapping[str, tuple[Tensor, Tensor]],
        category: Mapping[str, tuple[Tensor, Tensor]],
        identity: tuple[Tensor, Tensor] | None,
    ) -> ItemOutput:
        """Each value is a pair of vectors [N, .] and presence [N] (bool); `dense` is standardised."""
        token_NTD, mask_NT = self.tokens(dense, category, identity)
        if self.training:
            mask_NT = drop_tokens(mask_NT, self._dropout_rates(mask_NT))
        return ItemOutput(self.fuse(token_NTD, mask_NT), token_NTD, mask_NT)

    def fuse(self, token_NTD: Tensor, mask_NT: Tensor) -> Tensor:
        """Item vectors [N, D] of unit length from the tokens with a true `mask_NT`."""
        fused_ND = self.fusion(token_NTD, mask_NT)
        vector_ND = fused_ND + self.feed_forward(fused_ND)
        return F.normalize(vector_ND, dim=-1, eps=1e-6)

    def tokens(
        self,
        dense: Mapping[str, tuple[Tensor, Tensor]],
        category: Mapping[str, tuple[Tensor, Tensor]],
        identity: tuple[Tensor, Tensor] | None,
    ) -> tuple[Tensor, Tensor]:
        """Tokens [N, T, D], zeros where absent, and their presence [N, T]; inputs as of `forward`."""
        tokens, masks = [], []
        for name, projection in self.project.items():
            vector_NM, has_N = dense[name]
            tokens.append(projection(vector_NM))
            masks.append(has_N)
        for name, norm in self.norm.items():
            vector_ND, has_N = identity if name == ID_TOKEN and identity else category[name]
            tokens.append(norm(vector_ND))
            masks.append(has_N)
        mask_NT = torch.stack(masks, dim=1)
        token_NTD = torch.stack(tokens, dim=1) + self.type_embedding_TD
        token_NTD = token_NTD * mask_NT.unsqueeze(-1).to(self.type_embedding_TD.dtype)
        return token_NTD, mask_NT

    def _dropout_rates(self, mask_NT: Tensor) -> Tensor:
        """The rate at which training drops each token; 0 for the id, which the retriever drops. Shape [T]."""
        rate_T = torch.full((mask_NT.shape[1],), self.config.modality_dropout, device=mask_NT.device)
        if self.spec.has_id:
            rate_T[-1] = 0.0
        return rate_T


def drop_tokens(mask_NT: Tensor, rate_T: Tensor) -> Tensor:
    """Drop each token with probability `rate_T`; an item that would lose all of its tokens keeps them all."""
    uniform_NT = torch.rand(mask_NT.shape, generator=current_generator(), device=mask_NT.device)
    kept_NT = mask_NT & (uniform_NT >= rate_T)
    return torch.where(kept_NT.any(1, keepdim=True), kept_NT, mask_NT)
