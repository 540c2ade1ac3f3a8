"""The content-to-embedding regression: a cold item's vector from its content.

Weighted ridge regression on warm items. With v the item's learned vector and n its number of positive events,
the targets are v log(1 + n) and log(1 + n), and the weight of an item is sqrt(n). The second target predicts
popularity. With x the inputs of the head, W_v and w_n the coefficients of both targets, and mean_positive_D
the mean item vector over all positive events, the vector of a cold item is

    vector = W_v x + popularity_pull * (w_n x) * mean_positive_D

The intercept of w_n is left out, because it would move all items alike.

`ridge_alpha` and `popularity_pull` are chosen by cross-fitting. The vector of an item comes from a regression
on the items of the other folds. The item is ranked among the items of its own fold, for validation users
whose events on the items of the fold have been removed (`ValidationUsers.before`). The item tower is not used
in the choice, because it was trained on these items. Another alpha than the largest, or another pull than the
smallest, is chosen only where it is better by more than the standard error over users.

Legend: N items, C values of an item in a category field, V values of a category field, W inputs, D width,
    E = D + 1 targets, M landmarks, U users, K ranks.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from recsys.arrays import Bools, Floats, Ints
from recsys.config import ColdStartConfig
from recsys.ids import NUM_RESERVED
from recsys.metrics import IdLists, best_if_clear
from recsys.models import EMBED_ROWS, ColdStartHead, Retriever, blend, inverse_root_count
from recsys.retrieval import top_k
from recsys.ridge import Doubles, solve_ridge
from training.cold_start.validation_users import ValidationUsers
from training.ranker import selection_ndcg_by_user

logger = logging.getLogger(__name__)

# Constants, because validation hardly depends on them; `model.cold_start` has the settings worth tuning.
ITEMS_PER_LANDMARK = 8  # with fewer items for each landmark the regression interpolates its targets
KERNEL_NORM = 4.0  # mean squared length of the kernel inputs; that of a modality's inputs is about 1
MIN_COUNT = 3  # warm items that a value of a wide category field needs for a column of its own
MAX_COLUMNS = 1024  # columns of one wide field, for its most frequent values; bounds the normal equations
MAX_USERS = 2000  # validation users, sampled at random; more do not change the choice


@dataclass(frozen=True, kw_only=True)
class ContentRegression:
    """The fitted head with its chosen settings, and the cross-fitted vectors of warm items."""

    ridge_alpha: float
    popularity_pull: float
    head: ColdStartHead
    # Cross-fitted vectors, zeros where an item has none; None where nothing was chosen (a refit).
    pseudo_cold_ND: Floats | None = None
    # Validation NDCG@10 of each user within folds, by ridge alpha without a pull, and by pull at the chosen
    # alpha.
    alpha_ndcg_U: Mapping[float, Doubles]
    pull_ndcg_U: Mapping[float, Doubles]


def fit_content_regression(
    model: Retriever,
    users: ValidationUsers | None,
    *,
    ridge_alpha: float | None = None,
    popularity_pull: float = 0.0,
    seed: int = 0,
) -> ContentRegression | None:
    """The head for the items of `model`; both settings are chosen on `users` from the configured grids.

    With a `ridge_alpha` nothing is chosen: `ridge_alpha` and `popularity_pull` are used as given. None where
    items have no vectors or the model no ids, or fewer than `model.cold_start.min_items` items are warm.
    """
    config = model.config.cold_start
    rows = _rows(model, config.max_items)
    if not model.spec.dense_dims or not model.spec.has_id or len(rows) < config.min_items:
        return None
    head = _make_head(model, rows, seed)
    problem = _Problem.of(model, head, rows)
    if ridge_alpha is not None or users is None:
        alpha = config.ridge_alphas[len(config.ridge_alphas) // 2] if ridge_alpha is None else ridge_alpha
        _set_weights(head, problem, problem.solve(alpha), popularity_pull)
        return ContentRegression(
            ridge_alpha=alpha, popularity_pull=popularity_pull, head=head, alpha_ndcg_U={}, pull_ndcg_U={}
        )
    return _choose(model, users, head, problem, rows, seed)


def _choose(
    model: Retriever, users: ValidationUsers, head: ColdStartHead, problem: "_Problem", rows: Ints, seed: int
) -> ContentRegression:
    config, rng = model.config.cold_start, np.random.default_rng(seed)
    cross_fit = _CrossFit.of(problem, rows, config, model.features.size, rng)
    sampled = users.only(rng.permutation(len(users.ground_truth))[:MAX_USERS])
    before = [sampled.before(fold_N) for fold_N in cross_fit.folds]
    # The simplest are the strongest penalty and no pull.
    alpha_ndcg_U = {
        alpha: _ndcg_within_folds(cross_fit.vectors(alpha, 0.0), cross_fit.folds, before)
        for alpha in sorted(config.ridge_alphas, reverse=True)
    }
    alpha = best_if_clear(alpha_ndcg_U)
    predictions = {pull: cross_fit.vectors(alpha, pull) for pull in sorted(config.popularity_pulls)}
    pull_ndcg_U = {
        pull: _ndcg_within_folds(vector_ND, cross_fit.folds, before)
        for pull, vector_ND in predictions.items()
    }
    pull = best_if_clear(pull_ndcg_U)
    for name, found in {"ridge alpha": alpha_ndcg_U, "popularity pull": pull_ndcg_U}.items():
        values = {setting: float(ndcg_U.mean()) for setting, ndcg_U in found.items() if len(ndcg_U)}
        logger.info("content regression: validation NDCG@10 within folds by %s: %s", name, values)
    _set_weights(head, problem, problem.solve(alpha), pull)
    return ContentRegression(
        ridge_alpha=alpha,
        popularity_pull=pull,
        head=head,
        pseudo_cold_ND=_scaled_as_cold(predictions[pull], head, model),
        alpha_ndcg_U=alpha_ndcg_U,
        pull_ndcg_U=pull_ndcg_U,
    )


@dataclass(frozen=True, kw_only=True)
class _CrossFit:
    """For each fold, the regression on the items of the other folds. Only its solutions stay in memory."""

    problem: "_Problem"
    rows: Ints
    fold_of_row: Ints
    num_items: int
    num_folds: int
    mean_positive: Sequence[Doubles]  # [D], by fold
    solved: Mapping[float, Sequence[Doubles]]  # [W, E], by ridge alpha and fold

    @classmethod
    def of(
        cls,
        problem: "_Problem",
        rows: Ints,
        config: ColdStartConfig,
        num_items: int,
        rng: np.random.Generator,
    ) -> "_CrossFit":
        fold_of_row = rng.integers(config.num_folds, size=len(rows))
        mean_positive: list[Doubles] = []
        solved: dict[float, list[Doubles]] = {alpha: [] for alpha in config.ridge_alphas}
        for fold in range(config.num_folds):
            remaining = problem.without(fold_of_row == fold)
            mean_positive.append(remaining.mean_positive_D)
            for alpha, solutions in solved.items():
                solutions.append(remaining.solve(alpha))
        return cls(
            problem=problem,
            rows=rows,
            fold_of_row=fold_of_row,
            num_items=num_items,
            num_folds=config.num_folds,
            mean_positive=mean_positive,
            solved=solved,
        )

    @cached_property
    def folds(self) -> list[Bools]:
        """The items of each fold. Shapes [N]."""
        every = np.arange(self.num_items)
        return [np.isin(every, self.rows[self.fold_of_row == fold]) for fold in range(self.num_folds)]

    def vectors(self, ridge_alpha: float, popularity_pull: float) -> Floats:
        """Cross-fitted vectors of the warm items, zeros for all others. Shape [N, D]."""
        solved = self.solved[ridge_alpha]
        vector_ND = np.zeros((self.num_items, solved[0].shape[1] - 1), np.float32)
        for fold, (solved_WE, mean_D) in enumerate(zip(solved, self.mean_positive, strict=True)):
            own_N = self.fold_of_row == fold
            weight_WD = _with_pull(solved_WE, mean_D, popularity_pull)
            vector_ND[self.rows[own_N]] = self.problem.input_NW[own_N] @ weight_WD
        return vector_ND


def _rows(model: Retriever, max_items: int) -> Ints:
    """Warm items of the regression, the most popular ones, ascending."""
    popularity = model.features.popularity
    rows = np.flatnonzero(model.features.trained & (popularity > 0))
    return np.sort(rows[np.argsort(-popularity[rows], kind="stable")[:max_items]])


@torch.no_grad()
def _make_head(model: Retriever, rows: Ints, seed: int) -> ColdStartHead:
    """A head with its landmarks and the gain of its kernel; its weights are not solved for yet."""
    rng = np.random.default_rng([seed, 1])
    num = min(model.config.cold_start.max_landmarks, len(rows) // ITEMS_PER_LANDMARK)
    head = ColdStartHead(model.spec, num_landmarks=num).to(model.device)
    landmarks = torch.from_numpy(rng.choice(rows, num, replace=False))
    head.landmark_MW.copy_(F.normalize(head.inputs(*_content(model, landmarks)), dim=1, eps=1e-6))
    head.gain.fill_(1.0)
    sample = torch.from_numpy(rng.choice(rows, min(len(rows), EMBED_ROWS), replace=False))
    kernel_NM = head.with_kernel(head.inputs(*_content(model, sample)))[:, -num:]
    squared = kernel_NM.square().sum(1).mean().clamp(min=1e-6)
    head.gain.copy_((KERNEL_NORM / squared).sqrt())
    return head


@dataclass(frozen=True, kw_only=True)
class _Problem:
    """Normal equations of a weighted ridge regression with an intercept."""

    input_NW: Doubles  # inputs of the head, one column for each kept value of a wide field, and a column of 1
    target_NE: Doubles  # v log(1 + n) and log(1 + n)
    weight_N: Doubles
    gram_WW: Doubles
    moment_WE: Doubles
    mean_positive_D: Doubles  # mean of the item vectors over all positive events
    values: Mapping[str, Ints]  # by wide field, the values that have a column, in their order

    @classmethod
    def of(cls, model: Retriever, head: ColdStartHead, rows: Ints) -> "_Problem":
        was_training = model.training
        model.eval()
        inputs, vectors = [], []
        with torch.no_grad():
            for part in torch.from_numpy(rows).split(EMBED_ROWS):
                inputs.append(head.with_kernel(head.inputs(*_content(model, part))).double().cpu().numpy())
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
            mean_positive_D=_mean_positive(target_NE, weight_N),
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
            mean_positive_D=_mean_positive(self.target_NE[~out_N], self.weight_N[~out_N]),
            values=self.values,
        )

    def solve(self, ridge_alpha: float) -> Doubles:
        """Coefficients of all targets; the intercept is hardly regularised. Shape [W, E]."""
        return solve_ridge(self.gram_WW, self.moment_WE, ridge_alpha)

    def with_pull(self, solved_WE: Doubles, popularity_pull: float) -> Doubles:
        """`_with_pull` with the mean vector of this problem. Shape [W, D]."""
        return _with_pull(solved_WE, self.mean_positive_D, popularity_pull)

    def mean_length(self, solved_WE: Doubles) -> float:
        """Mean length of the warm items' predicted vectors without a pull."""
        return float(np.linalg.norm(self.input_NW @ solved_WE[:, :-1], axis=1).mean().clip(1e-6))


