"""Content regressed onto the vectors of known items, so that a new item enters where its like stand.

Ridge regression from an item's content to its learned vector, made longer by how often the item was
chosen: y = v log(1 + n), weighed by the root of n. The same regression foretells log(1 + n) itself, and an
item that will be chosen often is pulled towards what is chosen most. Penalty and pull are found by
cross-fitting: an item is judged by a map that was fitted on other items, and ranked among the items of its
own fold, as new items are ranked among new ones, for users as they were before these came. The item tower
has seen these items in training, and so has no say in it: of a new item's content it knows less.

Legend: N items, W inputs, D width, E = D + 1 targets, U users, V values of a category field.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from recsys.arrays import Bools, Floats, Ints
from recsys.ids import NUM_RESERVED
from recsys.metrics.ranking import IdLists
from recsys.models.cold_start_head import NewcomerHead, blend, share_of
from recsys.models.retriever import EMBED_ROWS, Retriever
from recsys.retrieval.topk import top_k
from recsys.ridge import Doubles, solve_ridge
from training.cold_start.validation_users import Judges
from training.ranker.ranked_lists import selection_ndcg

logger = logging.getLogger(__name__)

NUM_FOLDS = 5
PENALTIES = (3.0, 10.0, 30.0, 100.0)
PULLS = (0.0, 1.0, 2.0, 4.0, 8.0)
MIN_ITEMS = 50  # with fewer there is nothing to regress on
MAX_ITEMS = 30_000  # the most chosen ones, so that time and memory stay bounded
MAX_LANDMARKS = 1024
ITEMS_PER_LANDMARK = 8
KERNEL_SHARE = 4.0  # mean squared length of an item's likeness to the landmarks; each modality's is about 1
MIN_COUNT = 3  # known items that a value of a wide field needs to have a direction of its own
MAX_JUDGES = 2000
MAX_COLUMNS = 1024  # such values of one field, the most frequent ones


@dataclass(frozen=True, kw_only=True)
class Newcomers:
    """The chosen penalty and pull, the head, and what it says of each known item when fitted on others."""

    penalty: float
    pull: float
    head: NewcomerHead
    playing_ND: Floats | None  # None where nothing was chosen (a refit)
    # Validation NDCG@10 among the items of a fold, by penalty of the regression alone, and by pull with all.
    scores: dict[float, float]
    pull_scores: dict[float, float]


def fit_newcomers(
    model: Retriever,
    judges: Judges | None,
    *,
    penalty: float | None = None,
    pull: float = 0.0,
    seed: int = 0,
) -> Newcomers | None:
    """The head for the items of `model`; with a `penalty`, and the `pull` to it, nothing is chosen.

    None where items have no content, no id of their own, or too few have training events.
    """
    rows = _rows(model)
    if not model.spec.dense_dims or not model.spec.has_id or len(rows) < MIN_ITEMS:
        return None
    head = _make_head(model, rows, seed)
    problem = _Problem.of(model, head, rows)
    if penalty is not None or judges is None:
        penalty = PENALTIES[len(PENALTIES) // 2] if penalty is None else penalty
        _put(head, problem, problem.solve(penalty), pull)
        return Newcomers(penalty=penalty, pull=pull, head=head, playing_ND=None, scores={}, pull_scores={})
    rng = np.random.default_rng(seed)
    fold_N = rng.integers(NUM_FOLDS, size=len(rows))
    folds = [np.isin(np.arange(model.features.size), rows[fold_N == fold]) for fold in range(NUM_FOLDS)]
    some = judges.only(rng.permutation(len(judges.truth))[:MAX_JUDGES])
    before = [some.before(each_N) for each_N in folds]
    # Of a fold's problem only this is kept: its normal equations are large.
    liked: list[Doubles] = []
    crossfit: dict[float, list[Doubles]] = {each: [] for each in PENALTIES}
    for fold in range(NUM_FOLDS):
        rest = problem.without(fold_N == fold)
        liked.append(rest.liked_D)
        for each, solved in crossfit.items():
            solved.append(rest.solve(each))

    def told(solved: Sequence[Doubles], pull: float) -> Floats:
        """What each known item is told by the map of the others, zeros for all else. Shape [N, D]."""
        vector_ND = np.zeros((model.features.size, solved[0].shape[1] - 1), np.float32)
        for fold, (solved_WE, liked_D) in enumerate(zip(solved, liked, strict=True)):
            own_N = fold_N == fold
            vector_ND[rows[own_N]] = problem.input_NW[own_N] @ _pulled(solved_WE, liked_D, pull)
        return vector_ND

    scores = {each: _among_their_like(told(crossfit[each], 0.0), folds, before) for each in PENALTIES}
    best = max(scores, key=scores.__getitem__)
    playing = {each: told(crossfit[best], each) for each in PULLS}
    pull_scores = {each: _among_their_like(playing[each], folds, before) for each in PULLS}
    pull = max(pull_scores, key=pull_scores.__getitem__)
    logger.info("newcomers: validation NDCG@10 among items of a fold by penalty: %s", scores)
    logger.info("newcomers: the same by pull: %s", pull_scores)
    _put(head, problem, problem.solve(best), pull)
    playing_ND = _as_long_as_new(playing[pull], head, model)
    return Newcomers(
        penalty=best, pull=pull, head=head, playing_ND=playing_ND, scores=scores, pull_scores=pull_scores
    )


def _rows(model: Retriever) -> Ints:
    """Known items that the map is fitted on."""
    popularity = model.features.popularity
    rows = np.flatnonzero(model.features.trained & (popularity > 0))
    return np.sort(rows[np.argsort(-popularity[rows], kind="stable")[:MAX_ITEMS]])


@torch.no_grad()
def _make_head(model: Retriever, rows: Ints, seed: int) -> NewcomerHead:
    """With its landmarks, the kernel scaled; what is solved for is still open."""
    rng = np.random.default_rng([seed, 1])
    num = min(MAX_LANDMARKS, len(rows) // ITEMS_PER_LANDMARK)
    head = NewcomerHead(model.spec, num_landmarks=num).to(model.device)
    landmarks = torch.from_numpy(rng.choice(rows, num, replace=False))
    head.landmark_MW.copy_(F.normalize(head.inputs(*_content(model, landmarks)), dim=1, eps=1e-6))
    head.gain.fill_(1.0)
    asked = torch.from_numpy(rng.choice(rows, min(len(rows), EMBED_ROWS), replace=False))
    likeness_NM = head.spread(head.inputs(*_content(model, asked)))[:, -num:]
    squared = likeness_NM.square().sum(1).mean().clamp(min=1e-6)
    head.gain.copy_((KERNEL_SHARE / squared).sqrt())
    return head


@dataclass(frozen=True, kw_only=True)
class _Problem:
    """Normal equations of a weighted ridge regression with an intercept."""

    input_NW: Doubles  # what the linear map reads, a column a value of a wide field, and 1
    target_NE: Doubles  # the vectors, made longer, and log(1 + n)
    weight_N: Doubles
    gram_WW: Doubles
    moment_WE: Doubles
    liked_D: Doubles  # mean vector of what was chosen
    values: Mapping[str, Ints]  # by wide field, the values that have a column, in their order

    @classmethod
    def of(cls, model: Retriever, head: NewcomerHead, rows: Ints) -> "_Problem":
        was_training = model.training
        model.eval()
        inputs, vectors = [], []
        with torch.no_grad():
            for part in torch.from_numpy(rows).split(EMBED_ROWS):
                inputs.append(head.spread(head.inputs(*_content(model, part))).double().cpu().numpy())
                vectors.append(model.embed_items(part).vector_ND.double().cpu().numpy())
        model.train(was_training)
        ids = {name: model.category_ids[name][torch.from_numpy(rows)].cpu() for name in head.wide}
        values = {name: _frequent(ids_NC.numpy()) for name, ids_NC in ids.items()}
        columns = [_one_hot(ids[name], values[name]) for name in head.wide]
        count_N = model.features.popularity[rows].astype(np.float64)
        return cls.from_rows(
            np.concatenate([np.concatenate(inputs), *columns, np.ones((len(rows), 1))], axis=1),
            np.c_[np.concatenate(vectors), np.ones(len(rows))] * np.log1p(count_N)[:, None],
            np.sqrt(count_N),
            values,
        )

    @classmethod
    def from_rows(
        cls, input_NW: Doubles, target_NE: Doubles, weight_N: Doubles, values: Mapping[str, Ints]
    ) -> "_Problem":
        weighed_NW = input_NW * weight_N[:, None]
        return cls(
            input_NW=input_NW,
            target_NE=target_NE,
            weight_N=weight_N,
            gram_WW=weighed_NW.T @ input_NW,
            moment_WE=weighed_NW.T @ target_NE,
            liked_D=_mean_chosen(target_NE, weight_N),
            values=values,
        )

    def without(self, out_N: Bools) -> "_Problem":
        """The problem of the other items."""
        left_out = self.from_rows(self.input_NW[out_N], self.target_NE[out_N], self.weight_N[out_N], {})
        return _Problem(
            input_NW=self.input_NW,
            target_NE=self.target_NE,
            weight_N=self.weight_N,
            gram_WW=self.gram_WW - left_out.gram_WW,
            moment_WE=self.moment_WE - left_out.moment_WE,
            liked_D=_mean_chosen(self.target_NE[~out_N], self.weight_N[~out_N]),
            values=self.values,
        )

    def solve(self, penalty: float) -> Doubles:
        """Coefficients [W, E]; the intercept is all but free of the penalty."""
        return solve_ridge(self.gram_WW, self.moment_WE, penalty)

    def pulled(self, solved_WE: Doubles, pull: float) -> Doubles:
        """The map [W, D] to vectors that are pulled by how often their items will be chosen."""
        return _pulled(solved_WE, self.liked_D, pull)

    def mean_length(self, solved_WE: Doubles) -> float:
        """Of the known items' vectors without a pull."""
        return float(np.linalg.norm(self.input_NW @ solved_WE[:, :-1], axis=1).mean().clip(1e-6))


