"""Training of the ranker on lists that the retriever really returned.

Its targets are events that the retriever was not fitted on. A list in which the retriever did not return
a target teaches nothing and is left out: forcing the target in would teach the ranker to pick the odd
one out. How much of the ranker's output joins the retriever's score is chosen on other users.

Legend: B users, K candidates, D width.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from recsys.batches import Floats, History, Ints
from recsys.candidates import ALWAYS, CONTEXT, Candidates, ItemArrays
from recsys.config import RankerConfig
from recsys.ids import PAD
from recsys.losses import listwise_cross_entropy
from recsys.metrics import IdLists, at_k, means
from recsys.models.ranker import Ranker
from recsys.progress import Progress, silent
from recsys.recommender import Recommender
from recsys.reranking import best_first

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
EVIDENCE = ("source_scores", "source_ranks", "candidate_context")  # in the order in which a ranker reads it
EVIDENCE_RATE = 10.0  # how much faster the evidence's own layers learn
OUTPUTS = ("score", "token_attention", "history_attention")
SHARES = (0.25, 0.5, 1.0)  # of the ranker's output that may join; 0, the retriever's order, is the fallback
BATCH_USERS = 64
SHOWN_AS_NEW = 0.3  # of a training list's candidates
SELECTION_K = 10

Arrays = Mapping[str, npt.NDArray[Any]]


def selection_ndcg(ranked_BK: Ints, truth: IdLists) -> float:
    """Mean NDCG@10, by which epochs and shares are chosen; a shorter list misses what it lacks."""
    missing = max(SELECTION_K - ranked_BK.shape[1], 0)
    padded_BK = np.pad(ranked_BK, ((0, 0), (0, missing)), constant_values=PAD)
    return means(at_k(padded_BK, truth, [SELECTION_K]))[f"ndcg@{SELECTION_K}"]


class ScaledRanker(torch.nn.Module):
    """A ranker whose score is multiplied by the share that validation chose; what is exported."""

    share: Tensor

    def __init__(self, ranker: Ranker, share: float) -> None:
        super().__init__()
        self.ranker = ranker
        self.register_buffer("share", torch.tensor(share))

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        score_BK, token_attention_BKT, history_attention_BKH = self.ranker(*inputs)
        return score_BK * self.share, token_attention_BKT, history_attention_BKH

    @torch.no_grad()
    def rank(self, inputs: Arrays) -> dict[str, npt.NDArray[Any]]:
        """The ranker as the callable that `Recommender` composes."""
        outputs = self(*_tensors(inputs))
        return {name: output.numpy() for name, output in zip(OUTPUTS, outputs, strict=True)}


@dataclass(frozen=True, kw_only=True)
class RankingTask:
    """Users whose later events are known: a history, and the items that followed it."""

    histories: Sequence[History]
    truth: Sequence[Ints]


@dataclass(frozen=True, kw_only=True)
class FittedRanker:
    module: ScaledRanker
    num_lists: int  # lists that held a target and were trained on
    best_epoch: int
    share: float
    scores: Mapping[str, float] = field(default_factory=dict)  # validation NDCG@10 without and with it


def fit_ranker(
    recommender: Recommender,
    *,
    newcomers: ItemArrays | None = None,
    train: RankingTask,
    validation: RankingTask | None,
    config: RankerConfig,
    seed: int,
    epochs: int | None = None,
    share: float = 1.0,
    progress: Progress = silent,
) -> FittedRanker | None:
    """Fit on `train`; keep the epoch and the share of the output that are best on `validation`.

    `recommender` retrieves only. `newcomers` are its items as if they were new: some candidates of each
    training list are shown so, since lists of the past hold hardly any new item that was chosen, and a
    ranker that learns from them alone learns to bury what is new. Without `validation` (a refit) the
    given `epochs` and `share` hold. None if no retrieved list holds a target.
    """
    torch.manual_seed(seed)
    lists = _Lists(recommender, train, config.num_candidates)
    if not lists.has_target.any():
        return None
    ranker = _make_ranker(recommender, lists, config)
    optimizer = _optimizer(ranker, config)
    num_epochs = epochs or config.num_epochs
    choice = _Choice(recommender, validation, config, share)
    for epoch in range(1, num_epochs + 1):
        loss = _train_epoch(ranker, optimizer, lists, newcomers, np.random.default_rng([seed, epoch]))
        choice.consider(ranker, epoch)
        progress("rank", epoch, num_epochs, f"loss {loss:.3f}{choice.note}")
    ranker.load_state_dict(choice.parameters or ranker.state_dict())
    return FittedRanker(
        module=ScaledRanker(ranker, choice.share).eval(),
        num_lists=int(lists.has_target.sum()),
        best_epoch=choice.epoch or num_epochs,
        share=choice.share,
        scores=choice.scores,
    )


def _make_ranker(recommender: Recommender, lists: "_Lists", config: RankerConfig) -> Ranker:
    ranker = Ranker(
        dim=recommender.items.vectors.shape[1],
        config=config,
        num_sources=len(ALWAYS) + len(recommender.sources),
        num_context=len(CONTEXT),
    )
    ranker.scale.fit(lists.evidence())
    return ranker


def _optimizer(ranker: Ranker, config: RankerConfig) -> torch.optim.Optimizer:
    fast = list(ranker.evidence.parameters())
    slow = [parameter for name, parameter in ranker.named_parameters() if not name.startswith("evidence.")]
    groups: list[dict[str, Any]] = [{"params": slow}]
    groups.append({"params": fast, "lr": EVIDENCE_RATE * config.learning_rate})
    return torch.optim.AdamW(groups, lr=config.learning_rate, weight_decay=0.01)


class _Lists:
    """What the retriever returned for a task's users, and which of it was right."""

    def __init__(self, recommender: Recommender, task: RankingTask, num_candidates: int) -> None:
        self.recommender, self.task = recommender, task
        users, found = [], []
        for start in range(0, len(task.histories), BATCH_USERS):
            histories = task.histories[start : start + BATCH_USERS]
            users.append(recommender.embed(histories))
            found.append(recommender.candidates(users[-1], histories, num_candidates))
        self.user_BD: Floats = np.concatenate(users)
        self.candidates = Candidates(
            items=np.concatenate([part.items for part in found]),
            cosines=np.concatenate([part.cosines for part in found]),
            source_scores=np.concatenate([part.source_scores for part in found]),
        )
        self.candidate_BK, self.cosine_BK = self.candidates.items, self.candidates.cosines
        self.truth = IdLists.from_lists(task.truth)
        self.label_BK = self.truth.contain(self.candidate_BK)
        self.has_target = self.label_BK.any(1)

    def batches(self, rows: Ints) -> Iterator[tuple[Ints, dict[str, npt.NDArray[Any]]]]:
        """Rows and the ranker's inputs for them."""
        for start in range(0, len(rows), BATCH_USERS):
            part = rows[start : start + BATCH_USERS]
            histories = [self.task.histories[row] for row in part]
            yield (
                part,
                self.recommender.rank_inputs(histories, self.user_BD[part], self.candidates.of(part)),
            )

    def evidence(self) -> Tensor:
        """What the sources say of the candidates of lists with a target. Shape [candidates, E]."""
        rows = np.flatnonzero(self.has_target)
        parts = [
            np.concatenate([inputs[name] for name in EVIDENCE], axis=-1)[self.candidate_BK[part] != PAD]
            for part, inputs in self.batches(rows)
        ]
        return torch.from_numpy(np.concatenate(parts))

    def training_batches(
        self, newcomers: ItemArrays | None, rng: np.random.Generator
    ) -> Iterator[tuple[Ints, Floats, dict[str, npt.NDArray[Any]]]]:
        """Rows with a target in random order, their cosines and inputs, some candidates shown as new."""
        for rows, inputs in self.batches(rng.permutation(np.flatnonzero(self.has_target))):
            cosine_BK = self.cosine_BK[rows]
            if newcomers is not None:
                inputs, cosine_BK = self._show_as_new(rows, inputs, newcomers, rng)
            yield rows, cosine_BK, inputs

    def _show_as_new(
        self,
        rows: Ints,
        inputs: dict[str, npt.NDArray[Any]],
        newcomers: ItemArrays,
        rng: np.random.Generator,
    ) -> tuple[dict[str, npt.NDArray[Any]], Floats]:
        candidate_BK, user_BD = self.candidate_BK[rows], self.user_BD[rows]
        as_new_BK = (rng.random(candidate_BK.shape) < SHOWN_AS_NEW) & (candidate_BK != PAD)
        new_cosine_BK = np.einsum("bd,bkd->bk", user_BD, newcomers.vectors[candidate_BK])
        cosine_BK = np.where(as_new_BK, new_cosine_BK, self.cosine_BK[rows]).astype(np.float32)
        histories = [self.task.histories[row] for row in rows]
        shown = replace(self.candidates.of(rows), cosines=cosine_BK)
        evidence = self.recommender.rank_inputs(histories, user_BD, shown, as_new_BK=as_new_BK)
        content = {
            "candidate_vector": newcomers.vectors[candidate_BK],
            "candidate_tokens": newcomers.tokens[candidate_BK].astype(np.float32),
            "candidate_token_mask": newcomers.token_mask[candidate_BK],
        }
        for name, array in content.items():
            where = as_new_BK.reshape(*as_new_BK.shape, *(1,) * (array.ndim - 2))
            evidence[name] = np.where(where, array, inputs[name])
        return evidence, cosine_BK

    def ndcg(self, ranker_BK: npt.NDArray[np.floating[Any]] | float) -> float:
        """Mean NDCG@10 of the lists in the order of the retriever's score plus `ranker_BK`."""
        score_BK = self.recommender.retriever_score(self.candidate_BK, self.cosine_BK) + ranker_BK
        order_BK = best_first(score_BK, self.candidate_BK)
        ranked_BK = np.take_along_axis(self.candidate_BK, order_BK, 1)
        return selection_ndcg(ranked_BK, self.truth)


