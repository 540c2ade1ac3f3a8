"""Content regressed onto the vectors of known items, so that a new item enters where its like stand.

Ridge regression from an item's content to its learned vector, made longer by how often the item was
chosen: y = v log(1 + n), weighed by the root of n. Chosen by cross-fitting: an item is judged by a map that
was fitted on other items, and ranked for the validation users among the items of its own fold, as new
items are ranked among new ones.

Legend: N items, W inputs, D width, U users.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from recsys.batches import Bools, Floats, Ints
from recsys.metrics import IdLists
from recsys.models.newcomer import NewcomerHead
from recsys.models.retriever import EMBED_ROWS, Retriever
from recsys.ridge import Doubles, solve_ridge
from training.evaluation import top_k
from training.ranked_lists import selection_ndcg

logger = logging.getLogger(__name__)

NUM_FOLDS = 5
PENALTIES = (1.0, 3.0, 10.0, 30.0, 100.0)
MIN_ITEMS = 50  # with fewer there is nothing to regress on


@dataclass(frozen=True, kw_only=True)
class Judges:
    """Validation users: what they are to the towers, what they chose next, and what they had seen."""

    user_UD: Floats
    truth: Sequence[Ints]
    seen: Sequence[Ints]


@dataclass(frozen=True, kw_only=True)
class Newcomers:
    """The chosen penalty, the map, and what it says of each known item when fitted on others."""

    penalty: float
    head: NewcomerHead
    crossfit_ND: Floats | None  # None where nothing was chosen (a refit)
    scores: dict[float, float]  # validation NDCG@10 among the items of a fold, by penalty


def fit_newcomers(
    model: Retriever, judges: Judges | None, *, penalty: float | None = None, seed: int = 0
) -> Newcomers | None:
    """The head for the items of `model`; with a `penalty` nothing is chosen.

    None where items have no content, no id of their own, or too few have training events.
    """
    features = model.features
    rows = np.flatnonzero(features.trained & (features.popularity > 0))
    if not model.spec.dense_dims or not model.spec.has_id or len(rows) < MIN_ITEMS:
        return None
    head = NewcomerHead(model.spec)
    problem = _Problem.of(model, head, rows)
    if penalty is not None or judges is None:
        penalty = PENALTIES[len(PENALTIES) // 2] if penalty is None else penalty
        _put(head, problem.solve(penalty))
        return Newcomers(penalty=penalty, head=head, crossfit_ND=None, scores={})
    fold_N = np.random.default_rng(seed).integers(NUM_FOLDS, size=len(rows))
    crossfit = {each: np.zeros((features.size, problem.target_ND.shape[1]), np.float32) for each in PENALTIES}
    for fold in range(NUM_FOLDS):
        rest = problem.without(fold_N == fold)
        for each, vectors_ND in crossfit.items():
            vectors_ND[rows[fold_N == fold]] = problem.input_NW[fold_N == fold] @ rest.solve(each)
    folds = [np.isin(np.arange(features.size), rows[fold_N == fold]) for fold in range(NUM_FOLDS)]
    scores = {each: _among_their_like(vectors, folds, judges) for each, vectors in crossfit.items()}
    best = max(scores, key=scores.__getitem__)
    logger.info("newcomers: validation NDCG@10 among items of a fold by penalty: %s", scores)
    _put(head, problem.solve(best))
    return Newcomers(penalty=best, head=head, crossfit_ND=crossfit[best], scores=scores)


@dataclass(frozen=True, kw_only=True)
class _Problem:
    """Normal equations of a weighted ridge regression with an intercept."""

    input_NW: Doubles  # the last column is 1
    target_ND: Doubles
    weight_N: Doubles
    gram_WW: Doubles
    moment_WD: Doubles

    @classmethod
    def of(cls, model: Retriever, head: NewcomerHead, rows: Ints) -> "_Problem":
        was_training = model.training
        model.eval()
        inputs, vectors = [], []
        with torch.no_grad():
            for part in torch.from_numpy(rows).split(EMBED_ROWS):
                inputs.append(head.inputs(*_content(model, part)).double().cpu().numpy())
                vectors.append(model.embed_items(part).vector_ND.double().cpu().numpy())
        model.train(was_training)
        count_N = model.features.popularity[rows].astype(np.float64)
        input_NW = np.concatenate(inputs)
        return cls.from_rows(
            np.concatenate([input_NW, np.ones((len(rows), 1))], axis=1),
            np.concatenate(vectors) * np.log1p(count_N)[:, None],
            np.sqrt(count_N),
        )

    @classmethod
    def from_rows(cls, input_NW: Doubles, target_ND: Doubles, weight_N: Doubles) -> "_Problem":
        weighed_NW = input_NW * weight_N[:, None]
        return cls(
            input_NW=input_NW,
            target_ND=target_ND,
            weight_N=weight_N,
            gram_WW=weighed_NW.T @ input_NW,
            moment_WD=weighed_NW.T @ target_ND,
        )

    def without(self, out_N: Bools) -> "_Problem":
        """The problem of the other items."""
        left_out = self.from_rows(self.input_NW[out_N], self.target_ND[out_N], self.weight_N[out_N])
        return _Problem(
            input_NW=self.input_NW,
            target_ND=self.target_ND,
            weight_N=self.weight_N,
            gram_WW=self.gram_WW - left_out.gram_WW,
            moment_WD=self.moment_WD - left_out.moment_WD,
        )

    def solve(self, penalty: float) -> Doubles:
        """Coefficients [W, D]; the intercept is all but free of the penalty."""
        return solve_ridge(self.gram_WW, self.moment_WD, penalty)


@torch.no_grad()
def scale_head(head: NewcomerHead, scale: float) -> None:
    """Make every vector that `head` gives `scale` times as long."""
    head.linear.weight.mul_(scale)
    head.linear.bias.mul_(scale)


@torch.no_grad()
def mean_length(model: Retriever, head: NewcomerHead) -> float:
    """Of the vectors that `head` gives the known items."""
    rows = torch.from_numpy(np.flatnonzero(model.features.trained))
    lengths = [head(*_content(model, part)).norm(dim=1) for part in rows.split(EMBED_ROWS)]
    return float(torch.cat(lengths).mean().clamp(min=1e-6))


def _content(model: Retriever, row_N: Tensor) -> tuple[dict[str, tuple[Tensor, Tensor]], dict[str, Tensor]]:
    """What the head reads of known items: what it will read of new ones."""
    return model.content(row_N, torch.zeros_like(row_N, dtype=torch.bool))


@torch.no_grad()
def _put(head: NewcomerHead, coefficient_WD: Doubles) -> None:
    head.linear.weight.copy_(torch.from_numpy(coefficient_WD[:-1].T))
    head.linear.bias.copy_(torch.from_numpy(coefficient_WD[-1]))


def _among_their_like(vectors_ND: Floats, folds: Sequence[Bools], judges: Judges) -> float:
    """Mean NDCG@10 over users and folds, of the truth in a fold ranked among the fold's unseen items."""
    scores, weights = [], []
    for fold_N in folds:
        truth = [items[fold_N[items]] for items in judges.truth]
        rows = [row for row, items in enumerate(truth) if len(items)]
        if not rows:
            continue
        score_UN = judges.user_UD[rows] @ vectors_ND.T
        seen = IdLists.from_lists([judges.seen[row] for row in rows])
        ranked_UK = top_k(score_UN, 10, allowed=fold_N, seen=seen)
        scores.append(selection_ndcg(ranked_UK, IdLists.from_lists([truth[row] for row in rows])))
        weights.append(len(rows))
    return float(np.average(scores, weights=weights)) if scores else 0.0
