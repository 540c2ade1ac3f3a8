"""Calibration of relevance, and the threshold below which items are left out.

A logistic regression with weights of at least 0 on the features of `recsys.search.features`: 1 for the
answers of queries, 0 for the first items of queries without an answer and for distant candidates of the
others. Both classes have the same total weight, so a relevance of one half says that an item is as likely an
answer as not where half of the queries have one. Predictions that the error and the threshold are computed
from are cross-fitted.

Legend: S samples, F features, Q queries.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from recsys.arrays import Bools
from recsys.search import Calibration, QueryKind, Searcher, features, fuse, logits, probability
from training.search.fusion_fit import NUM_FOLDS, RankedQuery
from training.search.no_answer import UnansweredQuery

Doubles = npt.NDArray[np.float64]
MIN_QUERIES: Final = 30  # with an answer, and as many without
NUM_FIRST: Final = 10  # items of a query without an answer that are samples
NUM_DISTANT: Final = 5  # candidates of a query with an answer, behind the first 50
DISTANT: Final = 50
RIDGE: Final = 1e-2
NUM_BINS: Final = 10


@dataclass(frozen=True, kw_only=True)
class RelevanceChoice:
    """The calibrations, the threshold, and what both do, on cross-fitted predictions."""

    calibration: Mapping[QueryKind, Calibration]
    min_relevance: float
    reason: str
    expected_error: float  # expected calibration error
    empty_share: float  # of the queries without an answer: with an empty list
    lost_share: float  # of the found answers: below the threshold
    long_calibration: Calibration | None = None  # of long texts; None: that of texts


@dataclass(kw_only=True)
class _Samples:
    """Samples of one kind of query."""

    values: list[dict[str, Doubles]] = field(default_factory=list)  # of the candidates of each query
    rows: list[npt.NDArray[np.int64]] = field(default_factory=list)  # candidates that are samples
    labels: list[Doubles] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)

    def add(
        self, values: dict[str, Doubles], rows: npt.NDArray[np.int64], label: float, source: str, group: str
    ) -> None:
        if len(rows):
            self.values.append(values)
            self.rows.append(rows)
            self.labels.append(np.full(len(rows), label))
            self.sources.append(source)
            self.groups.append(group)


def choose_relevance(
    searcher: Searcher,
    queries: Mapping[QueryKind, Sequence[RankedQuery]],
    unanswered: Mapping[QueryKind, Sequence[UnansweredQuery]],
    *,
    empty_share: float = 0.95,
    max_lost: float = 0.1,
    seed: int = 0,
) -> RelevanceChoice:
    """Calibrations of the kinds with enough queries, and one threshold.

    The threshold empties `empty_share` of the queries without an answer; it is lower where more than
    `max_lost` of the found answers would fall below it. Without any calibration it is 0.
    """
    rng = np.random.default_rng(seed)
    calibrations: dict[QueryKind, Calibration] = {}
    predicted: list[tuple[Doubles, Doubles, Doubles]] = []
    found: list[Doubles] = []
    highest: list[Doubles] = []
    for kind, ranked in queries.items():
        samples = _samples(searcher, ranked, unanswered.get(kind, ()), rng)
        if min(_num(samples, "answer"), _num(samples, "removed") + _num(samples, "foreign")) < MIN_QUERIES:
            continue
        calibrations[kind] = _fitted(samples, range(len(samples.rows)))
        label_S, weight_S, probability_S, answers, firsts = _cross_fitted(samples, rng)
        predicted.append((label_S, weight_S, probability_S))
        found.append(answers)
        highest.append(firsts)
    if not calibrations:
        return RelevanceChoice(
            calibration={}, min_relevance=0.0, expected_error=float("nan"), empty_share=0.0, lost_share=0.0,
            reason=f"no threshold: fewer than {MIN_QUERIES} validation queries with and without an answer",
        )  # fmt: skip
    error = expected_calibration_error(*(np.concatenate(each) for each in zip(*predicted, strict=True)))
    return _with_threshold(
        calibrations, np.concatenate(found), np.concatenate(highest), error, empty_share, max_lost
    )


def _with_threshold(
    calibrations: dict[QueryKind, Calibration],
    answer_Q: Doubles,
    highest_Q: Doubles,
    error: float,
    empty_share: float,
    max_lost: float,
) -> RelevanceChoice:
    """`answer_Q` has the relevance of found answers, `highest_Q` the highest of queries without an answer."""
    # Rounded up above the highest, down below the answers, so that the shares hold for the rounded number.
    wanted = float(np.floor(np.quantile(highest_Q, empty_share, method="higher") * 1e6) + 1) / 1e6
    allowed = float(np.floor(np.quantile(answer_Q, max_lost, method="lower") * 1e6)) / 1e6
    least = min(wanted, allowed)
    empty, lost = float((highest_Q < least).mean()), float((answer_Q < least).mean())
    reason = (
        f"relevance of at least {least:.3f}: {empty:.0%} of {len(highest_Q)} queries without an answer end "
        f"empty, {lost:.0%} of {len(answer_Q)} found answers are lost; expected calibration error {error:.3f}"
    )
    if allowed < wanted:
        reason += f"; emptying {empty_share:.0%} would lose {(answer_Q < wanted).mean():.0%}"
    return RelevanceChoice(
        calibration=calibrations, min_relevance=least, reason=reason, expected_error=error, empty_share=empty,
        lost_share=lost,
    )  # fmt: skip


def _samples(
    searcher: Searcher,
    ranked: Sequence[RankedQuery],
    unanswered: Sequence[UnansweredQuery],
    rng: np.random.Generator,
) -> _Samples:
    samples = _Samples()
    for each in ranked:
        values = features(each.clause, searcher.encoder_kinds)
        samples.add(values, each.answers, 1.0, "answer", each.group)
        order = np.argsort(-fuse(each.scores, searcher.settings)[0], kind="stable")
        distant = np.setdiff1d(order[DISTANT:], each.answers)
        drawn = rng.choice(distant, min(NUM_DISTANT, len(distant)), replace=False)
        samples.add(values, np.sort(drawn), 0.0, "distant", each.group)
    for query in unanswered:
        scores = searcher.scorer.score(query.query, searcher.settings.num_candidates, query.allowed)
        order = np.argsort(-fuse(scores, searcher.settings)[0], kind="stable")[:NUM_FIRST]
        values = features(scores.clauses[0], searcher.encoder_kinds)
        source = "foreign" if query.is_foreign else "removed"
        samples.add(values, order, 0.0, source, query.group)
    return samples


def _num(samples: _Samples, source: str) -> int:
    return samples.sources.count(source)


def _fitted(samples: _Samples, used: Sequence[int] | range) -> Calibration:
    """The calibration on the queries `used`."""
    names = sorted({name for at in used for name in samples.values[at]})
    x_SF = np.concatenate([_matrix(samples.values[at], names)[samples.rows[at]] for at in used])
    label_S = np.concatenate([samples.labels[at] for at in used])
    weight_S = _weights(samples, used)
    known_SF = ~np.isnan(x_SF)
    total_F = (weight_S[:, None] * known_SF).sum(0)
    mean_F = (weight_S[:, None] * np.where(known_SF, x_SF, 0.0)).sum(0) / np.maximum(total_F, 1e-12)
    x_SF = np.where(known_SF, x_SF, mean_F) - mean_F
    deviation_F = np.maximum(np.sqrt((weight_S[:, None] * x_SF**2).sum(0)), 1e-6)
    z_SF = x_SF / deviation_F

    def loss(parameters: Doubles) -> tuple[float, Doubles]:
        logit_S = parameters[0] + z_SF @ parameters[1:]
        value = weight_S @ (np.logaddexp(0.0, logit_S) - label_S * logit_S)
        slope_S = weight_S * (probability(logit_S) - label_S)
        penalty_F = RIDGE * parameters[1:]
        gradient = np.concatenate([[slope_S.sum()], z_SF.T @ slope_S + penalty_F])
        return float(value + parameters[1:] @ penalty_F / 2), gradient

    bounds = [(None, None), *[(0, None)] * len(names)]
    found = minimize(loss, np.zeros(1 + len(names)), jac=True, method="L-BFGS-B", bounds=bounds).x
    weight_F = found[1:] / deviation_F
    return Calibration(
        intercept=float(found[0] - weight_F @ mean_F),
        weights=dict(zip(names, weight_F.tolist(), strict=True)),
        missing=dict(zip(names, mean_F.tolist(), strict=True)),
    )


def _cross_fitted(
    samples: _Samples, rng: np.random.Generator
) -> tuple[Doubles, Doubles, Doubles, Doubles, Doubles]:
    """Labels, weights and probabilities of all samples [S]; then the relevance of each found answer, and the
    highest relevance of any item of each query without an answer.
    """
    distinct, group_Q = np.unique(np.array(samples.groups), return_inverse=True)
    fold_Q = rng.permutation(len(distinct))[group_Q] % NUM_FOLDS
    every = range(len(samples.rows))
    probability_of: dict[int, Doubles] = {}
    for fold in range(NUM_FOLDS):
        fitted = _fitted(samples, np.flatnonzero(fold_Q != fold).tolist())
        for at in np.flatnonzero(fold_Q == fold).tolist():
            num = len(next(iter(samples.values[at].values())))
            probability_of[at] = probability(logits(fitted, samples.values[at], num))
    answers = [probability_of[at][samples.rows[at]] for at in every if samples.sources[at] == "answer"]
    highest = [probability_of[at].max() for at in every if samples.sources[at] in ("removed", "foreign")]
    return (
        np.concatenate(samples.labels),
        _weights(samples, every),
        np.concatenate([probability_of[at][samples.rows[at]] for at in every]),
        np.concatenate(answers),
        np.array(highest),
    )


def _weights(samples: _Samples, used: Sequence[int] | range) -> Doubles:
    """Weights of the samples: one half for all answers, the rest in equal parts for the other sources."""
    source_S = np.concatenate([np.full(len(samples.rows[at]), samples.sources[at]) for at in used])
    others = sorted(set(source_S.tolist()) - {"answer"})
    weight_S = np.zeros(len(source_S))
    for source in ("answer", *others):
        is_source: Bools = source_S == source
        weight_S[is_source] = (0.5 if source == "answer" else 0.5 / len(others)) / max(is_source.sum(), 1)
    return weight_S


def _matrix(values: dict[str, Doubles], names: Sequence[str]) -> Doubles:
    num = len(next(iter(values.values())))
    return np.stack([values.get(name, np.full(num, np.nan)) for name in names], axis=1)


def expected_calibration_error(label_S: Doubles, weight_S: Doubles, probability_S: Doubles) -> float:
    """Mean difference between probability and share of answers, over ten bins of equal weight.

    Guo et al. 2017, "On calibration of modern neural networks".
    """
    order = np.argsort(probability_S, kind="stable")
    label_S, weight_S, probability_S = label_S[order], weight_S[order] / weight_S.sum(), probability_S[order]
    bin_S = np.minimum((np.cumsum(weight_S) - weight_S / 2) * NUM_BINS, NUM_BINS - 1).astype(np.int64)
    difference = np.bincount(bin_S, weights=weight_S * (label_S - probability_S), minlength=NUM_BINS)
    return float(np.abs(difference).sum())
