"""Weights of the evidence: a linear model with a listwise softmax loss, and a forward choice of its evidence.

With z_LPF the standardised evidence, the score of an item is z w, and the loss is the mean over lists of

    mean over the chosen items i of [log sum over unseen items j of exp(z_j w) - z_i w] + PENALTY |w|^2

(ListNet with one chosen item, Cao et al. 2007). Weights are at least 0: all evidence speaks for an item.
Evidence is added as long as the mean log-likelihood (the loss without its penalty, negated) of the lists of
the other half of the users rises by more than the standard error of the paired difference over users. It is
all left out again unless NDCG@10 of these lists rises by more than its standard error, too.

Legend: L lists, P items, F kinds of evidence, U users.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from recsys.arrays import Bools, Floats, Ints
from recsys.metrics import Doubles, IdLists, at_k, is_clear
from recsys.retrieval import top_k

SELECTION_K = 10
PENALTY = 1e-3


@dataclass(frozen=True, kw_only=True)
class Lists:
    """Standardised evidence of the items of lists, which have as many items each."""

    names: tuple[str, ...]  # of the evidence
    evidence_LPF: Floats
    unseen_LP: Bools
    chosen_LP: Bools
    user_L: Ints  # number of the user

    def of(self, rows: Ints | Bools) -> "Lists":
        """The lists `rows`."""
        return Lists(
            names=self.names,
            evidence_LPF=self.evidence_LPF[rows],
            unseen_LP=self.unseen_LP[rows],
            chosen_LP=self.chosen_LP[rows],
            user_L=self.user_L[rows],
        )

    def ndcg(self, weights: Mapping[str, float], k: int = SELECTION_K) -> Doubles:
        """NDCG@k of each list. Shape [L]."""
        score_LP = np.where(self.unseen_LP, self.evidence_LPF @ self._vector(weights), -np.inf)
        first = 2  # ids 0 and 1 are reserved
        ids = np.arange(score_LP.shape[1]) + first
        ranked_LK, _ = top_k(score_LP.astype(np.float32), k, ids_N=ids)
        chosen = IdLists.from_lists([np.flatnonzero(row) + first for row in self.chosen_LP])
        return at_k(ranked_LK, chosen, [k])[f"ndcg@{k}"]

    def log_likelihood(self, weights: Mapping[str, float]) -> Doubles:
        """Mean over the chosen items of the log-probability of the softmax. Shape [L]."""
        score_LP = np.where(self.unseen_LP, self.evidence_LPF @ self._vector(weights), -np.inf)
        highest_L = score_LP.max(1)
        total_L = highest_L + np.log(np.exp(score_LP - highest_L[:, None]).sum(1))
        chosen_L = np.where(self.chosen_LP, score_LP, 0.0).sum(1) / np.maximum(self.chosen_LP.sum(1), 1)
        value_L: Doubles = (chosen_L - total_L).astype(np.float64)
        return value_L

    def deviation(self, weights: Mapping[str, float]) -> float:
        """Mean over lists of the standard deviation of the scores; at least 1e-6."""
        return max(float((self.evidence_LPF @ self._vector(weights)).std(1).mean()), 1e-6)

    def with_evidence(self, name: str, evidence_LP: Floats) -> "Lists":
        """The lists with one more kind of evidence."""
        evidence_LPF = np.concatenate([self.evidence_LPF, evidence_LP[..., None]], axis=-1)
        return replace(self, names=(*self.names, name), evidence_LPF=evidence_LPF)

    @classmethod
    def joined(cls, parts: Sequence["Lists"]) -> "Lists":
        """The lists of all `parts`, which have the same evidence and as many items each."""
        return cls(
            names=parts[0].names,
            evidence_LPF=np.concatenate([part.evidence_LPF for part in parts]),
            unseen_LP=np.concatenate([part.unseen_LP for part in parts]),
            chosen_LP=np.concatenate([part.chosen_LP for part in parts]),
            user_L=np.concatenate([part.user_L for part in parts]),
        )

    def by_user(self, value_L: Doubles) -> Doubles:
        """Mean over the lists of each user. Shape [U]."""
        _, user_L = np.unique(self.user_L, return_inverse=True)
        mean_U: Doubles = np.bincount(user_L, value_L) / np.bincount(user_L)
        return mean_U

    def _vector(self, weights: Mapping[str, float]) -> Floats:
        return np.array([weights.get(name, 0.0) for name in self.names], np.float32)


def fit_weights(lists: Lists, names: Sequence[str]) -> dict[str, float]:
    """The weights of the evidence `names` with the least loss."""
    from scipy.optimize import minimize

    column = [lists.names.index(name) for name in names]
    evidence_LPF = lists.evidence_LPF[..., column].astype(np.float64)
    share_LP = lists.chosen_LP / np.maximum(lists.chosen_LP.sum(1, keepdims=True), 1)
    chosen_LF = np.einsum("lpf,lp->lf", evidence_LPF, share_LP)
    blocked_LP = np.where(lists.unseen_LP, 0.0, -np.inf)

    def loss(weight_F: Doubles) -> tuple[float, Doubles]:
        score_LP = evidence_LPF @ weight_F + blocked_LP
        highest_L1 = score_LP.max(1, keepdims=True)
        raised_LP = np.exp(score_LP - highest_L1)
        total_L1 = raised_LP.sum(1, keepdims=True)
        value = (highest_L1 + np.log(total_L1)).mean() - (chosen_LF @ weight_F).mean()
        expected_LF = np.einsum("lpf,lp->lf", evidence_LPF, raised_LP / total_L1)
        gradient_F = (expected_LF - chosen_LF).mean(0) + 2 * PENALTY * weight_F
        return float(value + PENALTY * weight_F @ weight_F), gradient_F

    start = np.full(len(column), 0.5)
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=[(0.0, None)] * len(column))
    return dict(zip(names, found.x.tolist(), strict=True))


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The chosen weights, scaled so that the scores of a list have a standard deviation of about 1.

    `ndcg` is of users whose lists the weights were not fitted on.
    """

    weights: Mapping[str, float]
    ndcg: Mapping[str, float]  # the evidence added so far, joined by " + " -> validation NDCG@10