class _Choice:
    """The epoch and share that are best on validation so far; the fallback is the retriever alone."""

    def __init__(
        self, recommender: Recommender, validation: RankingTask | None, config: RankerConfig, share: float
    ) -> None:
        self.lists = _Lists(recommender, validation, config.num_candidates) if validation else None
        self.parameters: dict[str, Any] | None = None
        self.epoch, self.share = 0, 0.0 if self.lists else share
        alone = self.lists.ndcg(0.0) if self.lists else 0.0
        self.scores = {"retriever": alone, "with_ranker": alone} if self.lists else {}

    @property
    def note(self) -> str:
        if self.lists is None:
            return ""
        return f", NDCG@10 {self.scores['retriever']:.4f} -> {self.scores['with_ranker']:.4f}"

    def consider(self, ranker: Ranker, epoch: int) -> None:
        if self.lists is None:
            return
        scaled = ScaledRanker(ranker, 1.0).eval()
        rows = np.arange(len(self.lists.candidate_BK))
        output_BK = np.concatenate([scaled.rank(inputs)["score"] for _, inputs in self.lists.batches(rows)])
        for share in SHARES:
            score = self.lists.ndcg(share * output_BK)
            if score > self.scores["with_ranker"]:
                self.scores["with_ranker"], self.epoch, self.share = score, epoch, share
                self.parameters = copy.deepcopy(ranker.state_dict())


def _train_epoch(
    ranker: Ranker,
    optimizer: torch.optim.Optimizer,
    lists: _Lists,
    newcomers: ItemArrays | None,
    rng: np.random.Generator,
) -> float:
    ranker.train()
    losses = []
    for rows, cosine_BK, inputs in lists.training_batches(newcomers, rng):
        delta_BK = ranker(*_tensors(inputs)).score_BK
        candidate_BK = lists.candidate_BK[rows]
        base_BK = torch.from_numpy(lists.recommender.retriever_score(candidate_BK, cosine_BK))
        label_BK = torch.from_numpy(lists.label_BK[rows].astype(np.float32))
        loss = listwise_cross_entropy(base_BK + delta_BK, label_BK, torch.from_numpy(candidate_BK != PAD))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return float(np.mean(losses))


def _tensors(inputs: Arrays) -> list[Tensor]:
    return [torch.from_numpy(np.ascontiguousarray(inputs[name])) for name in INPUTS]
