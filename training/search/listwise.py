"""The listwise softmax cross-entropy of a linear score, and the weights of at least 0 that minimise it.

    loss = mean over queries of log sum over candidates of exp(score) - log sum over answers of exp(score)

(Cao et al. 2007, ListNet's top-one probability). Both terms are convex in the weights. A step replaces the
second by its tangent, which is an upper bound of the loss, and takes Newton's step of the first with weights
of at least 0: a non-negative least squares problem in the Cholesky factor of the curvature.

Legend: Q queries, W candidates of a query, padded, F features, A answers of a query.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import numpy.typing as npt
from scipy.linalg import cholesky, solve_triangular
from scipy.optimize import nnls

from recsys.arrays import Bools

Doubles = npt.NDArray[np.float64]
MAX_STEPS: Final = 50
MAX_HALVINGS: Final = 20
TOLERANCE: Final = 1e-7  # relative decrease of the loss at which the search ends
_RIDGE: Final = 1e-9  # relative, so that the curvature of equal features has a Cholesky factor


@dataclass(frozen=True)
class Lists:
    """Candidates of some queries; every query has an answer. Features of padded places have no effect."""

    x_FQW: Doubles
    is_padding_QW: Bools
    is_answer_QW: Bools

    @classmethod
    def of(cls, parts: Sequence[Doubles], answers: Sequence[Bools]) -> Self:
        """Of the features [K, F] of each query's K candidates, and whether these are answers [K]."""
        width = max(map(len, parts))
        x_FQW = np.zeros((parts[0].shape[1], len(parts), width))
        is_answer_QW = np.zeros((len(parts), width), np.bool_)
        for at, (part_KF, is_answer_K) in enumerate(zip(parts, answers, strict=True)):
            x_FQW[:, at, : len(part_KF)] = part_KF.T
            is_answer_QW[at, : len(part_KF)] = is_answer_K
        is_padding_QW = np.arange(width) >= np.array([len(part) for part in parts])[:, None]
        return cls(x_FQW, is_padding_QW, is_answer_QW)

    def first_feature(self) -> "Lists":
        """The same candidates with the first feature alone."""
        return Lists(self.x_FQW[:1], self.is_padding_QW, self.is_answer_QW)

    def loss(self, weight_F: Doubles) -> tuple[float, Doubles, Doubles]:
        """The loss, its gradient [F] and the candidates' probabilities [Q, W]."""
        num_features, num_queries, _ = self.x_FQW.shape
        flat_FS = self.x_FQW.reshape(num_features, -1)
        score_QW = (weight_F @ flat_FS).reshape(num_queries, -1)
        score_QW[self.is_padding_QW] = -np.inf
        share_QW, whole_Q = _softmax(score_QW)
        # Answers are few: their softmax is over a table as wide as the longest list of them.
        query_S, place_S = np.nonzero(self.is_answer_QW)
        slot_S = np.arange(len(query_S)) - np.searchsorted(query_S, query_S)
        answer_QA = np.full((num_queries, int(slot_S.max()) + 1), -np.inf)
        answer_QA[query_S, slot_S] = score_QW[query_S, place_S]
        right_QA, right_Q = _softmax(answer_QA)
        excess_QW = share_QW.copy()
        excess_QW[query_S, place_S] -= right_QA[query_S, slot_S]
        return float((whole_Q - right_Q).mean()), flat_FS @ excess_QW.ravel() / num_queries, share_QW

    def curvature(self, share_QW: Doubles) -> Doubles:
        """The second derivative of the first term: mean covariance of the features. Shape [F, F]."""
        num_features, num_queries, _ = self.x_FQW.shape
        weighted_FQW = self.x_FQW * share_QW
        mean_FQ = weighted_FQW.sum(axis=2)
        flat_FS = self.x_FQW.reshape(num_features, -1)
        moment_FF = weighted_FQW.reshape(num_features, -1) @ flat_FS.T
        covariance: Doubles = (moment_FF - mean_FQ @ mean_FQ.T) / num_queries
        return covariance


def minimize(lists: Lists, prior_F: Doubles, *, strength: float, start_F: Doubles) -> Doubles:
    """The weights of at least 0 with the lowest loss + strength / 2 * |weights - prior|^2."""

    def value_of(weight_F: Doubles) -> tuple[float, Doubles, Doubles]:
        value, gradient_F, share_QW = lists.loss(weight_F)
        away_F = weight_F - prior_F
        return value + strength / 2 * float(away_F @ away_F), gradient_F + strength * away_F, share_QW

    weight_F = start_F
    value, gradient_F, share_QW = value_of(weight_F)
    for _ in range(MAX_STEPS):
        curvature_FF = lists.curvature(share_QW)
        ridge = strength + _RIDGE * (1.0 + float(np.trace(curvature_FF)))
        step_F = _target(curvature_FF + ridge * np.eye(len(weight_F)), gradient_F, weight_F) - weight_F
        for halving in range(MAX_HALVINGS):
            near_F = weight_F + step_F / 2**halving
            near, near_gradient_F, near_share_QW = value_of(near_F)
            if near <= value:
                break
        else:
            return weight_F
        gain, value = value - near, near
        weight_F, gradient_F, share_QW = near_F, near_gradient_F, near_share_QW
        if gain <= TOLERANCE * abs(value):
            break
    return weight_F


def _target(curvature_FF: Doubles, gradient_F: Doubles, weight_F: Doubles) -> Doubles:
    """The minimum over v >= 0 of (v - w)' C (v - w) / 2 + g' (v - w)."""
    lower_FF = cholesky(curvature_FF, lower=True)
    wanted_F = solve_triangular(lower_FF, curvature_FF @ weight_F - gradient_F, lower=True)
    target_F: Doubles = nnls(lower_FF.T, wanted_F)[0]
    return target_F


def _softmax(score_QW: Doubles) -> tuple[Doubles, Doubles]:
    """Probabilities within each row [Q, W], and the logarithm of each row's sum of exponentials [Q]."""
    largest_Q = score_QW.max(axis=1)
    exponential_QW = np.exp(score_QW - largest_Q[:, None])
    sum_Q = exponential_QW.sum(axis=1)
    return exponential_QW / sum_Q[:, None], np.log(sum_Q) + largest_Q