def choose_weights(lists: Lists, first: str, *, seed: int = 0) -> Choice:
    """Forward selection from the evidence `first` alone; see the module's docstring."""
    chosen, others = [first], [name for name in lists.names if name != first]
    alone = best = cross_fitted(lists, chosen, seed)
    scores = {first: float(best.ndcg_U.mean())}
    while others:
        tried = {name: cross_fitted(lists, [*chosen, name], seed) for name in others}
        name = max(tried, key=lambda each: tried[each].likelihood_U.mean())
        if not is_clear(tried[name].likelihood_U - best.likelihood_U):
            break
        chosen, best = [*chosen, name], tried[name]
        others.remove(name)
        scores[" + ".join(chosen)] = float(best.ndcg_U.mean())
    if not is_clear(best.ndcg_U - alone.ndcg_U):
        chosen = [first]
    weights = fit_weights(lists, chosen)
    deviation = lists.deviation(weights)
    # Evidence with the weight 0 in the fit on all lists is not computed for any list.
    kept = {name: weight / deviation for name, weight in weights.items() if weight > 0 or name == first}
    return Choice(weights=kept, ndcg=scores)


@dataclass(frozen=True, kw_only=True)
class CrossFitted:
    """Results of the lists of each user with weights of the other half of the users."""

    likelihood_U: Doubles
    ndcg_U: Doubles


def cross_fitted(lists: Lists, names: Sequence[str], seed: int) -> CrossFitted:
    """The weights of the evidence `names`, fitted on either half of the users and measured on the other."""
    users = np.unique(lists.user_L)
    in_first = np.isin(lists.user_L, np.random.default_rng([seed, 3]).permutation(users)[: len(users) // 2])
    likelihood_L, ndcg_L = np.zeros(len(lists.user_L)), np.zeros(len(lists.user_L))
    for own_L in (in_first, ~in_first):
        weights, own = fit_weights(lists.of(~own_L), names), lists.of(own_L)
        likelihood_L[own_L], ndcg_L[own_L] = own.log_likelihood(weights), own.ndcg(weights)
    return CrossFitted(likelihood_U=lists.by_user(likelihood_L), ndcg_U=lists.by_user(ndcg_L))
