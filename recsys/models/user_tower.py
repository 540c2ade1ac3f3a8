"""The user tower: a causal transformer over the behaviour sequence.

The blocks follow Zhai et al. 2024, "Actions Speak Louder than Words": attention with a relative bias of
position and time, gated by a projection of the input. The attention weights are pointwise SiLUs as in the
paper, or a softmax. A feed-forward layer may follow. The token of an event is the sum of projections of its
item's vector, its kind, its value, and the review that the user wrote about it. The first token of a sequence
holds the user's own fields.

Legend: B batch, L events, P = L + 1 tokens (the user's own first), D width, H heads, R review width,
    d = D / H.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recsys.config import UserTowerConfig
from recsys.history import REVIEW_FIELDS, SequenceSchema
from recsys.ids import PAD
from recsys.models.dropout import Dropout, keep_mask

NUM_TIME_BUCKETS = 32  # log2 of the seconds between two events; 2**31 s are 68 years
NEAREST = 2.0  # initial bias at distance 0


class RelativeBias(nn.Module):
    """A learned bias for each head and distance of two tokens, in positions and, with a clock, in time.

    Distances of `num_distances` - 1 and more share one bias.
    """

    def __init__(self, *, num_distances: int, num_heads: int, has_clock: bool) -> None:
        super().__init__()
        self.num_distances = num_distances
        self.position = nn.Parameter(recency_bias(num_heads, num_distances))
        self.time = nn.Parameter(torch.zeros(num_heads, NUM_TIME_BUCKETS)) if has_clock else None

    def forward(self, second_BP: Tensor) -> Tensor:
        """Bias [B or 1, H, P, P] from the seconds of each token."""
        place_P = torch.arange(second_BP.shape[1], device=second_BP.device)
        distance_PP = (place_P[:, None] - place_P[None, :]).clamp(0, self.num_distances - 1)
        bias = look_up(self.position, distance_PP).unsqueeze(0)
        if self.time is None:
            return bias
        elapsed_BPP = (second_BP.unsqueeze(2) - second_BP.unsqueeze(1)).clamp(min=0)
        bucket_BPP = torch.log2(1.0 + elapsed_BPP.to(torch.float32)).long().clamp(max=NUM_TIME_BUCKETS - 1)
        return bias + look_up(self.time, bucket_BPP).transpose(0, 1)


def look_up(table_HN: Tensor, place: Tensor) -> Tensor:
    """`table_HN[:, place]`. Shape [H, *place.shape]."""
    return embedded(table_HN, place) if table_HN.device.type == "cuda" else table_HN[:, place]


def embedded(table_HN: Tensor, place: Tensor) -> Tensor:
    """The same as an embedding, whose gradient on a GPU sums equal places in parallel.

    The gradient of an index adds them one after another, and a batch has millions of pairs in 32 buckets.
    """
    return F.embedding(place, table_HN.T).movedim(-1, 0)


def recency_bias(num_heads: int, num_distances: int) -> Tensor:
    """Initial position biases. Shape [H, P].

    NEAREST * exp(-distance / reach_h), with reaches that grow geometrically from head to head, as the slopes
    of Press et al. 2022, "Train Short, Test Long". The last head has a constant bias of 1. Training therefore
    starts with heads that prefer recent events.
    """
    start_HP = torch.ones(num_heads, num_distances)
    distance_P = torch.arange(num_distances, dtype=torch.float32)
    for head in range(num_heads - 1 if num_distances > 1 else 0):
        reach = num_distances ** (head / (num_heads - 1))
        start_HP[head] = NEAREST * torch.exp(-distance_P / reach)
    return start_HP


class Block(nn.Module):
    """Norm, one projection to gate, value, query and key, attention, gate, projection, residual.

    With `config.feed_forward` a feed-forward network of twice the width and a second residual follow.
    """

    def __init__(self, *, dim: int, config: UserTowerConfig, num_distances: int, has_clock: bool) -> None:
        super().__init__()
        self.num_heads, self.kind = config.num_heads, config.attention
        self.norm = nn.LayerNorm(dim)
        self.input = nn.Linear(dim, 4 * dim)
        self.bias = RelativeBias(num_distances=num_distances, num_heads=config.num_heads, has_clock=has_clock)
        self.attended_norm = nn.LayerNorm(dim)
        self.output = nn.Linear(dim, dim)
        self.dropout = Dropout(config.dropout)
        self.feed_forward = _feed_forward(dim, config.dropout) if config.feed_forward else None

    def forward(self, x_BPD: Tensor, second_BP: Tensor, causal_PP: Tensor) -> Tensor:
        """Shape [B, P, D].

        `causal_PP` is above 0 where the token of the row may read the token of the column. Pointwise
        attention multiplies its weights by it.
        """
        projected = self.input(self.norm(x_BPD))
        bias = self.bias(second_BP)
        if self.kind == "pointwise":
            gate_BPD, value_BPD, query_BPD, key_BPD = F.silu(projected).chunk(4, dim=-1)
            attend = pointwise_attention
        else:
            gate_BPD, value_BPD, query_BPD, key_BPD = projected.chunk(4, dim=-1)
            gate_BPD = F.silu(gate_BPD)
            attend = softmax_attention
        query_BHPd, key_BHPd, value_BHPd = (self._heads(t) for t in (query_BPD, key_BPD, value_BPD))
        attended_BHPd = attend(query_BHPd, key_BHPd, value_BHPd, bias, causal_PP)
        gated_BPD = self.attended_norm(attended_BHPd.transpose(1, 2).flatten(2)) * gate_BPD
        x_BPD = x_BPD + self.output(self.dropout(gated_BPD))
        return x_BPD if self.feed_forward is None else x_BPD + self.feed_forward(x_BPD)

    def _heads(self, x_BPD: Tensor) -> Tensor:
        return x_BPD.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)


def pointwise_attention(
    query_BHPd: Tensor, key_BHPd: Tensor, value_BHPd: Tensor, bias: Tensor, causal_PP: Tensor
) -> Tensor:
    """The weight is the SiLU of a score without a normalisation, so that repeated events add up."""
    score_BHPP = query_BHPd @ key_BHPd.transpose(-1, -2) + bias
    return (F.silu(score_BHPP) * causal_PP) @ value_BHPd


def softmax_attention(
    query_BHPd: Tensor, key_BHPd: Tensor, value_BHPd: Tensor, bias: Tensor, causal_PP: Tensor
) -> Tensor:
    """Vaswani et al. 2017, "Attention Is All You Need", with a bias on the scores."""
    query_BHPd = query_BHPd * query_BHPd.shape[-1] ** -0.5
    reachable = bias.masked_fill(causal_PP == 0, float("-inf"))
    weight_BHPP = torch.softmax(query_BHPd @ key_BHPd.transpose(-1, -2) + reachable, dim=-1)
    return weight_BHPP.to(value_BHPd.dtype) @ value_BHPd


def _feed_forward(dim: int, dropout: float) -> nn.Sequential:
    wide = 2 * dim
    layers = (nn.Linear(dim, wide), nn.SiLU(), Dropout(dropout), nn.Linear(wide, dim), Dropout(dropout))
    return nn.Sequential(nn.LayerNorm(dim), *layers)


class UserTower(nn.Module):
    """One state for every token of a history; the last state is the user vector."""

    def __init__(self, *, dim: int, config: UserTowerConfig, schema: SequenceSchema) -> None:
        super().__init__()
        self.schema, self.config = schema, config
        self.item = nn.Linear(dim, dim)
        kinds = schema.num_event_kinds
        self.kind = nn.Embedding(kinds, dim, padding_idx=PAD) if config.use_kind else None
        numbers = schema.number_scales if config.use_value else {}
        self.number = nn.ModuleDict({name: nn.Linear(2, dim, bias=False) for name in numbers})
        widths = {name: getattr(schema, f"{name}_dim") for name in REVIEW_FIELDS}
        self.review = nn.ModuleDict({name: nn.Linear(width, dim) for name, width in widths.items() if width})
        self.profile = nn.ModuleDict(
            {name: nn.Embedding(size, dim, padding_idx=PAD) for name, size in schema.profile_sizes.items()}
        )
        self.start_D = nn.Parameter(torch.randn(dim) * 0.02)
        self.input_norm = nn.LayerNorm(dim)
        self.dropout = Dropout(config.dropout)
        self.blocks = nn.ModuleList(
            Block(
                dim=dim,
                config=config,
                num_distances=schema.max_length + 1 if config.use_position else 1,
                has_clock=schema.has_clock and config.use_time,
            )
            for _ in range(config.num_blocks)
        )
        self.output_norm = nn.LayerNorm(dim)
        self.output = nn.Linear(dim, dim)
        # At the start of training the user vector is nearly the mean of the item vectors so far, so that the
        # untrained model finds the nearest neighbours of the history.
        self.weight = nn.Linear(dim, 1)
        self.taste = nn.Linear(dim, dim, bias=False)
        nn.init.eye_(self.taste.weight)
        nn.init.normal_(self.output.weight, std=0.1 * dim**-0.5)

    def forward(self, event_BLD: Tensor, inputs: Mapping[str, Tensor], length_B: Tensor) -> Tensor:
        """User vectors of unit length after the last event. Shape [B, D]."""
        state_BPD = self.states(event_BLD, inputs)
        last_B1D = length_B.view(-1, 1, 1).expand(-1, 1, state_BPD.shape[-1])
        return state_BPD.gather(1, last_B1D).squeeze(1)

    def states(self, event_BLD: Tensor, inputs: Mapping[str, Tensor]) -> Tensor:
        """States of unit length; state i has read the user's own token and the first i events. [B, P, D]."""
        event_BLD = self._drop_events(event_BLD)
        token_BLD = self._events(event_BLD, inputs)
        first_B1D = self._own_token(inputs, event_BLD.shape[0]).unsqueeze(1)
        x_BPD = self.dropout(self.input_norm(torch.cat([first_B1D, token_BLD], dim=1)))
        second_BL = inputs["event_time"]
        second_BP = torch.cat([second_BL[:, :1], second_BL], dim=1)
        num_tokens = x_BPD.shape[1]
        ones_PP = torch.ones(num_tokens, num_tokens, dtype=x_BPD.dtype, device=x_BPD.device)
        causal_PP = ones_PP.tril()
        if self.config.attention == "pointwise":
            causal_PP = causal_PP / (self.schema.max_length + 1) ** 0.5
        for block in self.blocks:
            x_BPD = block(x_BPD, second_BP, causal_PP)
        taste_BPD = self.taste(self._mean_so_far(event_BLD, token_BLD))
        return F.normalize(self.output(self.output_norm(x_BPD)) + taste_BPD, dim=-1, eps=1e-6)

    def _drop_events(self, event_BLD: Tensor) -> Tensor:
        """In training, replace the item vector of sampled events by zeros, as of an unknown item."""
        if not self.training or self.config.event_dropout == 0.0:
            return event_BLD
        return event_BLD * keep_mask(event_BLD[..., :1], 1.0 - self.config.event_dropout)

    def _mean_so_far(self, event_BLD: Tensor, token_BLD: Tensor) -> Tensor:
        """Weighted mean of the item vectors up to each token; zeros before the first event. [B, P, D]."""
        weight_BL1 = torch.sigmoid(self.weight(token_BLD))
        mean_BLD = (weight_BL1 * event_BLD).cumsum(1) / weight_BL1.cumsum(1)
        return torch.cat([torch.zeros_like(mean_BLD[:, :1]), mean_BLD], dim=1)

    def _events(self, event_BLD: Tensor, inputs: Mapping[str, Tensor]) -> Tensor:
        # Item vectors have unit length. The factor sqrt(D) scales their components to about 1.
        token_BLD = self.item(event_BLD * event_BLD.shape[-1] ** 0.5)
        if self.kind is not None:
            token_BLD = token_BLD + self.kind(inputs["event_kind"])
        for name, projection in self.number.items():
            has_BL = inputs[f"has_{name}"].to(event_BLD.dtype)
            number_BL2 = torch.stack([inputs[f"event_{name}"] * has_BL, has_BL], dim=-1)
            token_BLD = token_BLD + projection(number_BL2)
        for name, projection in self.review.items():
            has_BL1 = inputs[f"has_{name}"].unsqueeze(-1).to(event_BLD.dtype)
            token_BLD = token_BLD + projection(inputs[name]) * has_BL1
        return token_BLD

    def _own_token(self, inputs: Mapping[str, Tensor], num_users: int) -> Tensor:
        own_BD = self.start_D.expand(num_users, -1)
        for name, embedding in self.profile.items():
            ids_BC = inputs[f"profile_{name}"]
            count_B1 = (ids_BC != PAD).sum(1, keepdim=True).clamp(min=1)
            own_BD = own_BD + embedding(ids_BC).sum(1) / count_B1
        return own_BD