def _pulled(solved_WE: Doubles, liked_D: Doubles, pull: float) -> Doubles:
    """What all items share of the pull, the intercept, only moves them all: it is left to the calibration."""
    popular_W = solved_WE[:, -1].copy()
    popular_W[-1] = 0.0
    return solved_WE[:, :-1] + pull * np.outer(popular_W, liked_D)


def _mean_chosen(target_NE: Doubles, weight_N: Doubles) -> Doubles:
    """Mean of the vectors over all choices of their items. Shape [D]."""
    vector_ND = target_NE[:, :-1] / target_NE[:, -1:]
    mean_D: Doubles = np.average(vector_ND, axis=0, weights=weight_N**2)
    return mean_D


def _frequent(ids_NC: Ints) -> Ints:
    """The values that enough items have."""
    value, count = np.unique(ids_NC[ids_NC >= NUM_RESERVED], return_counts=True)
    value, count = value[count >= MIN_COUNT], count[count >= MIN_COUNT]
    return np.sort(value[np.argsort(-count, kind="stable")[:MAX_COLUMNS]])


def _one_hot(ids_NC: Tensor, values: Ints) -> Doubles:
    """A column a value, as the head counts them. Shape [N, len(values)]."""
    column_NV = (ids_NC.unsqueeze(2) == torch.from_numpy(values)).sum(1)
    spread: Doubles = (column_NV * share_of(ids_NC).unsqueeze(1)).double().numpy()
    return spread


