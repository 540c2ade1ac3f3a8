"""Negatives of a sampled softmax: drawn by popularity, some of them nearest to users of the step.

Legend: N items, J negatives.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from recsys.item_features import ItemFeatures
from training.sequences import Window
from training.towers.hard_negatives import HardNegatives


@dataclass(frozen=True, kw_only=True)
class Negatives:
    """Those of one step, and log of the times that each item of the catalogue is expected among them."""

    row_J: Tensor
    log_q_N: Tensor


class NegativeSampler:
    """Draws `num` items with training events, as often as they are popular; of them `hard` ones first."""

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
        """A hard one is there once for certain, and as often again as it is drawn."""
        picked = torch.multinomial(self.rate, self.num_drawn, replacement=True)
        drawn_J = self.trained_rows[picked]
        if self.hard is None:
            return Negatives(row_J=drawn_J, log_q_N=self.log_q_N)
        hard_J, log_q_N = self.hard.mine(windows), self.log_q_N.clone()
        log_q_N[hard_J] = torch.log1p(log_q_N[hard_J].exp())
        return Negatives(row_J=torch.cat([drawn_J, hard_J]), log_q_N=log_q_N)
