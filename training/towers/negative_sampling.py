"""Negatives of a sampled softmax: drawn by popularity, and hard ones, nearest to users of the step.

Hard negatives come from an index of the items' current vectors, made anew each epoch. As in ANCE (Xiong et
al. 2021, "Approximate Nearest Neighbor Negative Contrastive Learning for Dense Text Retrieval") the queries
of the index are the states of users, not their targets: items near a user's state are those that the softmax
confuses with the target, whereas neighbours of a target are often items that the user would have taken as
well. Vectors in the index are as old as the epoch.

`recsys.models.losses.sampled_cross_entropy` subtracts the log of the expected number of times that a
negative is drawn. A hard negative is there with certainty, so the corrected loss still estimates the full
softmax, with less variance: hard negatives carry most of the softmax's sum, and a draw by popularity misses
them.

Legend: B windows, P predictions, N items, D width, J negatives.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor

from recsys.arrays import Floats
from recsys.config import TrainConfig
from recsys.errors import ConfigError
from recsys.item_features import ItemFeatures
from recsys.models import EMBED_ROWS, Retriever, sequence_tensors
from recsys.retrieval import Index, build_index
from training.sequences import Window, target_mask

NEAREST = 16  # items that one query of the index returns; more queries a step instead of longer answers


class HardNegatives:
    """At most `num` negatives a step; nothing before the first `refresh`."""

    def __init__(self, model: Retriever, trained_rows: Tensor, num: int, index_kind: str = "exact") -> None:
        self.model, self.trained_rows, self.num, self.index_kind = model, trained_rows, num, index_kind
        self._index: Index | None = None
        self._vector_ND: Tensor | None = None

    @classmethod
    def of(
        cls, model: Retriever, trained_rows: Tensor, config: TrainConfig, *, is_sampled: bool, index_kind: str
    ) -> Self | None:
        """None where they are off. Raises `ConfigError` where the softmax is full."""
        if not config.hard_negatives:
            return None
        if not is_sampled:
            raise ConfigError(
                f"train.hard_negatives = {config.hard_negatives}: every item is a negative already, as the "
                f"softmax is full over {len(trained_rows):,} items; set it to 0, or lower train.sampled_above"
            )
        return cls(
            model, trained_rows, max(1, round(config.hard_negatives * config.num_negatives)), index_kind
        )

    @torch.no_grad()
    def refresh(self) -> None:
        """Embed the trained items as they are now, and index them."""
        model, was_training = self.model, self.model.training
        model.eval()
        parts = [model.embed_items(rows).vector_ND.float() for rows in self.trained_rows.split(EMBED_ROWS)]
        model.train(was_training)
        vector_ND = torch.cat(parts)
        # Items without training events are read as zeros, as in a step.
        self._vector_ND = vector_ND.new_zeros(model.features.size, vector_ND.shape[1])
        self._vector_ND[self.trained_rows.to(vector_ND.device)] = vector_ND
        ids = self.trained_rows.numpy()
        self._index = build_index(self.index_kind, vector_ND.cpu().numpy(), ids=ids)

    def mine(self, windows: list[Window]) -> Tensor:
        """Rows of the items nearest to some users of the step, ascending, no row twice; at most `num`."""
        if self._index is None:
            return torch.empty(0, dtype=torch.int64)
        nearest = min(NEAREST, self.num)
        found, _ = self._index.search(self._states(windows, self.num // nearest), nearest)
        return torch.from_numpy(np.unique(found[found > 0]))

    @torch.no_grad()
    def _states(self, windows: list[Window], num: int) -> Floats:
        """States of the user tower at `num` of the step's predictions, drawn at random. Shape [P, D]."""
        assert self._vector_ND is not None
        model, picked, count = self.model, [], 0
        for place in torch.randperm(len(windows)).tolist():
            picked.append(windows[place])
            count += int(windows[place].target.sum())
            if count >= num:
                break
        item_BL, inputs, _ = sequence_tensors([w.history for w in picked], model.schema, model.device)
        was_training = model.user_tower.training
        model.user_tower.eval()
        state_BPD = model.user_tower.states(self._vector_ND[item_BL.to(model.device)], inputs)
        model.user_tower.train(was_training)
        where = target_mask(picked, item_BL.shape[1])
        state_PD = state_BPD[:, :-1][where.to(model.device)].float().cpu()
        found: Floats = state_PD[torch.randperm(len(state_PD))[:num]].numpy()
        return found


@dataclass(frozen=True, kw_only=True)
class Negatives:
    """Negatives of one step, and the log of the expected number of times that each item is among them."""

    row_J: Tensor
    log_q_N: Tensor


class NegativeSampler:
    """Draws `num` trained items in proportion to popularity + 1, `hard.num` of them replaced by hard ones."""

    def __init__(
        self, features: ItemFeatures, trained_rows: Tensor, num: int, hard: HardNegatives | None = None
    ) -> None:
        self.trained_rows, self.hard = trained_rows, hard
        self.num_drawn = num if hard is None else max(num - hard.num, 1)
        popularity = torch.from_numpy(features.popularity)[trained_rows] + 1.0
        self.rate = popularity / popularity.sum()
        self.log_q_N = torch.zeros(features.size)
        self.log_q_N[trained_rows] = torch.log(self.rate * self.num_drawn)

    def draw(self, windows: list[Window]) -> Negatives:
        """Drawn negatives, then hard ones; a hard one is expected once more than it is drawn."""
        picked = torch.multinomial(self.rate, self.num_drawn, replacement=True)
        drawn_J = self.trained_rows[picked]
        if self.hard is None:
            return Negatives(row_J=drawn_J, log_q_N=self.log_q_N)
        hard_J, log_q_N = self.hard.mine(windows), self.log_q_N.clone()
        log_q_N[hard_J] = torch.log1p(log_q_N[hard_J].exp())
        return Negatives(row_J=torch.cat([drawn_J, hard_J]), log_q_N=log_q_N)
