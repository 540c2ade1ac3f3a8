"""Training of one MLP head per kind on the frozen vectors of a catalogue.

A batch is a set of items. For every pair of modalities of different kinds, the vectors of the items that have
both are pulled together, in both directions; negatives are the other items of the batch, hard negatives that
joined the batch, and the queues of earlier batches.

Legend: N items of the catalogue, B items of a batch, P items of the batch with both modalities, S width.
"""

import math
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from recsys.arrays import Ints
from recsys.config import TrainedHeadsConfig
from recsys.modalities import EncoderKind
from training.alignment.closed_form import LinearMap
from training.alignment.heads import Head, MlpHead, project
from training.alignment.losses import PairLoss, VectorQueue, candidate_cosines, contrastive, triplet
from training.alignment.views import Views

Heads = Mapping[EncoderKind, Head]
Score = Callable[[Heads], float]  # the validation metric; higher is better
_ROWS = 1024  # queries scored at once
_MAX_SCALE = 100.0  # of the learned inverse temperature, as in CLIP


@dataclass(frozen=True, kw_only=True)
class TrainedHeads:
    """Trained heads, the epoch of their weights, and its validation score."""

    heads: Heads
    num_epochs: int
    score: float


def train_heads(
    views: Views,
    start: Mapping[EncoderKind, LinearMap],
    config: TrainedHeadsConfig,
    *,
    seed: int,
    score: Score | None,
    num_epochs: int | None = None,
) -> TrainedHeads:
    """Heads of all kinds in `start`, trained on `views` from these heads of the closed form.

    With `score` the weights of the best epoch are kept, and training stops after `patience` epochs without a
    better one. Without it training takes `num_epochs` epochs of the same schedule.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _trained(_Training(views, start, config, seed), config, score, num_epochs)


def _trained(
    training: "_Training", config: TrainedHeadsConfig, score: Score | None, num_epochs: int | None
) -> TrainedHeads:
    best, best_score, best_epoch = training.state(), -math.inf, 0
    last = config.epochs if num_epochs is None else num_epochs
    for epoch in range(1, last + 1):
        training.epoch(epoch)
        if score is None:
            continue
        if (now := score(training.heads)) > best_score:
            best, best_score, best_epoch = training.state(), now, epoch
        elif epoch - best_epoch >= config.patience:
            break
    if score is not None:
        training.load(best)
    return TrainedHeads(heads=training.heads, num_epochs=best_epoch or last, score=best_score)


class _Training:
    """Heads, temperature, optimiser, queues and hard negatives of one seed."""

    def __init__(
        self, views: Views, start: Mapping[EncoderKind, LinearMap], config: TrainedHeadsConfig, seed: int
    ) -> None:
        self.views, self.config = views, config
        self.rng = np.random.default_rng(seed)
        self.heads: dict[EncoderKind, Head] = {
            kind: MlpHead(linear, hidden_dim=config.hidden_dim, dropout=config.dropout)
            for kind, linear in start.items()
        }
        self.log_scale = nn.Parameter(torch.tensor(-math.log(config.temperature)))
        smoothed = contrastive(config.label_smoothing)
        self.loss: PairLoss = smoothed if config.loss == "contrastive" else triplet(config.margin)
        self.pairs = list(views.pairs())
        self.items = views.paired_items()
        self.single = _single_rows(views, self.items)
        names = {name for pair in self.pairs for name in pair}
        self.vectors = {name: torch.from_numpy(views.vectors[name]) for name in names}
        self.queues = {
            name: VectorQueue(config.queue_size, self.heads[views.kind_of[name]].dim) for name in names
        }
        self.neighbors: Ints | None = None  # nearest wrong items of each of `items` [len(items), J]
        self.optimizer = torch.optim.AdamW(self._parameter_groups(), lr=config.learning_rate)
        total = math.ceil(len(self.items) / config.batch_size) * config.epochs
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimizer, lambda step: _rate(step, total))

    def epoch(self, epoch: int) -> None:
        """One pass over the items with two kinds of media."""
        config = self.config
        if config.num_hard_negatives and epoch > 1 and (epoch - 1) % config.hard_negatives_every == 0:
            self.neighbors = self._nearest_wrong_items()
        for head in self.heads.values():
            head.train()
        order = self.rng.permutation(len(self.items))
        for start in range(0, len(order), config.batch_size):
            self._step(self._with_hard_negatives(order[start : start + config.batch_size]))
        for head in self.heads.values():
            head.eval()

    def state(self) -> dict[EncoderKind, dict[str, Tensor]]:
        """A copy of the weights."""
        return {kind: deepcopy(head.state_dict()) for kind, head in self.heads.items()}

    def load(self, state: Mapping[EncoderKind, Mapping[str, Tensor]]) -> None:
        """The weights of `state`."""
        for kind, head in self.heads.items():
            head.load_state_dict(state[kind])

    def _parameter_groups(self) -> list[dict[str, Any]]:
        weights = [each for head in self.heads.values() for each in head.parameters() if each.ndim > 1]
        others = [each for head in self.heads.values() for each in head.parameters() if each.ndim == 1]
        return [
            {"params": weights, "weight_decay": self.config.weight_decay},
            {"params": [*others, self.log_scale], "weight_decay": 0.0},
        ]

    def _step(self, places: Ints) -> None:
        items = self.items[places]
        projected = {
            name: self.heads[self.views.kind_of[name]](self.vectors[name][torch.from_numpy(rows)])
            for name, rows in self._present(items).items()
        }
        losses = [self._pair_loss(items, projected, pair) for pair in self.pairs]
        given = [loss for loss in losses if loss is not None]
        if not given:
            return
        loss = torch.stack(given).mean()
        if self.config.consistency_weight and self.single:
            loss = loss + self.config.consistency_weight * self._consistency_loss()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        self.schedule.step()
        with torch.no_grad():
            self.log_scale.clamp_(0.0, math.log(_MAX_SCALE))
        for name, rows in self._present(items).items():
            self.queues[name].push(projected[name], torch.from_numpy(rows))

    def _present(self, items: Ints) -> dict[str, Ints]:
        return {name: items[self.views.present[name][items]] for name in self.vectors}

    def _pair_loss(
        self, items: Ints, projected: Mapping[str, Tensor], pair: tuple[str, str]
    ) -> Tensor | None:
        """The mean of both directions; None where fewer than two items of the batch have both modalities."""
        one, other = pair
        both = {name: self.views.present[name][items] for name in pair}
        is_pair = both[one] & both[other]
        if is_pair.sum() < 2:
            return None
        item_P = torch.from_numpy(items[is_pair])
        one_PS, other_PS = (projected[name][torch.from_numpy(is_pair[both[name]])] for name in pair)
        temperature = torch.exp(-self.log_scale)
        forward = candidate_cosines(one_PS, other_PS, item_P, self.queues[other])
        backward = candidate_cosines(other_PS, one_PS, item_P, self.queues[one])
        return (self.loss(forward, temperature) + self.loss(backward, temperature)) / 2

    def _consistency_loss(self) -> Tensor:
        """InfoNCE between two dropout masks of vectors of items with one kind of media.

        Gao et al. 2021, "SimCSE: Simple Contrastive Learning of Sentence Embeddings".
        """
        losses = []
        for name, rows in self.single.items():
            drawn = rows[self.rng.permutation(len(rows))[: self.config.batch_size]]
            head, vectors = (
                self.heads[self.views.kind_of[name]],
                torch.from_numpy(self.views.vectors[name][drawn]),
            )
            cosine = candidate_cosines(
                head(vectors), head(vectors), torch.from_numpy(drawn), VectorQueue(0, head.dim)
            )
            losses.append(self.loss(cosine, torch.exp(-self.log_scale)))
        return torch.stack(losses).mean()

    def _with_hard_negatives(self, places: Ints) -> Ints:
        """The batch, and one near wrong item for each of its items."""
        if self.neighbors is None:
            return places
        drawn = self.rng.integers(self.neighbors.shape[1], size=len(places))
        return np.unique(np.concatenate([places, self.neighbors[places, drawn]]))

    def _nearest_wrong_items(self) -> Ints:
        """For each item the `num_hard_negatives` others whose pictures, say, are nearest to its text.

        Of one pair of modalities, drawn at random; items without one of them have random neighbours.
        """
        pair = self.pairs[self.rng.integers(len(self.pairs))]
        count = min(self.config.num_hard_negatives, len(self.items) - 1)
        neighbors = self.rng.integers(len(self.items), size=(len(self.items), count))
        is_pair = np.logical_and(*(self.views.present[name][self.items] for name in pair))
        places = np.flatnonzero(is_pair)
        if len(places) <= count:
            return neighbors
        query, item = (
            project(self.heads[self.views.kind_of[name]], self.views.vectors[name][self.items[places]])
            for name in pair
        )
        for start in range(0, len(places), _ROWS):
            cosine = query[start : start + _ROWS] @ item.T
            rows = np.arange(len(cosine))
            cosine[rows, start + rows] = -np.inf
            nearest = np.argpartition(-cosine, count, axis=1)[:, :count]
            neighbors[places[start : start + _ROWS]] = places[nearest]
        return neighbors


def _rate(step: int, total: int) -> float:
    """Factor of the learning rate: up linearly in the first tenth of the steps, then down as a cosine."""
    warm_up = max(total // 10, 1)
    return min((step + 1) / warm_up, 1.0) * (1.0 + math.cos(math.pi * min(step / total, 1.0))) / 2.0


def _single_rows(views: Views, paired: Ints) -> dict[str, Ints]:
    """Modality -> its items with no other kind of media, where there are at least two."""
    single = {name: np.setdiff1d(views.rows(name), paired) for name in views.vectors}
    kinds = views.aligned_kinds
    return {name: rows for name, rows in single.items() if len(rows) > 1 and views.kind_of[name] in kinds}
