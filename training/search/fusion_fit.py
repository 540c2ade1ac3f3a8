"""Weights of the fusion for one kind of query, chosen on queries with known answers.

The learned fusion is linear in the summed evidence of the legs, which is the fusion without validation, and
in the legs' z-scores and reciprocal ranks, with weights of at least 0. It is fitted by the listwise softmax
cross-entropy (Cao et al. 2007, ListNet's top-one probability)

    loss = - mean over queries of log( sum over answers of exp(score) / sum over candidates of exp(score) )
           + 5 / (2 Q) * squared distance of the weights from those of the fusion by evidence

where the latter are scaled to have the lowest loss, so that few queries change them little.

All comparisons are cross-fitted: a fold's NDCG@10 is that of weights fitted on the other folds. A leg is
removed, from the evidence too, where the NDCG without it is at most one standard error, and at most 1%, below
the best; standard errors are of the paired differences over groups of queries. Learned weights, or the best
leg alone, replace the fusion by evidence only where they are better by two standard errors: a hundred queries
of one kind say little about the queries that others will ask. Reviews in particular are another kind of text
than what people type. So made queries (`typed_queries`) are among those that weights are fitted to, and no
fusion is taken that is worse than the evidence by a standard error on them.

Legend: Q queries, K candidates of a query, R candidates of all queries, W sampled candidates of a query,
padded, F features: the evidence, then two for each leg.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from recsys.arrays import Bools, Floats, Ints
from recsys.search import (
    POPULARITY,
    ClauseScores,
    FusionWeights,
    LegScores,
    QueryScores,
    SearchSettings,
    evidence,
    fuse,
    group_of,
    reciprocal_ranks,
    standardized,
)
from training.search.listwise import Lists, minimize

Doubles = npt.NDArray[np.float64]
NUM_FOLDS: Final = 5
MIN_QUERIES: Final = 50
NUM_HARD: Final = 100  # candidates of a query in the loss: the first ones of the fusion by evidence,
NUM_RANDOM: Final = 50  # and others, drawn
PRIOR_QUERIES: Final = 5.0  # strength of the pull towards the fusion by evidence; each query adds 1
MIN_ERRORS: Final = 2.0  # standard errors by which another fusion must be better than that by evidence
MAX_RELATIVE_LOSS: Final = 0.01  # of NDCG, by the removal of all legs together
AT: Final = 10
PLAIN: Final = "fusion by evidence"
EVIDENCE: Final = "evidence"


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
    """The chosen weights, None for the fusion by evidence, the reason, and NDCG@10 by name."""

    weights: FusionWeights | None
    reason: str
    ndcg: dict[str, float]


def choose_fusion(
    queries: Sequence[RankedQuery],
    settings: SearchSettings,
    *,
    typed: Sequence[RankedQuery] = (),
    seed: int = 0,
) -> FusionChoice:
    """The fusion of queries of one kind; `typed` are made queries that must not be answered worse."""
    if len(queries) < MIN_QUERIES:
        reason = f"{PLAIN}: {len(queries)} validation queries, fewer than {MIN_QUERIES}"
        return FusionChoice(weights=None, reason=reason, ndcg={})
    every = [*queries, *typed]
    names = sorted({name for each in every for name in each.clause.legs})
    plain = settings.model_copy(update={"fusion": {}})
    plain_scores = [fuse(each.scores, plain)[0] for each in every]
    task = _Task(every, names, settings, plain_scores, len(queries), seed)
    plain_Q = task.ndcg(task.plain_R)
    single = {name: task.ndcg(task.of_leg(name)) for name in names if name != POPULARITY}
    best_leg = max(sorted(single), key=lambda name: float(single[name].mean()))
    floor = max(plain_Q.mean(), single[best_leg].mean())
    kept, learned_Q = _eliminate(task, names, plain_Q, float(floor))
    ndcg = {"learned": learned_Q, PLAIN: plain_Q, f"{best_leg} alone": single[best_leg]}
    return _chosen(task, kept, best_leg, ndcg)


def _chosen(task: "_Task", kept: Sequence[str], best_leg: str, ndcg_Q: dict[str, Doubles]) -> FusionChoice:
    means = {name: float(values.mean()) for name, values in ndcg_Q.items()}
    learned_Q, plain_Q, alone_Q = ndcg_Q.values()
    learned, _, alone = means.values()
    shown = ", ".join(f"{name} {value:.3f}" for name, value in means.items())
    num_made = int(task.is_made_Q.sum())
    made = f" and {num_made} as people type them" if num_made else ""
    words = f"cross-fitted NDCG@10 over {len(task.queries) - num_made} validation queries{made}: {shown}"
    if learned > alone and task.is_better(learned_Q, plain_Q):
        off = [name for name in task.names if name not in kept]
        switched = f"; off without a loss: {', '.join(off)}" if off else ""
        weights = task.weights(task.fit(task.features(kept), np.arange(len(task.queries))), kept)
        return FusionChoice(weights=weights, reason=f"learned; {words}{switched}", ndcg=means)
    if alone >= learned and task.is_better(alone_Q, plain_Q):
        weights = FusionWeights(standardized={best_leg: 1.0})
        return FusionChoice(weights=weights, reason=f"{best_leg} alone; {words}", ndcg=means)
    reason = f"{PLAIN}, since nothing is better by {MIN_ERRORS:g} standard errors; {words}"
    return FusionChoice(weights=None, reason=reason, ndcg=means)


def _eliminate(
    task: "_Task", names: Sequence[str], plain_Q: Doubles, floor: float
) -> tuple[list[str], Doubles]:
    """The legs that are left of `names`, and the cross-fitted NDCG of each query with them. Backward.

    No leg is removed where the mean would fall to `floor`, that of the simpler fusions, from above it. Where
    all legs together are not better than the fusion by evidence, whose NDCG is `plain_Q`, none is removed:
    a set of legs found by search over the same queries would be no better evidence.
    """
    kept, now = list(names), task.cross_fitted(names)
    if not task.is_better(now.ndcg_Q, plain_Q):
        return kept, now.ndcg_Q
    best_Q = now.ndcg_Q
    while len(kept) > 1:
        tried = {name: task.cross_fitted([each for each in kept if each != name], now) for name in kept}
        name = max(sorted(tried), key=lambda each: float(tried[each].ndcg_Q.mean()))
        mean, best = float(tried[name].ndcg_Q.mean()), float(best_Q.mean())
        tolerance = min(task.standard_error(best_Q - tried[name].ndcg_Q), MAX_RELATIVE_LOSS * best)
        if mean < best - tolerance or mean <= floor < now.ndcg_Q.mean():
            break
        kept.remove(name)
        now = tried[name]
        best_Q = max(best_Q, now.ndcg_Q, key=lambda values: float(values.mean()))
    return kept, now.ndcg_Q


@dataclass(frozen=True)
class _CrossFit:
    """The NDCG@10 of each query [Q], and the weights of each fold by feature."""

    ndcg_Q: Doubles
    weights: tuple[Mapping[str, float], ...]


@dataclass(frozen=True)
class _Features:
    """Of some legs: names [F], values of the candidates in the loss and of all candidates."""

    names: list[str]
    sampled_FQW: Doubles
    all_FR: list[Floats]


class _Task:
    """The queries in the order of their folds as features, and the candidates that the loss reads."""

    def __init__(
        self,
        queries: Sequence[RankedQuery],
        names: Sequence[str],
        settings: SearchSettings,
        plain: Sequence[Doubles],
        num_asked: int,
        seed: int,
    ) -> None:
        """`plain` are the scores of the fusion by evidence; the queries from `num_asked` on are made ones."""
        rng = np.random.default_rng(seed)
        distinct, group_Q = np.unique([each.group for each in queries], return_inverse=True)
        fold_Q = rng.permutation(len(distinct))[group_Q] % NUM_FOLDS
        order = np.argsort(fold_Q, kind="stable")
        self.names, self.queries = list(names), [queries[at] for at in order]
        self._group_Q, self._first_F = group_Q[order], np.searchsorted(fold_Q[order], range(NUM_FOLDS + 1))
        self.is_made_Q: Bools = order >= num_asked
        plain = [plain[at] for at in order]
        self.plain_R = np.concatenate(plain)
        self._start_Q: Ints = np.cumsum([0, *(len(each) for each in plain)])
        clauses = [each.clause for each in self.queries]
        self._z = {name: _column(clauses, name, _z_scores) for name in names}
        self._ranks = {
            name: _column(clauses, name, lambda leg: reciprocal_ranks(leg, settings.rank_constant))
            for name in names
        }
        self._evidence = _evidence_columns(clauses, settings)
        sampled = [_sampled(each, score_K, rng) for each, score_K in zip(self.queries, plain, strict=True)]
        width = max(map(len, sampled))
        self._is_padding_QW = np.arange(width) >= np.array([len(rows) for rows in sampled])[:, None]
        self._row_QW = np.zeros((len(queries), width), np.int64)
        self._is_answer_QW = np.zeros((len(queries), width), np.bool_)
        for at, (rows, each) in enumerate(zip(sampled, self.queries, strict=True)):
            self._row_QW[at, : len(rows)] = self._start_Q[at] + rows
            self._is_answer_QW[at, : len(rows)] = np.isin(rows, each.answers)

    def of_leg(self, name: str) -> Doubles:
        """The z-scores of one leg. Shape [R]."""
        return self._z[name].astype(np.float64)

    def features(self, names: Sequence[str]) -> _Features:
        """The features of the legs `names`; the evidence is that of these legs alone."""
        groups = [[columns[name] for name in names if name in columns] for columns in self._evidence]
        by_name = {EVIDENCE: _summed(groups, len(self._z[self.names[0]]))}
        by_name |= {f"z {name}": self._z[name] for name in names}
        by_name |= {f"rank {name}": self._ranks[name] for name in names}
        sampled_FQW = np.stack([column_R[self._row_QW] for column_R in by_name.values()]).astype(np.float64)
        return _Features(list(by_name), sampled_FQW, list(by_name.values()))

    def ndcg(self, score_R: Floats | Doubles) -> Doubles:
        """NDCG@10 of each query, as `ndcg_of`. Shape [Q]."""
        gain_Q = np.zeros(len(self.queries))
        for slot in range(max(len(each.answers) for each in self.queries)):
            asked = np.array([at for at, each in enumerate(self.queries) if len(each.answers) > slot])
            answer_A = self._start_Q[asked] + np.array([self.queries[at].answers[slot] for at in asked])
            rank_A = self._ranks_of(score_R, answer_A, asked)
            gain_Q[asked] += np.where(rank_A <= AT, 1 / np.log2(rank_A + 1), 0.0)
        return gain_Q / np.array([_ideal(each.num_relevant) for each in self.queries])

    def _ranks_of(self, score_R: Floats | Doubles, row_A: Ints, query_A: Ints) -> Ints:
        """The rank of one row of each of some queries among the rows of its query, ties by position."""
        score_A, rank_A = score_R[row_A], np.empty(len(row_A), np.int64)
        for at, (query, row, own) in enumerate(zip(query_A.tolist(), row_A.tolist(), score_A, strict=True)):
            start, end = self._start_Q[query : query + 2]
            rank_A[at] = 1 + (score_R[start:end] > own).sum() + (score_R[start:row] == own).sum()
        return rank_A

    def cross_fitted(self, names: Sequence[str], near: _CrossFit | None = None) -> _CrossFit:
        """With weights that were fitted on the other folds; those of `near` are where the search begins."""
        features = self.features(names)
        score_R = np.zeros(len(features.all_FR[0]), np.float32)
        weights, every = [], np.arange(len(self.queries))
        for fold in range(NUM_FOLDS):
            first, end = self._first_F[fold : fold + 2]
            start = None if near is None else near.weights[fold]
            weight_F = self.fit(features, np.delete(every, slice(first, end)), start)
            weights.append(dict(zip(features.names, weight_F.tolist(), strict=True)))
            held_out = slice(self._start_Q[first], self._start_Q[end])
            for weight, column_R in zip(weight_F, features.all_FR, strict=True):
                if weight:
                    score_R[held_out] += np.float32(weight) * column_R[held_out]
        return _CrossFit(self.ndcg(score_R), tuple(weights))

    def fit(self, features: _Features, rows: Ints, start: Mapping[str, float] | None = None) -> Doubles:
        """Weights of the features fitted on the queries `rows`. The search begins at `start`."""
        used = rows[self._is_answer_QW[rows].any(axis=1)]
        prior_F = np.array([float(name == EVIDENCE) for name in features.names])
        if not len(used):
            return prior_F
        lists = Lists(features.sampled_FQW[:, used], self._is_padding_QW[used], self._is_answer_QW[used])
        prior_F[0] = minimize(lists.first_feature(), np.zeros(1), strength=0.0, start_F=np.ones(1))[0]
        start_F = prior_F if start is None else np.array([start[name] for name in features.names])
        return minimize(lists, prior_F, strength=PRIOR_QUERIES / len(used), start_F=start_F)

    def weights(self, weight_F: Doubles, names: Sequence[str]) -> FusionWeights:
        """Fitted weights by name, divided by their largest, which does not change the order."""
        summed, *by_leg = np.round(weight_F / max(float(weight_F.max()), 1e-12), 6).tolist()
        return FusionWeights(
            evidence={name: summed for name in names if name != POPULARITY},
            standardized=dict(zip(names, by_leg[: len(names)], strict=True)),
            reciprocal=dict(zip(names, by_leg[len(names) :], strict=True)),
        )

    def is_better(self, ndcg_Q: Doubles, other_Q: Doubles) -> bool:
        """Whether the mean over the validation queries is above the other's by `MIN_ERRORS` standard errors.

        And not below it by more than one on the made queries.
        """
        gain_Q, made_Q = ndcg_Q - other_Q, self.is_made_Q
        if made_Q.any() and float(gain_Q[made_Q].mean()) < -self.standard_error(gain_Q, made_Q):
            return False
        return float(gain_Q[~made_Q].mean()) > MIN_ERRORS * self.standard_error(gain_Q, ~made_Q)

    def standard_error(self, difference_Q: Doubles, part_Q: Bools | None = None) -> float:
        """Of the mean difference, of some of the queries perhaps, clustered by group."""
        used_Q = np.ones(len(difference_Q), np.bool_) if part_Q is None else part_Q
        values, group = difference_Q[used_Q], np.unique(self._group_Q[used_Q], return_inverse=True)[1]
        sums = np.bincount(group, weights=values - values.mean())
        num = max(len(sums), 2)
        return float(np.sqrt((sums**2).sum() * num / (num - 1)) / len(values))


def _column(clauses: Sequence[ClauseScores], name: str, values: Callable[[LegScores], Doubles]) -> Floats:
    """`values` of one leg for all candidates of all queries, 0 where the leg was not asked. Shape [R]."""
    parts = [
        values(clause.legs[name]) if name in clause.legs else np.zeros(_num_candidates(clause))
        for clause in clauses
    ]
    column_R: Floats = np.concatenate(parts).astype(np.float32)
    return column_R


def _z_scores(leg: LegScores) -> Doubles:
    return standardized(leg.score_K, leg.has_K)


def _evidence_columns(clauses: Sequence[ClauseScores], settings: SearchSettings) -> list[dict[str, Floats]]:
    """For each group of legs that repeat one another, their evidence [R] by name; -inf where not asked."""
    found = [evidence(clause, settings.evidence) for clause in clauses]
    columns: dict[tuple[str, str | None], dict[str, Floats]] = {}
    keys = {
        (group_of(leg), name) for each in clauses for name, leg in each.legs.items() if name != POPULARITY
    }
    for group, name in sorted(keys, key=str):
        parts = [
            by_leg[name]
            if name in clause.legs and group_of(clause.legs[name]) == group
            else np.full(_num_candidates(clause), -np.inf)
            for clause, by_leg in zip(clauses, found, strict=True)
        ]
        columns.setdefault(group, {})[name] = np.concatenate(parts).astype(np.float32)
    return list(columns.values())


def _summed(groups: Sequence[Sequence[Floats]], num: int) -> Floats:
    """The sum over groups of the highest evidence in each; a group that was not asked adds 0. Shape [R]."""
    total_R = np.zeros(num, np.float32)
    for columns in groups:
        if columns:
            highest_R = np.maximum.reduce(columns)
            total_R += np.where(np.isneginf(highest_R), np.float32(0), highest_R)
    return total_R


def _num_candidates(clause: ClauseScores) -> int:
    return len(next(iter(clause.legs.values())).score_K)


def _sampled(query: RankedQuery, plain_K: Doubles, rng: np.random.Generator) -> Ints:
    """Positions of the candidates in the loss: the answers, hard ones and random ones, ascending."""
    hard = np.argsort(-plain_K, kind="stable")[:NUM_HARD]
    drawn = rng.integers(len(plain_K), size=NUM_RANDOM) if len(plain_K) else np.empty(0, np.int64)
    return np.unique(np.concatenate([query.answers, hard, drawn])).astype(np.int64)


def ndcg_of(score_K: Doubles, query: RankedQuery) -> float:
    """NDCG@10 with ties by position, which is the order of item ids; 0 where no candidate is an answer."""
    if not len(query.answers):
        return 0.0
    first = np.lexsort((np.arange(len(score_K)), -score_K))[:AT]
    gain = np.isin(first, query.answers) / np.log2(np.arange(2, len(first) + 2))
    return float(gain.sum() / _ideal(query.num_relevant))


def _ideal(num_relevant: int) -> float:
    return float((1 / np.log2(np.arange(2, min(num_relevant, AT) + 2))).sum())
