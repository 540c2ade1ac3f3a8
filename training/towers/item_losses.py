"""Losses on items alone, over a batch of them that is drawn every step whatever the users of the step did.

Legend: N items of the batch, T tokens, D width.
"""

from typing import Self

import torch
from torch import Tensor

from recsys.config import AuxiliaryConfig
from recsys.models.retriever import Retriever
from training.towers.alignment import aligned_places, alignment_loss
from training.towers.views import views_loss


class ItemLosses:
    """Alignment of modalities and self-supervised views, by their weights."""

    def __init__(self, model: Retriever, config: AuxiliaryConfig, trained_rows: Tensor) -> None:
        self.model, self.config, self.trained_rows = model, config, trained_rows
        self.aligns = config.alignment.kind != "none" and config.alignment.weight > 0
        self.places = aligned_places(model.spec) if self.aligns else ()

    @classmethod
    def of(cls, model: Retriever, config: AuxiliaryConfig, trained_rows: Tensor) -> Self | None:
        """None where both are off, and of a model that is blind to content by design.

        Raises `ConfigError` where there are no two modalities to align.
        """
        losses = cls(model, config, trained_rows) if model.config.item.use_content else None
        return losses if losses is not None and (losses.aligns or config.views.weight > 0) else None

    def draw(self) -> Tensor:
        """Rows of the catalogue with training events, no row twice."""
        places = torch.randperm(len(self.trained_rows))[: self.config.num_items]
        return self.trained_rows[places]

    def loss(self, rows: Tensor) -> Tensor:
        """The weighed sum over the items `rows`; a scalar."""
        tower, inputs = self.model.item_tower, self.model.item_inputs(rows)
        token_NTD, mask_NT = tower.tokens(inputs.dense, inputs.category, inputs.identity)
        loss, config = token_NTD.new_zeros(()), self.config
        if self.aligns:
            aligned = alignment_loss(token_NTD, mask_NT, self.places, config.alignment)
            loss = loss + config.alignment.weight * aligned
        if config.views.weight > 0:
            loss = loss + config.views.weight * views_loss(tower, token_NTD, mask_NT, config.views)
        return loss
