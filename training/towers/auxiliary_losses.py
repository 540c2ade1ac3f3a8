"""Losses on items alone: alignment of their modalities, and self-supervised views.

They share a batch of trained items, which every step draws anew, and the tokens of these items. Each is an
object whose `loss` gives a weighted scalar.

Legend: N items of the batch, T tokens, D width.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Protocol, Self

import torch
from torch import Tensor

from recsys.config import AuxiliaryConfig, TokenAlignmentConfig, ViewsConfig
from recsys.errors import ConfigError
from recsys.modalities import BY_NAME
from recsys.models import (
    ItemTower,
    ItemTowerSpec,
    TableVectors,
    apply_dropout,
    contrastive_loss,
    drop_tokens,
    hardest_triplet_loss,
)
from training.sequences import Window
from training.towers.context import LossGradients, StepContext
from training.towers.tables import ShardGradient, StepRows

MANY = 64  # times the size of a batch: of so many numbers a draw with repetition hardly repeats


class TokenLoss(Protocol):
    """A loss on the tokens of a batch of items."""

    def loss(self, tower: ItemTower, token_NTD: Tensor, mask_NT: Tensor) -> Tensor:
        """The weighted scalar; 0 where the batch has too few items for the loss."""
        ...


class Alignment:
    """Pulls the tokens of one item's modalities together and pushes those of different items apart.

    On a GPU the host waits for the number of items that have both modalities, once a pair.
    Contrastive as in CLIP (Radford et al. 2021), or the hinge on the hardest negative as in VSE++ (Faghri et
    al. 2018), both ways, with the other items of the batch as negatives; formulas in `recsys.models.losses`.
    `places` are the modalities' places along T.
    """

    def __init__(self, config: TokenAlignmentConfig, places: Sequence[int]) -> None:
        self.config, self.places = config, tuple(places)

    @classmethod
    def of(cls, config: TokenAlignmentConfig, spec: ItemTowerSpec) -> Self | None:
        """Of all modalities with vectors from an encoder; None where alignment is off.

        Raises `ConfigError` where there are fewer than two such modalities.
        """
        if config.kind == "none" or not config.weight:
            return None
        names = [name for name in spec.dense_dims if BY_NAME[name].encoder is not None]
        if len(names) < 2:
            raise ConfigError(
                f"train.auxiliary.alignment.kind = {config.kind!r}: the items have "
                f"{' and '.join(names) or 'no modality'} alone, and two modalities are needed; set it to none"
            )
        return cls(config, [spec.token_names.index(name) for name in names])

    def loss(self, tower: ItemTower, token_NTD: Tensor, mask_NT: Tensor) -> Tensor:
        """Mean over the pairs of modalities that at least two items have; an item needs both for its part."""
        losses = []
        for one, other in combinations(self.places, 2):
            both_N = mask_NT[:, one] & mask_NT[:, other]
            if int(both_N.sum()) >= 2:
                losses.append(self._pair_loss(token_NTD[both_N, one], token_NTD[both_N, other]))
        return self.config.weight * (torch.stack(losses).mean() if losses else token_NTD.sum() * 0.0)

    def _pair_loss(self, one_ND: Tensor, other_ND: Tensor) -> Tensor:
        if self.config.kind == "triplet":
            return hardest_triplet_loss(one_ND, other_ND, margin=self.config.margin)
        return contrastive_loss(one_ND, other_ND, temperature=self.config.temperature)


class SelfSupervisedViews:
    """Pulls two views of one item, made by dropout, together and pushes views of different items apart.

    Yao et al. 2021, "Self-supervised Learning for Large-scale Item Recommendations": the augmentation leaves
    out features of an item (there fields, here tokens and dimensions of tokens); the dropout of the tower's
    last layers differs between the views as in SimCSE (Gao et al. 2021). The loss is symmetric InfoNCE over
    the fused vectors.
    """

    def __init__(self, config: ViewsConfig) -> None:
        self.config = config

    @classmethod
    def of(cls, config: ViewsConfig) -> Self | None:
        """None with a weight of 0."""
        return cls(config) if config.weight > 0 else None

    def loss(self, tower: ItemTower, token_NTD: Tensor, mask_NT: Tensor) -> Tensor:
        """InfoNCE over the items that have any token."""
        one_ND, other_ND = (self._view(tower, token_NTD, mask_NT) for _ in range(2))
        return self.config.weight * contrastive_loss(
            one_ND, other_ND, temperature=self.config.temperature, keep_N=mask_NT.any(1)
        )

    def _view(self, tower: ItemTower, token_NTD: Tensor, mask_NT: Tensor) -> Tensor:
        chance_T = token_NTD.new_full((mask_NT.shape[1],), self.config.token_dropout)
        token_NTD = apply_dropout(token_NTD, self.config.feature_dropout)
        return tower.fuse(token_NTD, drop_tokens(mask_NT, chance_T))


@dataclass(frozen=True, kw_only=True)
class ItemBatch:
    """Rows of trained items, no row twice, and the seed of the random stream; no rows on an idle rank."""

    own_rows: Tensor
    seed: int


class ItemBatchLoss:
    """The sum of token losses over a batch of at most `num_items` trained items.

    The last rank alone computes it: its negatives are the whole batch, and the batch is small.
    """

    def __init__(self, context: StepContext, losses: Sequence[TokenLoss], num_items: int) -> None:
        self.context, self.losses, self.num_items = context, losses, num_items

    @classmethod
    def of(cls, context: StepContext, config: AuxiliaryConfig) -> Self | None:
        """None where alignment and views are off, and for a model that reads no content."""
        model = context.model
        if not model.config.item.use_content:
            return None
        built = (Alignment.of(config.alignment, model.spec), SelfSupervisedViews.of(config.views))
        losses = [loss for loss in built if loss is not None]
        return cls(context, losses, config.num_items) if losses else None

    def start_epoch(self) -> None: ...

    def draw(self, windows: list[Window]) -> ItemBatch:
        """The same random numbers on every rank."""
        ranks, trained_rows = self.context.ranks, self.context.trained_rows
        rows = trained_rows[sample_places(len(trained_rows), self.num_items)]
        seed = int(torch.randint(2**62, ()))
        return ItemBatch(own_rows=rows if ranks.rank == ranks.size - 1 else rows[:0], seed=seed)

    def start(self, drawn: ItemBatch, rows: StepRows) -> Callable[[], LossGradients]:
        if not len(drawn.own_rows):
            return lambda: LossGradients(loss=torch.zeros((), device=self.context.model.device))
        return self.context.start(self._gradients, drawn, rows)

    def loss(self, rows: Tensor, tables: TableVectors | None = None) -> Tensor:
        """The sum of the weighted losses over the items `rows`; a scalar."""
        model = self.context.model
        tower, inputs = model.item_tower, model.item_inputs(rows, tables=tables)
        token_NTD, mask_NT = tower.tokens(inputs.dense, inputs.category, inputs.identity)
        total = token_NTD.new_zeros(())
        for each in self.losses:
            total = total + each.loss(tower, token_NTD, mask_NT)
        return total

    def _gradients(self, drawn: ItemBatch, rows: StepRows) -> LossGradients:
        context, leaves = self.context, rows.leaves(drawn.own_rows)
        with context.random_stream(drawn.seed), context.autocast():
            loss = self.loss(drawn.own_rows, leaves.vectors)
        num = len(context.item_parameters)
        inputs = [*context.item_parameters, *leaves.vectors.tensors()]
        gradients = torch.autograd.grad(loss, inputs, allow_unused=True)
        return LossGradients(
            loss=loss.detach(),
            of_items=[gradients[:num]],
            of_tables=[ShardGradient(place_M=leaves.place_M, gradients=gradients[num:])],
        )


def sample_places(num: int, size: int) -> Tensor:
    """At most `size` of the numbers below `num`, drawn at random, none twice.

    Of many numbers a few less than `size` are drawn, so that the cost does not grow with `num`.
    """
    if num <= MANY * size:
        return torch.randperm(num)[:size]
    return torch.unique(torch.randint(num, (size,)))
