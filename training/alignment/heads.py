"""Heads as torch modules: vectors of one encoder to unit vectors of the shared space.

Legend: B vectors, D width of an encoder, H hidden width, S width of the shared space.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recsys.arrays import Floats
from training.alignment.closed_form import LinearMap

EPSILON = 1e-6  # as in recsys.arrays.unit: vectors shorter than this are no directions


class Head(nn.Module):
    """Vectors [B, D] to unit vectors [B, dim]; zeros stay zeros."""

    dim: int


class IdentityHead(Head):
    """The encoder's own space, where it was aligned in pretraining."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, vector_BD: Tensor) -> Tensor:
        return F.normalize(vector_BD, dim=-1, eps=EPSILON)


class LinearHead(Head):
    """A head of the closed form."""

    mean_D: Tensor
    weight_DS: Tensor

    def __init__(self, linear: LinearMap) -> None:
        super().__init__()
        self.register_buffer("mean_D", torch.from_numpy(linear.mean_D))
        self.register_buffer("weight_DS", torch.from_numpy(linear.weight_DS))
        self.dim = linear.weight_DS.shape[1]

    def forward(self, vector_BD: Tensor) -> Tensor:
        return F.normalize((vector_BD - self.mean_D) @ self.weight_DS, dim=-1, eps=EPSILON)


class MlpHead(Head):
    """A head of the closed form, and what a hidden layer adds to it.

    With u the closed form's unit vector of x, the head is A u + B gelu(C sqrt(S) u) at unit length. A starts
    as the identity and B as zeros, so that training starts from the closed form.
    """

    mean_D: Tensor
    weight_DS: Tensor

    def __init__(self, start: LinearMap, *, hidden_dim: int, dropout: float) -> None:
        super().__init__()
        self.register_buffer("mean_D", torch.from_numpy(start.mean_D))
        self.register_buffer("weight_DS", torch.from_numpy(start.weight_DS))
        self.dim, self.dropout = start.weight_DS.shape[1], dropout
        self.hidden = nn.Linear(self.dim, hidden_dim)
        self.output = nn.Linear(hidden_dim, self.dim)
        self.linear = nn.Linear(self.dim, self.dim, bias=False)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)
        nn.init.eye_(self.linear.weight)

    def forward(self, vector_BD: Tensor) -> Tensor:
        start_BS = F.normalize((vector_BD - self.mean_D) @ self.weight_DS, dim=-1, eps=EPSILON)
        scaled_BS = F.dropout(start_BS * self.dim**0.5, self.dropout, self.training)
        hidden_BH = F.dropout(F.gelu(self.hidden(scaled_BS)), self.dropout, self.training)
        return F.normalize(self.linear(scaled_BS) + self.output(hidden_BH), dim=-1, eps=EPSILON)


class JointHead(Head):
    """Several heads in one: their unit vectors side by side, so that a cosine is the weighted mean of theirs.

    With weights w_m that sum to 1, the output is [sqrt(w_1) h_1(x), sqrt(w_2) h_2(x), ...].
    """

    def __init__(self, heads: Sequence[Head], weights: Sequence[float]) -> None:
        super().__init__()
        total = sum(weights)
        self.heads = nn.ModuleList(heads)
        self.factors = [(weight / total) ** 0.5 for weight in weights]
        self.dim = sum(head.dim for head in heads)

    def forward(self, vector_BD: Tensor) -> Tensor:
        parts = [factor * head(vector_BD) for factor, head in zip(self.factors, self.heads, strict=True)]
        return torch.cat(parts, dim=-1)


class HeadGraph(nn.Module):
    """A head with the positional inputs of `write_graph`."""

    def __init__(self, head: Head) -> None:
        super().__init__()
        self.head = head

    def forward(self, *inputs: Tensor) -> Tensor:
        vector_BS: Tensor = self.head(inputs[0])
        return vector_BS


def project(head: Head, vectors_BD: Floats) -> Floats:
    """Unit vectors [B, S] of an array."""
    with torch.no_grad():
        projected: Floats = head.eval()(torch.from_numpy(vectors_BD)).numpy()
    return projected
