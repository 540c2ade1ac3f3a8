"""The ranker: each candidate's tokens and vector attend to the user's history.

Its output is added to the retriever's score. The output is zero at the start of training, so that training
starts from the retriever's order. The attention weights explain a score: they give the share of each modality
and of each past item.

Legend: B users, K candidates, T tokens, H past items, D width, S sources, X context features,
    E = 2 S + X candidate features.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from recsys.config import RankerConfig
from recsys.models.fusion import masked_softmax
from recsys.models.item_tower import Standardise

FEATURE_HEAD_WIDTH = 32


class RankerOutput(NamedTuple):
    score_BK: Tensor  # to be added to the retriever's score
    token_attention_BKT: Tensor  # rows sum to 1 where a candidate has a token
    history_attention_BKH: Tensor  # rows sum to 1 where the user has a history


class Ranker(nn.Module):
    """Cross attention of candidates with the history, and the scores and ranks of the candidate sources."""

    def __init__(self, *, dim: int, config: RankerConfig, num_sources: int, num_context: int) -> None:
        super().__init__()
        self.dim, self.history_length, self.token_dropout = dim, config.history_length, config.dropout
        self.num_sources = num_sources
        self.candidate = nn.Linear(dim, dim)
        self.token_key, self.token_value = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.token_query = nn.Linear(dim, dim)
        self.history_key, self.history_value = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.history_query = nn.Linear(dim, dim)
        self.recency_H = nn.Parameter(torch.zeros(config.history_length))
        num_candidate_features = 2 * num_sources + num_context
        num_features = 5 * dim + num_candidate_features
        self.head = nn.Sequential(
            nn.LayerNorm(num_features),
            nn.Dropout(config.dropout),
            nn.Linear(num_features, dim),
            nn.GELU(),
            nn.Dropout(config.dropout),
            nn.Linear(dim, 1),
        )
        # The head reads 5 D numbers of vectors and only E candidate features. These therefore have a second,
        # smaller network to themselves.
        self.scale = Standardise(num_candidate_features)
        self.feature_head = nn.Sequential(
            nn.Linear(num_candidate_features, FEATURE_HEAD_WIDTH),
            nn.GELU(),
            nn.Dropout(config.dropout),
            nn.Linear(FEATURE_HEAD_WIDTH, 1),
        )
        for final in (self.head[-1], self.feature_head[-1]):
            assert isinstance(final, nn.Linear)
            nn.init.zeros_(final.weight)
            nn.init.zeros_(final.bias)

    def forward(
        self,
        user_BD: Tensor,
        history_BHD: Tensor,
        history_mask_BH: Tensor,
        candidate_BKD: Tensor,
        token_BKTD: Tensor,
        token_mask_BKT: Tensor,
        source_score_BKS: Tensor,
        source_rank_BKS: Tensor,
        context_BKX: Tensor,
    ) -> RankerOutput:
        scale = self.dim**0.5  # vectors have unit length, cold items' about unit length
        user_BD, history_BHD, candidate_BKD = user_BD * scale, history_BHD * scale, candidate_BKD * scale
        read_BKD, token_attention_BKT = self._read_tokens(user_BD, token_BKTD, token_mask_BKT)
        candidate_BKD = self.candidate(candidate_BKD) + read_BKD
        past_BKD, history_attention_BKH = self._read_history(candidate_BKD, history_BHD, history_mask_BH)
        user_BKD = user_BD.unsqueeze(1).expand_as(candidate_BKD)
        features = [candidate_BKD, read_BKD, past_BKD, candidate_BKD * user_BKD, candidate_BKD * past_BKD]
        feature_BKE = self.scale(torch.cat([source_score_BKS, source_rank_BKS, context_BKX], dim=-1))
        score_BK1 = self.head(torch.cat([*features, feature_BKE], dim=-1)) + self.feature_head(feature_BKE)
        score_BK = score_BK1.squeeze(-1)
        return RankerOutput(score_BK, token_attention_BKT, history_attention_BKH)

    def _read_tokens(self, user_BD: Tensor, token_BKTD: Tensor, mask_BKT: Tensor) -> tuple[Tensor, Tensor]:
        if self.training:
            # Cold items have no id token. Without dropout the ranker would recognise them by its absence.
            mask_BKT = mask_BKT & (torch.rand(mask_BKT.shape, device=mask_BKT.device) >= self.token_dropout)
        # The score of a token is token . (key matrix^T query), so that no key is computed. Values are linear:
        # the value of the weighted sum of the tokens is the weighted sum of their values.
        query_BD = self.token_query(user_BD)
        key_query_BD = query_BD @ self.token_key.weight
        offset_B = query_BD @ self.token_key.bias
        score_BKT = (token_BKTD @ key_query_BD[:, None, :, None]).squeeze(-1) + offset_B[:, None, None]
        attention_BKT = masked_softmax(score_BKT / self.dim**0.5, mask_BKT)
        pooled_BKD = (attention_BKT.unsqueeze(-2) @ token_BKTD).squeeze(-2)
        total_BK1 = attention_BKT.sum(-1, keepdim=True)
        read_BKD = pooled_BKD @ self.token_value.weight.T + self.token_value.bias * total_BK1
        return read_BKD, attention_BKT

    def _read_history(
        self, candidate_BKD: Tensor, history_BHD: Tensor, mask_BH: Tensor
    ) -> tuple[Tensor, Tensor]:
        # The newest event is the last one, so that a shorter history uses the end of the recency bias.
        recency_H = self.recency_H[self.history_length - history_BHD.shape[1] :]
        score_BKH = self.history_query(candidate_BKD) @ self.history_key(history_BHD).transpose(1, 2)
        attention_BKH = masked_softmax(score_BKH / self.dim**0.5 + recency_H, mask_BH.unsqueeze(1))
        return attention_BKH @ self.history_value(history_BHD), attention_BKH
