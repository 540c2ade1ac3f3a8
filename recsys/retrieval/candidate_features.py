"""Candidate lists, the candidate features of the ranker, and the spread of a user's cosines over the items.

All are the same in training and serving.

Legend: B users, K candidates, S sources, X context features, N items, D width.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from recsys.arrays import Bools, Floats, Ints
from recsys.history import History
from recsys.ids import PAD
from recsys.item_features import ItemArrays

BUILTIN_SOURCES = ("towers", "popularity")  # the first columns along S; the fitted sources follow
CONTEXT = ("log_history_length",)
NEAR = 1e-3  # cosines that differ by less have fractional ranks, see `soft_ranks`
ROWS_AT_ONCE = 65_536
LEAST_DEVIATION = 1e-6


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """Lists of candidates with their cosines and the scores of the sources."""

    items: Ints  # [B, K], 0 where there are fewer
    cosines: Floats  # [B, K], inner products of the towers' vectors, -inf at padding
    source_scores: Floats  # [B, K, number of fitted sources], 0 where a source has no score

    @classmethod
    def joined(cls, parts: Sequence["Candidates"]) -> "Candidates":
        """The lists of all `parts`, which have the same widths."""
        return cls(
            items=np.concatenate([part.items for part in parts]),
            cosines=np.concatenate([part.cosines for part in parts]),
            source_scores=np.concatenate([part.source_scores for part in parts]),
        )

    def joined_with(self, other: "Candidates") -> "Candidates":
        """The candidates of `other` appended to these, for the same users."""
        return Candidates(
            items=np.concatenate([self.items, other.items], axis=1),
            cosines=np.concatenate([self.cosines, other.cosines], axis=1),
            source_scores=np.concatenate([self.source_scores, other.source_scores], axis=1),
        )

    def of(self, rows: Ints) -> "Candidates":
        """The lists in `rows`."""
        return Candidates(
            items=self.items[rows], cosines=self.cosines[rows], source_scores=self.source_scores[rows]
        )


class CandidateFeatures:
    """Scores and ranks of the sources, and context, for lists of candidates."""

    def __init__(self, items: ItemArrays) -> None:
        self.log_popularity, self.popularity_rank = items.log_popularity, items.popularity_rank
        self._warm_N = items.trained

    def inputs(self, candidates: "Candidates", history_length_B: Ints) -> dict[str, Floats]:
        """`source_scores`, `source_ranks` [B, K, S] and `candidate_context` [B, K, X].

        A rank is given as 1 / log2(1 + rank), and as 0 where the source has no score. The towers' rank is the
        rank among the warm items, since the ranker is trained on lists of warm items. Rows of padding are
        zeros.
        """
        item_BK, cosine_BK = candidates.items, candidates.cosines
        real_BK1 = (item_BK != PAD)[..., None]
        tower_rank_BK = soft_ranks(
            np.where(item_BK != PAD, cosine_BK, -np.inf), among_BK=self._warm_N[item_BK]
        )
        popularity_BK, popularity_rank_BK = self.log_popularity[item_BK], self.popularity_rank[item_BK]
        other_BKS = candidates.source_scores
        score_BKS = np.stack([np.where(item_BK != PAD, cosine_BK, 0.0), popularity_BK], axis=-1)
        rank_BKS = np.stack([tower_rank_BK, popularity_rank_BK], axis=-1)
        context_B11 = np.log1p(history_length_B)[:, None, None]
        other_rank_BKS = np.where(other_BKS > 0, 1.0 / np.log2(1.0 + ranks(other_BKS)), 0.0)
        scores = np.concatenate([score_BKS, np.log1p(other_BKS)], axis=-1)
        rank_features = np.concatenate([1.0 / np.log2(1.0 + rank_BKS), other_rank_BKS], axis=-1)
        return {
            "source_scores": (scores * real_BK1).astype(np.float32),
            "source_ranks": (rank_features * real_BK1).astype(np.float32),
            "candidate_context": (context_B11 * real_BK1).astype(np.float32),
        }


def newest_items(histories: Sequence[History], length: int) -> Ints:
    """The newest `length` items of each history, right-aligned: the newest is the last. Shape [B, length]."""
    item_BH = np.full((len(histories), length), PAD, np.int64)
    for row, history in enumerate(histories):
        newest = history.item[-length:]
        if len(newest):
            item_BH[row, -len(newest) :] = newest
    return item_BH


def ranks(score_BKS: Floats) -> Floats:
    """1 + number of candidates with a higher score, for each list and source. Shape [B, K, S]."""
    rank_BKS = np.empty(score_BKS.shape, np.float32)
    for row, score_KS in enumerate(score_BKS):
        for column in range(score_KS.shape[1]):
            score_K = score_KS[:, column]
            ascending_K = np.sort(score_K)
            rank_BKS[row, :, column] = 1 + len(score_K) - np.searchsorted(ascending_K, score_K, side="right")
    return rank_BKS


def soft_ranks(score_BK: Floats, *, among_BK: Bools | None = None) -> npt.NDArray[np.float64]:
    """Continuous ranks of the scores of each list, 1 for the highest; scores of -inf are last. Shape [B, K].

    rank(i) = 1 + sum over j of clip((score_j - score_i) / NEAR + 1, 0, 2) / 2, over the other candidates j of
    the list, or those of them with a true `among_BK`. Ranks are continuous in the scores, so that rounding
    errors, which differ between ONNX Runtime and torch, cannot change a rank by 1. As in ApproxNDCG (Qin, Liu
    and Li 2010), with a linear ramp instead of the logistic function.
    """
    rank_BK = np.empty(score_BK.shape, np.float64)
    for row, score_K in enumerate(np.asarray(score_BK, np.float64)):
        real_K = score_K > -np.inf
        among_K = real_K if among_BK is None else real_K & among_BK[row]
        rank_BK[row] = 1.0 + among_K.sum()
        rank_BK[row, real_K] = _soft_ranks(score_K[real_K], among_K[real_K])
    return rank_BK


def _soft_ranks(score_K: npt.NDArray[np.float64], among_K: Bools) -> npt.NDArray[np.float64]:
    ascending_K = np.sort(score_K[among_K])
    sums = np.concatenate([[0.0], np.cumsum(ascending_K)])
    low_K = np.searchsorted(ascending_K, score_K - NEAR, side="left")
    high_K = np.searchsorted(ascending_K, score_K + NEAR, side="right")
    # Candidates within NEAR of the score. The candidate itself, if it is among them, adds 1/2.
    near_K = (sums[high_K] - sums[low_K] - (high_K - low_K) * score_K) / (2 * NEAR) + (high_K - low_K) / 2
    rank_K: npt.NDArray[np.float64] = np.where(among_K, 0.5, 1.0) + (len(ascending_K) - high_K) + near_K
    return rank_K


class CosineSpread:
    """Mean and standard deviation of a user's cosines over some items, without the cosines themselves.

    With the mean m and the covariance C of the items' vectors, the cosines of the user vector u have the mean
    u · m and the variance u' C u, exactly. An answer takes D * D steps, whatever the number of items.
    """

    def __init__(self, vectors_ND: Floats, rows: Ints) -> None:
        num_items, dim = max(len(rows), 1), vectors_ND.shape[1]
        sum_D, square_DD = np.zeros(dim), np.zeros((dim, dim))
        for start in range(0, len(rows), ROWS_AT_ONCE):
            part = vectors_ND[rows[start : start + ROWS_AT_ONCE]].astype(np.float64)
            sum_D += part.sum(axis=0)
            square_DD += part.T @ part
        self._mean_D = sum_D / num_items
        self._covariance_DD = square_DD / num_items - np.outer(self._mean_D, self._mean_D)

    def of(self, user_BD: Floats) -> tuple[Floats, Floats]:
        """Mean and deviation for each user [B]; the deviation is 0 where all cosines are equal."""
        variance_B = np.einsum("bd,de,be->b", user_BD, self._covariance_DD, user_BD)
        deviation_B = np.sqrt(np.maximum(variance_B, 0.0))
        deviation_B[deviation_B < LEAST_DEVIATION] = 0.0
        mean_B: Floats = (user_BD @ self._mean_D).astype(np.float32)
        return mean_B, deviation_B.astype(np.float32)
