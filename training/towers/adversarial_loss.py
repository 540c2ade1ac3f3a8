"""Adversarial training of the modalities' vectors (AMR).

Tang et al. 2019, "Adversarial Training Towards Robust Multimedia Recommender System", equations 7 to 9: the
next-item loss is taken a second time with the vectors of every item moved by
radius * sqrt(M) * gradient / |gradient|, the direction in which the loss rises fastest, and is added with a
weight. The vectors are the standardised inputs of the item tower, of a length of about sqrt(M), so one radius
means the same for every modality.

Legend: N items, M width of a modality.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Self

import torch
from torch import Tensor

from recsys.config import AdversarialConfig
from recsys.errors import ConfigError
from recsys.models import ItemInputs, Retriever, TableVectors
from training.sequences import Window
from training.towers.context import LossGradients
from training.towers.next_item_loss import Batch, NextItemLoss, ReadItems
from training.towers.tables import StepRows


class AdversarialLoss:
    """The next-item loss, plus `config.weight` times the same with the modalities' vectors moved."""

    def __init__(self, next_item: NextItemLoss, config: AdversarialConfig) -> None:
        self.next_item, self.config = next_item, config
        self.context = next_item.context

    @classmethod
    def of(cls, next_item: NextItemLoss, config: AdversarialConfig) -> Self | None:
        """None with a weight of 0 and for a model that reads no content.

        Raises `ConfigError` where it is configured and no item has a vector.
        """
        model = next_item.context.model
        if not config.weight or not model.config.item.use_content:
            return None
        if not model.spec.dense_dims:
            raise ConfigError(
                f"train.auxiliary.adversarial.weight = {config.weight}: the items have no vectors to "
                "perturb; set it to 0"
            )
        return cls(next_item, config)

    def start_epoch(self) -> None:
        self.next_item.start_epoch()

    def draw(self, windows: list[Window]) -> Batch:
        return self.next_item.draw(windows)

    def start(self, drawn: Batch, rows: StepRows) -> Callable[[], LossGradients]:
        return lambda: self.gradients(drawn, rows)

    def gradients(self, batch: Batch, rows: StepRows) -> LossGradients:
        """Gradients of both losses; the seeds of the batch give both the same dropout."""
        model, radius = self.context.model, self.config.radius
        plain = self.next_item.gradients(batch, rows, [_read_leaves(model)] * len(batch.rows))
        moves = [
            [None if slope is None else perturbation(slope, radius) for slope in slopes]
            for slopes in plain.further
        ]
        readers = [_read_moved(model, each) for each in moves]
        moved = self.next_item.gradients(batch, rows, readers, weight=self.config.weight)
        return LossGradients(
            loss=plain.loss + moved.loss,
            of_users=[*plain.of_users, *moved.of_users],
            of_items=[*plain.of_items, *moved.of_items],
            of_tables=[*plain.of_tables, *moved.of_tables],
        )


def perturbation(gradient_NM: Tensor, radius: float) -> Tensor:
    """radius * sqrt(M) along each row of the loss's gradient; zero where the gradient is zero."""
    length_N1 = gradient_NM.norm(dim=1, keepdim=True)
    scale = radius * gradient_NM.shape[1] ** 0.5
    return torch.where(length_N1 > 0, scale * gradient_NM / length_N1.clamp(min=1e-30), 0.0)


def _read_leaves(model: Retriever) -> ReadItems:
    """Reads items with the modalities' vectors as leaves."""

    def read(rows: Tensor, tables: TableVectors) -> tuple[ItemInputs, Sequence[Tensor]]:
        inputs = model.item_inputs(rows, tables=tables)
        leaves = {name: vector_NM.detach().requires_grad_() for name, (vector_NM, _) in inputs.dense.items()}
        return _with_vectors(inputs, leaves), list(leaves.values())

    return read


def _read_moved(model: Retriever, moves: Sequence[Tensor | None]) -> ReadItems:
    """Reads items with the modalities' vectors moved."""

    def read(rows: Tensor, tables: TableVectors) -> tuple[ItemInputs, Sequence[Tensor]]:
        inputs = model.item_inputs(rows, tables=tables)
        pairs = zip(inputs.dense.items(), moves, strict=True)
        moved = {
            name: vector_NM if move_NM is None else vector_NM + move_NM
            for (name, (vector_NM, _)), move_NM in pairs
        }
        return _with_vectors(inputs, moved), ()

    return read


def _with_vectors(inputs: ItemInputs, vectors: Mapping[str, Tensor]) -> ItemInputs:
    return inputs._replace(dense={name: (vectors[name], has) for name, (_, has) in inputs.dense.items()})