def _content(model: Retriever, row_N: Tensor) -> tuple[dict[str, tuple[Tensor, Tensor]], dict[str, Tensor]]:
    """What the head reads of known items: what it will read of new ones."""
    return model.content(row_N, torch.zeros_like(row_N, dtype=torch.bool))


@torch.no_grad()
def _put(head: NewcomerHead, problem: _Problem, solved_WE: Doubles, pull: float) -> None:
    """Give the head its map, scaled so that without a pull known items' vectors have a mean length of 1."""
    coefficient_WD = problem.pulled(solved_WE, pull) / problem.mean_length(solved_WE)
    start = head.linear.in_features
    head.linear.weight.copy_(torch.from_numpy(coefficient_WD[:start].T))
    head.linear.bias.copy_(torch.from_numpy(coefficient_WD[-1]))
    for name, values in problem.values.items():
        end = start + len(values)
        table = head.get_buffer(f"values_{name}")
        table[torch.from_numpy(values)] = torch.from_numpy(coefficient_WD[start:end]).to(table)
        start = end


@torch.no_grad()
def _as_long_as_new(playing_ND: Floats, head: NewcomerHead, model: Retriever) -> Floats:
    """What known items are told by the maps of others, at the mean length of the vectors of new ones.

    Where nothing is new, of known ones as if they were.
    """
    new = np.flatnonzero(~model.features.trained)
    new = new[new >= NUM_RESERVED]
    asked = torch.from_numpy(new if len(new) else np.flatnonzero(model.features.trained))
    tower_ND = torch.from_numpy(model.item_arrays(as_new=True).vectors)
    dense, ids = _content(model, asked)
    vector_ND = blend(head.regress(dense, ids).cpu(), tower_ND[asked])
    told_N = playing_ND.any(1)
    length = np.linalg.norm(playing_ND[told_N], axis=1).mean().clip(1e-6)
    scaled_ND: Floats = playing_ND * np.float32(float(vector_ND.norm(dim=1).mean()) / length)
    return scaled_ND


def _among_their_like(vectors_ND: Floats, folds: Sequence[Bools], before: Sequence[Judges]) -> float:
    """Mean NDCG@10 over users and folds, of the truth in a fold ranked among the fold's unseen items.

    `before` has the judges of each fold.
    """
    scores, weights = [], []
    for fold_N, judges in zip(folds, before, strict=True):
        truth = [items[fold_N[items]] for items in judges.truth]
        rows = [row for row, items in enumerate(truth) if len(items)]
        if not rows:
            continue
        score_UN = judges.user_UD[rows] @ vectors_ND.T
        seen = IdLists.from_lists([judges.seen[row] for row in rows])
        ranked_UK, _ = top_k(score_UN, 10, allowed=fold_N, excluded=seen)
        scores.append(selection_ndcg(ranked_UK, IdLists.from_lists([truth[row] for row in rows])))
        weights.append(len(rows))
    return float(np.average(scores, weights=weights)) if scores else 0.0
