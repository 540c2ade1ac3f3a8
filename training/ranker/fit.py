"""Training of the ranker on the lists of the retriever.

The targets are events that neither the retriever nor a candidate source was fitted on. A list without a
target among its candidates is left out. Adding the target to such a list would teach the ranker to
recognise added items. The ranker's output is multiplied by the blend weight and added to the retriever's
score. The blend weight is chosen on other users. These users then join the training.

Legend: B users, K candidates, D width.
"""

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from recsys.arrays import Floats, Ints
from recsys.config import RankerConfig
from recsys.metrics import is_clear
from recsys.models import Ranker, listwise_cross_entropy, to_device
from recsys.progress import Progress, silent
from recsys.retrieval import BUILTIN_SOURCES, CONTEXT, Recommender
from training.ranker.ranked_lists import RankedLists, RankingTask

INPUTS = (
    "user_vector",
    "history_vector",
    "history_mask",
    "candidate_vector",
    "candidate_tokens",
    "candidate_token_mask",
    "source_scores",
    "source_ranks",
    "candidate_context",
)
OUTPUTS = ("score", "token_attention", "history_attention")

Arrays = Mapping[str, npt.NDArray[Any]]
CPU = torch.device("cpu")


class ScaledRanker(torch.nn.Module):
    """A ranker whose output is multiplied by the blend weight chosen on validation; it is exported."""

    blend_weight: Tensor

    def __init__(self, ranker: Ranker, blend_weight: float) -> None:
        super().__init__()
        self.ranker = ranker
        self.register_buffer("blend_weight", torch.tensor(blend_weight))

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        score_BK, token_attention_BKT, history_attention_BKH = self.ranker(*inputs)
        return score_BK * self.blend_weight, token_attention_BKT, history_attention_BKH

    @torch.no_grad()
    def rank(self, inputs: Arrays) -> dict[str, npt.NDArray[Any]]:
        """The ranker as the callable that `Recommender` composes."""
        outputs = self(*_tensors(inputs, self.blend_weight.device))
        return {name: output.cpu().numpy() for name, output in zip(OUTPUTS, outputs, strict=True)}


@dataclass(frozen=True, kw_only=True)
class CrossFittedRankers:
    """Two rankers with the settings of the final one, each for the users that it was not trained on."""

    for_validation: ScaledRanker  # trained on the lists of `train`
    for_train: ScaledRanker  # trained on the lists of `validation`


@dataclass(frozen=True, kw_only=True)
class FittedRanker:
    module: ScaledRanker
    num_lists: int  # lists with a target, which were trained on
    best_epoch: int
    blend_weight: float
    scores: Mapping[str, float] = field(default_factory=dict)  # validation NDCG@10 without and with it
    # The lists of the validation users, best first, by the ranker before it was trained on these users.
    validation_BK: Ints | None = field(default=None, repr=False)
    cross_fitted: "CrossFittedRankers | None" = field(default=None, repr=False)  # None where it is not used

    @property
    def is_used(self) -> bool:
        """Whether the blend weight is above 0; otherwise the ranker is left out."""
        return self.blend_weight > 0


def fit_ranker(
    recommender: Recommender,
    *,
    train: RankingTask,
    validation: RankingTask | None,
    config: RankerConfig,
    seed: int,
    epochs: int | None = None,
    blend_weight: float = 1.0,
    cross_fit: bool = False,
    device: torch.device = CPU,
    progress: Progress = silent,
) -> FittedRanker | None:
    """Fit on `train`; the number of epochs and the blend weight are chosen by NDCG@10 on `validation`.

    The blend weight is 0 where the best is not better than the retriever by more than the standard error.
    With both chosen, the ranker is fitted again on the lists of `train` and `validation` together; with
    `cross_fit` another one is fitted on `validation` alone.
    `recommender` has no ranker. Without `validation` (a refit) `epochs` and `blend_weight` are used as given.
    None if no list holds a warm target: the ranker does not order cold items.
    """
    lists = RankedLists.of(recommender, train)
    if not lists.has_target.any():
        return None
    num_epochs, scores = epochs or config.num_epochs, {}
    cross_fitted, validation_BK = None, None
    if validation is not None:
        choice = _Choice(RankedLists.of(recommender, validation), config.blend_weights)
        for epoch, ranker, loss in ranker_epochs(lists, config, seed, num_epochs, device):
            choice.consider(ranker, epoch)
            progress("rank", epoch, num_epochs, f"loss {loss:.3f}{choice.note}")
            if epoch - choice.epoch >= config.patience:
                break
        choice.settle()
        num_epochs, blend_weight, scores = max(choice.epoch, 1), choice.blend_weight, choice.scores
        validation_BK = choice.lists.ordered(choice.output_BK)
        if cross_fit and choice.ranker is not None and choice.lists.has_target.any():
            cross_fitted = CrossFittedRankers(
                for_validation=_scaled(choice.ranker, blend_weight),
                for_train=_scaled(
                    _last(ranker_epochs(choice.lists, config, seed, num_epochs, device)), blend_weight
                ),
            )
        lists = lists.joined(choice.lists)
    for epoch, each, loss in ranker_epochs(lists, config, seed, num_epochs, device):
        ranker = each
        progress("rank on all", epoch, num_epochs, f"loss {loss:.3f}")
    return FittedRanker(
        module=_scaled(ranker, blend_weight),
        num_lists=int(lists.has_target.sum()),
        best_epoch=num_epochs,
        blend_weight=blend_weight,
        scores=scores,
        cross_fitted=cross_fitted,
        validation_BK=validation_BK,
    )


