"""Weights of the fusion for one kind of query, chosen on queries with known answers.

The learned fusion is linear in the legs' z-scores and reciprocal ranks with weights of at least 0. It is
fitted by the listwise softmax cross-entropy (Cao et al. 2007, ListNet's top-one probability)

    loss = - mean over queries of log( sum over answers of exp(score) / sum over candidates of exp(score) )
           + 5 / (2 Q) * squared distance of the weights from those of reciprocal rank fusion

where the latter are scaled to have the lowest loss, so that few queries change them little.

All comparisons are cross-fitted: a fold's NDCG@10 is that of weights fitted on the other folds. A leg is
removed where the NDCG without it is at most one standard error, and at most 1%, below the best; standard
errors are of the paired differences over groups of queries. Learned weights are taken only where they beat
reciprocal rank fusion and the best single leg.

Legend: Q queries, K candidates of a query, F features, two for each leg.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from recsys.arrays import Bools, Floats, Ints
from recsys.search import (
    POPULARITY,
    ClauseScores,
    FusionWeights,
    QueryScores,
    SearchSettings,
    default_weights,
    fuse,
    reciprocal_ranks,
    standardized,
)

Doubles = npt.NDArray[np.float64]
NUM_FOLDS: Final = 5
MIN_QUERIES: Final = 50
NUM_HARD: Final = 100  # candidates of a query in the loss: the first ones of reciprocal rank fusion,
NUM_RANDOM: Final = 50  # and others, drawn
PRIOR_QUERIES: Final = 5.0  # strength of the pull towards reciprocal rank fusion; each query adds 1
MAX_RELATIVE_LOSS: Final = 0.01  # of NDCG, by the removal of all legs together
AT: Final = 10
MAX_ITERATIONS: Final = 100


@dataclass(frozen=True, kw_only=True)
class RankedQuery:
    """The scores of one query with one clause, and the positions of its answers among the candidates."""

    scores: QueryScores
    answers: Ints  # may be empty: no leg proposed the answer
    num_relevant: int
    group: str

    @property
    def clause(self) -> ClauseScores:
        return self.scores.clauses[0]


@dataclass(frozen=True, kw_only=True)
class FusionChoice:
    """The chosen weights, None for reciprocal rank fusion, the reason, and NDCG@10 by name."""

    weights: FusionWeights | None
    reason: str
    ndcg: dict[str, float]


def choose_fusion(queries: Sequence[RankedQuery], settings: SearchSettings, *, seed: int = 0) -> FusionChoice:
    """The fusion of queries of one kind."""
    if len(queries) < MIN_QUERIES:
        reason = f"reciprocal rank fusion: {len(queries)} validation queries, fewer than {MIN_QUERIES}"
        return FusionChoice(weights=None, reason=reason, ndcg={})
    names = sorted({name for each in queries for name in each.clause.legs})
    task = _Task(queries, names, settings, seed)
    plain = SearchSettings(rank_constant=settings.rank_constant)
    plain_Q = task.ndcg([fuse(each.scores, plain)[0] for each in queries])
    single = {name: task.ndcg(task.of_leg(name)) for name in names if name != POPULARITY}
    best_leg = max(sorted(single), key=lambda name: float(single[name].mean()))
    kept, learned_Q = _eliminate(task, names, floor=max(plain_Q.mean(), single[best_leg].mean()))
    ndcg = {"learned": learned_Q, "reciprocal rank fusion": plain_Q, f"{best_leg} alone": single[best_leg]}
    return _chosen(task, kept, best_leg, ndcg)


def _chosen(task: "_Task", kept: Sequence[str], best_leg: str, ndcg_Q: dict[str, Doubles]) -> FusionChoice:
    means = {name: float(values.mean()) for name, values in ndcg_Q.items()}
    learned, plain, alone = means.values()
    shown = ", ".join(f"{name} {value:.3f}" for name, value in means.items())
    words = f"cross-fitted NDCG@10 over {len(task.queries)} validation queries: {shown}"
    if learned > max(plain, alone):
        off = [name for name in task.names if name not in kept]
        switched = f"; off without a loss: {', '.join(off)}" if off else ""
        weights = task.weights(task.fit(kept, range(len(task.queries))), kept)
        return FusionChoice(weights=weights, reason=f"learned; {words}{switched}", ndcg=means)
    if plain >= alone:
        return FusionChoice(weights=None, reason=f"reciprocal rank fusion; {words}", ndcg=means)
    weights = FusionWeights(standardized={best_leg: 1.0})
    return FusionChoice(weights=weights, reason=f"{best_leg} alone; {words}", ndcg=means)


def _eliminate(task: "_Task", names: Sequence[str], floor: float) -> tuple[list[str], Doubles]:
    """The legs that are left of `names`, and the cross-fitted NDCG of each query with them. Backward.

    No leg is removed where the mean would fall to `floor`, that of the simpler fusions, from above it.
    """
    kept, now_Q = list(names), task.cross_fitted(names)
    best_Q = now_Q
    while len(kept) > 1:
        tried = {name: task.cross_fitted([each for each in kept if each != name]) for name in kept}
        name = max(sorted(tried), key=lambda each: float(tried[each].mean()))
        mean, best = float(tried[name].mean()), float(best_Q.mean())
        tolerance = min(task.standard_error(best_Q - tried[name]), MAX_RELATIVE_LOSS * best)
        if mean < best - tolerance or mean <= floor < now_Q.mean():
            break
        kept.remove(name)
        now_Q = tried[name]
        best_Q = max(best_Q, now_Q, key=lambda values: float(values.mean()))
    return kept, now_Q


class _Task:
    """The queries as features, their folds, and the candidates that the loss reads."""

    def __init__(
        self, queries: Sequence[RankedQuery], names: Sequence[str], settings: SearchSettings, seed: int
    ) -> None:
        self.queries, self.names = queries, list(names)
        self._features = [_features(each.clause, self.names, settings.rank_constant) for each in queries]
        rng = np.random.default_rng(seed)
        groups = np.array([each.group for each in queries])
        distinct, self._group_Q = np.unique(groups, return_inverse=True)
        self._fold_Q: Ints = rng.permutation(len(distinct))[self._group_Q] % NUM_FOLDS
        self._sampled = [_sampled(each, settings, rng) for each in queries]
        sampled = zip(self._sampled, queries, strict=True)
        self._is_answer = [np.isin(rows, each.answers) for rows, each in sampled]

    def of_leg(self, name: str) -> list[Doubles]:
        """The z-scores of one leg for each query."""
        column = self.names.index(name)
        return [features_KF[:, column].astype(np.float64) for features_KF in self._features]

    def ndcg(self, scores: Sequence[Doubles]) -> Doubles:
        """NDCG@10 of each query. Shape [Q]."""
        return np.array([ndcg_of(score_K, each) for score_K, each in zip(scores, self.queries, strict=True)])

    def cross_fitted(self, names: Sequence[str]) -> Doubles:
        """NDCG@10 of each query by weights that were fitted on the other folds. Shape [Q]."""
        ndcg_Q = np.zeros(len(self.queries))
        columns = self._columns(names)
        for fold in range(NUM_FOLDS):
            weight_F = self.fit(names, np.flatnonzero(self._fold_Q != fold))
            for at in np.flatnonzero(self._fold_Q == fold).tolist():
                ndcg_Q[at] = ndcg_of(self._features[at][:, columns] @ weight_F, self.queries[at])
        return ndcg_Q

    def fit(self, names: Sequence[str], rows: Sequence[int] | Ints) -> Doubles:
        """Weights of `names` fitted on the queries `rows`: of z-scores, then of reciprocal ranks."""
        columns = self._columns(names)
        used = [at for at in rows if len(self.queries[at].answers)]
        if not used:
            return np.ones(len(columns))
        parts = [self._features[at][self._sampled[at]][:, columns].astype(np.float64) for at in used]
        x_SF = np.concatenate(parts)
        starts = np.cumsum([0, *(len(part) for part in parts[:-1])])
        answer_S = np.concatenate([self._is_answer[at] for at in used])

        default_F = self._default(names)
        scale = _minimized(
            lambda scale: listwise_loss(scale, (x_SF @ default_F)[:, None], starts, answer_S), np.ones(1)
        )
        prior_F, strength = scale[0] * default_F, PRIOR_QUERIES / len(starts)

        def loss(weight_F: Doubles) -> tuple[float, Doubles]:
            value, gradient_F = listwise_loss(weight_F, x_SF, starts, answer_S)
            away_F = weight_F - prior_F
            return value + strength / 2 * float(away_F @ away_F), gradient_F + strength * away_F

        return _minimized(loss, prior_F)

    def weights(self, weight_F: Doubles, names: Sequence[str]) -> FusionWeights:
        """Fitted weights by name, divided by their largest, which does not change the order."""
        scaled = np.round(weight_F / max(float(weight_F.max()), 1e-12), 6).tolist()
        half = len(names)
        return FusionWeights(
            standardized=dict(zip(names, scaled[:half], strict=True)),
            reciprocal=dict(zip(names, scaled[half:], strict=True)),
        )

    def standard_error(self, difference_Q: Doubles) -> float:
        """Of the mean difference, clustered by group."""
        sums = np.bincount(self._group_Q, weights=difference_Q - difference_Q.mean())
        num = max(len(sums), 2)
        return float(np.sqrt((sums**2).sum() * num / (num - 1)) / len(difference_Q))

    def _default(self, names: Sequence[str]) -> Doubles:
        """The weights of reciprocal rank fusion in the order of `fit`."""
        reciprocal = default_weights(self.queries[0].clause).reciprocal
        return np.array([0.0] * len(names) + [reciprocal.get(name, 0.0) for name in names])

    def _columns(self, names: Sequence[str]) -> list[int]:
        places = [self.names.index(name) for name in names]
        return [*places, *(len(self.names) + place for place in places)]


def _features(clause: ClauseScores, names: Sequence[str], constant: float) -> Floats:
    """z-scores of the legs, then their reciprocal ranks; 0 for a leg that was not asked. Shape [K, F]."""
    legs = [clause.legs.get(name) for name in names]
    num = len(next(iter(clause.legs.values())).score_K)
    z = [np.zeros(num) if leg is None else standardized(leg.score_K, leg.has_K) for leg in legs]
    ranks = [np.zeros(num) if leg is None else reciprocal_ranks(leg, constant) for leg in legs]
    return np.stack([*z, *ranks], axis=1).astype(np.float32)


def _sampled(query: RankedQuery, settings: SearchSettings, rng: np.random.Generator) -> Ints:
    """Positions of the candidates in the loss: the answers, hard ones and random ones, ascending."""
    plain_K, _ = fuse(query.scores, SearchSettings(rank_constant=settings.rank_constant))
    hard = np.argsort(-plain_K, kind="stable")[:NUM_HARD]
    drawn = rng.integers(len(plain_K), size=NUM_RANDOM) if len(plain_K) else np.empty(0, np.int64)
    return np.unique(np.concatenate([query.answers, hard, drawn])).astype(np.int64)


def ndcg_of(score_K: Doubles, query: RankedQuery) -> float:
    """NDCG@10 with ties by position, which is the order of item ids; 0 where no candidate is an answer."""
    if not len(query.answers):
        return 0.0
    first = np.lexsort((np.arange(len(score_K)), -score_K))[:AT]
    gain = np.isin(first, query.answers) / np.log2(np.arange(2, len(first) + 2))
    ideal = (1 / np.log2(np.arange(2, min(query.num_relevant, AT) + 2))).sum()
    return float(gain.sum() / ideal)


def listwise_loss(weight_F: Doubles, x_SF: Doubles, starts: Ints, answer_S: Bools) -> tuple[float, Doubles]:
    """The cross-entropy without the pull, and its gradient; queries begin at the rows `starts`."""
    score_S = x_SF @ weight_F
    whole_S, whole_Q = _softmax(score_S, starts)
    right_S, right_Q = _softmax(np.where(answer_S, score_S, -np.inf), starts)
    return float((whole_Q - right_Q).mean()), x_SF.T @ (whole_S - right_S) / len(starts)


def _minimized(loss: Callable[[Doubles], tuple[float, Doubles]], start: Doubles) -> Doubles:
    """The weights of at least 0 with the lowest loss."""
    options = {"maxiter": MAX_ITERATIONS, "ftol": 1e-6}
    bounds = [(0, None)] * len(start)
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
    weights: Doubles = found.x
    return weights


def _softmax(score_S: Doubles, starts: Ints) -> tuple[Doubles, Doubles]:
    """Probabilities within each query [S], and the logarithm of each query's sum [Q]."""
    sizes = np.diff([*starts, len(score_S)])
    largest_Q = np.maximum.reduceat(score_S, starts)
    exponential_S = np.exp(score_S - np.repeat(largest_Q, sizes))
    sum_Q = np.add.reduceat(exponential_S, starts)
    return exponential_S / np.repeat(sum_Q, sizes), np.log(sum_Q) + largest_Q
