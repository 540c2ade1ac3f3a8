"""Fusion of an item's tokens into one vector: attention, gated or mean, behind one interface.

Legend: N items, T tokens, D width, H heads.
"""

from typing import Literal

import torch
from torch import Tensor, nn

MASKED = -1e4  # large enough to vanish in a softmax, small enough for half precision


def masked_softmax(score: Tensor, mask: Tensor) -> Tensor:
    """Softmax over the last axis among the entries with a true `mask`; zeros where no entry has one."""
    weight = torch.softmax(score.masked_fill(~mask, MASKED), dim=-1)
    return weight * mask.to(weight.dtype)


class MeanFusion(nn.Module):
    """The plain mean of the present tokens."""

    def forward(self, token_NTD: Tensor, mask_NT: Tensor) -> Tensor:
        weight_NT = mask_NT.to(token_NTD.dtype)
        sum_ND = (token_NTD * weight_NT.unsqueeze(-1)).sum(1)
        return sum_ND / weight_NT.sum(1, keepdim=True).clamp(min=1.0)


class GatedFusion(nn.Module):
    """The weighted mean of the present tokens, with weight sigmoid(w . token + b)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gate = nn.Linear(dim, 1)

    def forward(self, token_NTD: Tensor, mask_NT: Tensor) -> Tensor:
        gate_NT = torch.sigmoid(self.gate(token_NTD).squeeze(-1)) * mask_NT.to(token_NTD.dtype)
        sum_ND = (token_NTD * gate_NT.unsqueeze(-1)).sum(1)
        return sum_ND / gate_NT.sum(1, keepdim=True).clamp(min=1e-6)


class AttentionFusion(nn.Module):
    """One learned query for each head attends to the present tokens; the tokens' mean is added."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads, self.head_dim = num_heads, dim // num_heads
        self.query = nn.Parameter(torch.randn(num_heads, self.head_dim) * self.head_dim**-0.5)
        self.key_value = nn.Linear(dim, 2 * dim)
        self.output = nn.Linear(dim, dim)

    def forward(self, token_NTD: Tensor, mask_NT: Tensor) -> Tensor:
        # The query is the same for all items. The score of a token is token . (key matrix^T query), so that
        # no key is computed. The value of the weighted sum is the weighted sum of the values.
        key_HdD, value_HdD = self.key_value.weight.unflatten(0, (2, self.num_heads, self.head_dim))
        key_query_HD = (self.query.unsqueeze(-1) * key_HdD).sum(1) * self.head_dim**-0.5
        weight_NHT = masked_softmax((token_NTD @ key_query_HD.T).transpose(1, 2), mask_NT.unsqueeze(1))
        read_HND = (weight_NHT @ token_NTD).transpose(0, 1)
        pooled_NHd = (read_HND @ value_HdD.transpose(1, 2)).transpose(0, 1)
        value_bias_Hd = self.key_value.bias[-self.num_heads * self.head_dim :].view(self.num_heads, -1)
        pooled_NHd = pooled_NHd + value_bias_Hd * weight_NHT.sum(-1, keepdim=True)
        mean_ND = MeanFusion()(token_NTD, mask_NT)
        return mean_ND + self.output(pooled_NHd.flatten(1))


def build_fusion(kind: Literal["attention", "mean", "gated"], dim: int, num_heads: int) -> nn.Module:
    """The fusion named `kind`: a module from tokens [N, T, D] and mask [N, T] to [N, D]."""
    if kind == "attention":
        return AttentionFusion(dim, num_heads)
    return GatedFusion(dim) if kind == "gated" else MeanFusion()