def ranker_epochs(
    lists: RankedLists, config: RankerConfig, seed: int, num_epochs: int, device: torch.device
) -> Iterator[tuple[int, Ranker, float]]:
    """Each epoch's number, the ranker after it, and the mean loss of its lists."""
    torch.manual_seed(seed)
    ranker = _make_ranker(lists.recommender, lists, config).to(device)
    optimizer = _optimizer(ranker, config)
    for epoch in range(1, num_epochs + 1):
        loss = _train_epoch(ranker, optimizer, lists, np.random.default_rng([seed, epoch]))
        yield epoch, ranker, loss


def ranker_output(ranker: Ranker, lists: RankedLists) -> Floats:
    """What `ranker` adds to the retriever's scores, unscaled. Shape [B, K]."""
    scaled, rows = _scaled(ranker, 1.0), np.arange(len(lists.label_BK))
    return np.concatenate([scaled.rank(inputs)["score"] for _, inputs in lists.batches(rows)])


def _make_ranker(recommender: Recommender, lists: RankedLists, config: RankerConfig) -> Ranker:
    ranker = Ranker(
        dim=recommender.items.vectors.shape[1],
        config=config,
        num_sources=len(BUILTIN_SOURCES) + len(recommender.sources),
        num_context=len(CONTEXT),
    )
    ranker.scale.fit(lists.candidate_features())
    return ranker


def _optimizer(ranker: Ranker, config: RankerConfig) -> torch.optim.Optimizer:
    fast = list(ranker.feature_head.parameters())
    slow = [
        parameter for name, parameter in ranker.named_parameters() if not name.startswith("feature_head.")
    ]
    groups: list[dict[str, Any]] = [{"params": slow}]
    groups.append({"params": fast, "lr": config.feature_learning_rate_factor * config.learning_rate})
    return torch.optim.AdamW(groups, lr=config.learning_rate, weight_decay=config.weight_decay)


class _Choice:
    """The best epoch and blend weight on validation so far; epoch 0 and weight 0 are the retriever alone."""

    def __init__(self, lists: RankedLists, blend_weights: Sequence[float]) -> None:
        self.lists, self.blend_weights = lists, blend_weights
        self._take_retriever()
        self._alone_B = self._best_B = lists.ndcg(self.output_BK)

    def _take_retriever(self) -> None:
        self.epoch, self.blend_weight = 0, 0.0
        self.ranker: Ranker | None = None  # of that epoch
        self.output_BK: Floats = np.zeros(self.lists.label_BK.shape, np.float32)  # the chosen one, scaled

    @property
    def scores(self) -> dict[str, float]:
        """Mean NDCG@10 of the retriever alone and of the best epoch and weight."""
        return {"retriever": float(self._alone_B.mean()), "with_ranker": float(self._best_B.mean())}

    @property
    def note(self) -> str:
        return f", NDCG@10 {self.scores['retriever']:.4f} -> {self.scores['with_ranker']:.4f}"

    def consider(self, ranker: Ranker, epoch: int) -> None:
        output_BK = ranker_output(ranker, self.lists)
        for blend_weight in self.blend_weights:
            ndcg_B = self.lists.ndcg(blend_weight * output_BK)
            if ndcg_B.mean() > self._best_B.mean():
                self._best_B, self.epoch, self.blend_weight = ndcg_B, epoch, blend_weight
                self.output_BK = np.float32(blend_weight) * output_BK
        if self.epoch == epoch:
            self.ranker = deepcopy(ranker)

    def settle(self) -> None:
        """Take the retriever alone unless the best is better by more than the standard error."""
        if self.epoch and not is_clear(self._best_B - self._alone_B):
            self._take_retriever()


def _scaled(ranker: Ranker, blend_weight: float) -> ScaledRanker:
    return ScaledRanker(ranker, blend_weight).to(ranker.recency_H.device).eval()


def _last(epochs: Iterator[tuple[int, Ranker, float]]) -> Ranker:
    *_, (_, ranker, _) = epochs
    return ranker


def _train_epoch(
    ranker: Ranker,
    optimizer: torch.optim.Optimizer,
    lists: RankedLists,
    rng: np.random.Generator,
) -> float:
    ranker.train()
    device, losses = ranker.recency_H.device, []
    for rows, inputs in lists.training_batches(rng):
        delta_BK = ranker(*_tensors(inputs, device)).score_BK
        rankable_BK = lists.rankable_BK[rows]
        retriever_BK = lists.recommender.retriever_score(lists.candidates.of(rows).cosines)
        label_BK = torch.from_numpy((lists.label_BK[rows] & rankable_BK).astype(np.float32))
        score_BK = to_device(torch.from_numpy(retriever_BK), device) + delta_BK
        mask_BK = to_device(torch.from_numpy(rankable_BK), device)
        loss = listwise_cross_entropy(score_BK, to_device(label_BK, device), mask_BK)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return float(torch.stack(losses).mean())


def _tensors(inputs: Arrays, device: torch.device) -> list[Tensor]:
    return [to_device(torch.from_numpy(np.ascontiguousarray(inputs[name])), device) for name in INPUTS]