def _with_pull(solved_WE: Doubles, mean_positive_D: Doubles, popularity_pull: float) -> Doubles:
    """W_v + popularity_pull * w_n mean_positive_D, without the intercept of w_n. Shape [W, D]."""
    popularity_W = solved_WE[:, -1].copy()
    popularity_W[-1] = 0.0
    return solved_WE[:, :-1] + popularity_pull * np.outer(popularity_W, mean_positive_D)


def _mean_positive(target_NE: Doubles, weight_N: Doubles) -> Doubles:
    """Mean of the item vectors over all positive events. Shape [D]."""
    vector_ND = target_NE[:, :-1] / target_NE[:, -1:]
    mean_D: Doubles = np.average(vector_ND, axis=0, weights=weight_N**2)
    return mean_D


def _frequent(ids_NC: Ints) -> Ints:
    """The most frequent values that at least `MIN_COUNT` items have."""
    value, count = np.unique(ids_NC[ids_NC >= NUM_RESERVED], return_counts=True)
    value, count = value[count >= MIN_COUNT], count[count >= MIN_COUNT]
    return np.sort(value[np.argsort(-count, kind="stable")[:MAX_COLUMNS]])


def _one_hot(ids_NC: Tensor, values: Ints) -> Doubles:
    """A column for each of `values`, scaled as in the head. Shape [N, len(values)]."""
    column_NV = (ids_NC.unsqueeze(2) == torch.from_numpy(values)).sum(1)
    scaled: Doubles = (column_NV * inverse_root_count(ids_NC).unsqueeze(1)).double().numpy()
    return scaled


