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

All ranks have the same negatives. Each rank mines its share of the hard ones for users of its own windows.

Legend: B windows, P predictions, N items, D width, J negatives.
"""

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor

from recsys.arrays import Floats
from recsys.config import TrainConfig
from recsys.errors import ConfigError
from recsys.item_features import ItemFeatures
from recsys.models import EMBED_ROWS, sequence_tensors
from recsys.retrieval import Index, build_index
from training.sequences import Window, target_mask
from training.towers.context import StepContext

NEAREST = 16  # items that one query of the index returns; more queries a step instead of longer answers


def is_sampled(features: ItemFeatures, config: TrainConfig) -> bool:
    """Whether the softmax over the items with training events is sampled."""
    return int(features.trained.sum()) > config.sampled_above


class HardNegatives:
    """At most `num` negatives a step; nothing before the first `refresh`."""

    def __init__(self, context: StepContext, num: int, index_kind: str = "exact") -> None:
        self.context, self.num, self.index_kind = context, num, index_kind
        self._index: Index | None = None
        self._vector_ND: Tensor | None = None

    @classmethod
    def of(cls, context: StepContext, config: TrainConfig, *, index_kind: str) -> Self | None:
        """None where they are off. Raises `ConfigError` where the softmax is full."""
        if not config.hard_negatives:
            return None
        if not is_sampled(context.model.features, config):
            raise ConfigError(
                f"train.hard_negatives = {config.hard_negatives}: every item is a negative already, as the "
                f"softmax is full over {len(context.trained_rows):,} items; set it to 0, or lower "
                "train.sampled_above"
            )
        return cls(context, max(1, round(config.hard_negatives * config.num_negatives)), index_kind)

    @torch.no_grad()
    def refresh(self) -> None:
        """Embed the trained items as they are now, each rank its part, and index them."""
        context, model = self.context, self.context.model
        own_rows, _ = context.own_part(context.trained_rows)
        num_parts = math.ceil(len(context.trained_rows) / context.ranks.size / EMBED_ROWS)
        was_training = model.training
        model.eval()
        # Items without training events are read as zeros, as in a step.
        vector_ND = torch.zeros(model.features.size, model.spec.dim, device=model.device)
        for rows in own_rows.tensor_split(num_parts):
            inputs = model.item_inputs(rows, tables=context.tables.read(rows))
            vector_ND[rows.to(model.device)] = model.embed_inputs(inputs).vector_ND.float()
        model.train(was_training)
        context.ranks.sum_(vector_ND)
        self._vector_ND = vector_ND
        ids = context.trained_rows.numpy()
        self._index = build_index(self.index_kind, vector_ND.cpu().numpy()[ids], ids=ids)

    def mine(self, windows: list[Window]) -> Tensor:
        """Rows of the items nearest to some users of the step, ascending, no row twice; at most `num`.

        Those of all ranks, each of which looks at users of its own `windows`.
        """
        ranks, seed = self.context.ranks, int(torch.randint(2**62, ()))
        if self._index is None:
            return torch.empty(0, dtype=torch.int64)
        found = self._mine(windows, max(1, self.num // ranks.size), torch.Generator().manual_seed(seed))
        return torch.unique(ranks.gather(found))[: self.num]

    def _mine(self, windows: list[Window], num: int, generator: torch.Generator) -> Tensor:
        assert self._index is not None
        nearest = min(NEAREST, num)
        if not windows:
            return torch.empty(0, dtype=torch.int64)
        found, _ = self._index.search(self._states(windows, num // nearest, generator), nearest)
        return torch.from_numpy(np.unique(found[found > 0]))

    @torch.no_grad()
    def _states(self, windows: list[Window], num: int, generator: torch.Generator) -> Floats:
        """States of the user tower at `num` of the step's predictions, drawn at random. Shape [P, D]."""
        assert self._vector_ND is not None
        model, picked, count = self.context.model, [], 0
        for place in torch.randperm(len(windows), generator=generator).tolist():
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
        found: Floats = state_PD[torch.randperm(len(state_PD), generator=generator)[:num]].numpy()
        return found


@dataclass(frozen=True, kw_only=True)
class Negatives:
    """Negatives of one step: drawn ones, then hard ones."""

    row_J: Tensor
    hard_row: Tensor  # ascending
    log_q_N: Tensor  # log of the expected number of times that each item is drawn

    def log_q(self, row: Tensor) -> Tensor:
        """Log of the expected number of times that each of `row` is among the negatives.

        A hard one is there once more than it is drawn.
        """
        log_q = self.log_q_N[row]
        if not len(self.hard_row):
            return log_q
        return torch.where(torch.isin(row, self.hard_row), torch.log1p(log_q.exp()), log_q)


class NegativeSampler:
    """Draws `num` trained items in proportion to popularity + 1, `hard.num` of them replaced by hard ones."""

    def __init__(
        self, features: ItemFeatures, trained_rows: Tensor, num: int, hard: HardNegatives | None = None
    ) -> None:
        self.trained_rows, self.hard = trained_rows, hard
        self.num_drawn = num if hard is None else max(num - hard.num, 1)
        popularity = torch.from_numpy(features.popularity)[trained_rows].double() + 1.0
        # Looked up by bisection, so that a draw costs the logarithm of the number of items.
        self.cumulative = popularity.cumsum(0)
        self.log_q_N = torch.zeros(features.size)
        self.log_q_N[trained_rows] = torch.log(popularity / self.cumulative[-1] * self.num_drawn).float()

    def draw(self, windows: list[Window]) -> Negatives:
        """Drawn negatives, then hard ones."""
        uniform = torch.rand(self.num_drawn, dtype=torch.float64) * self.cumulative[-1]
        picked = torch.searchsorted(self.cumulative, uniform, right=True)
        drawn_J = self.trained_rows[picked.clamp(max=len(self.trained_rows) - 1)]
        hard_row = drawn_J[:0] if self.hard is None else self.hard.mine(windows)
        return Negatives(row_J=torch.cat([drawn_J, hard_row]), hard_row=hard_row, log_q_N=self.log_q_N)