def _content(model: Retriever, row_N: Tensor) -> tuple[dict[str, tuple[Tensor, Tensor]], dict[str, Tensor]]:
    """Content of items, warm or not, as that of cold items: without reviews of users with training events."""
    return model.content(row_N, torch.zeros_like(row_N, dtype=torch.bool))


@torch.no_grad()
def _set_weights(head: ColdStartHead, problem: _Problem, solved_WE: Doubles, popularity_pull: float) -> None:
    """Set the head's weights, scaled so that warm items' vectors without a pull have a mean length of 1."""
    coefficient_WD = problem.with_pull(solved_WE, popularity_pull) / problem.mean_length(solved_WE)
    start = head.linear.in_features
    head.linear.weight.copy_(torch.from_numpy(coefficient_WD[:start].T))
    head.linear.bias.copy_(torch.from_numpy(coefficient_WD[-1]))
    for name, values in problem.values.items():
        end = start + len(values)
        table = head.get_buffer(f"values_{name}")
        table[torch.from_numpy(values)] = torch.from_numpy(coefficient_WD[start:end]).to(table)
        start = end


@torch.no_grad()
def _scaled_as_cold(predicted_ND: Floats, head: ColdStartHead, model: Retriever) -> Floats:
    """Cross-fitted vectors at the mean length of cold items' vectors.

    Without a cold item in the catalogue, at the mean length of warm items' vectors from content alone.
    """
    cold = np.flatnonzero(~model.features.trained)
    cold = cold[cold >= NUM_RESERVED]
    rows = torch.from_numpy(cold if len(cold) else np.flatnonzero(model.features.trained))
    tower_ND = torch.from_numpy(model.item_arrays(as_cold=True).vectors)
    dense, ids = _content(model, rows)
    vector_ND = blend(head.regress(dense, ids).cpu(), tower_ND[rows])
    has_N = predicted_ND.any(1)
    length = np.linalg.norm(predicted_ND[has_N], axis=1).mean().clip(1e-6)
    scaled_ND: Floats = predicted_ND * np.float32(float(vector_ND.norm(dim=1).mean()) / length)
    return scaled_ND


def _ndcg_within_folds(
    vector_ND: Floats, folds: Sequence[Bools], before: Sequence[ValidationUsers]
) -> Doubles:
    """NDCG@10 of each user, mean over the folds with ground truth, ranked among the fold's unseen items.

    `before` has the users before the items of each fold existed. Users without ground truth are left out.
    """
    num_users = max((len(users.ground_truth) for users in before), default=0)
    sum_U, num_U = np.zeros(num_users), np.zeros(num_users)
    for fold_N, users in zip(folds, before, strict=True):
        ground_truth = [items[fold_N[items]] for items in users.ground_truth]
        rows = [row for row, items in enumerate(ground_truth) if len(items)]
        if not rows:
            continue
        score_UN = users.user_UD[rows] @ vector_ND.T
        seen = IdLists.from_lists([users.seen[row] for row in rows])
        ranked_UK, _ = top_k(score_UN, 10, allowed=fold_N, excluded=seen)
        truth = IdLists.from_lists([ground_truth[row] for row in rows])
        sum_U[rows] += selection_ndcg_by_user(ranked_UK, truth)
        num_U[rows] += 1
    mean_U: Doubles = sum_U[num_U > 0] / num_U[num_U > 0]
    return mean_U
