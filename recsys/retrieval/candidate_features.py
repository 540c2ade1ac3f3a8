"""Candidate lists and what their sources said of them: the ranker's evidence, in training and serving alike.

Legend: B users, K candidates, S sources, X context features, N items.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from recsys.arrays import Bools, Floats, Ints
from recsys.history import History
from recsys.ids import PAD
from recsys.item_features import ItemArrays

BUILTIN_SOURCES = ("towers", "popularity")  # sources that need no fitting of their own; the others follow
CONTEXT = ("log_history_length",)
NEAR = 1e-3  # cosines that differ by less share their ranks, in part


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """Lists to be ranked, and what each source says of them."""

    items: Ints  # [B, K], 0 where there are fewer
    cosines: Floats  # [B, K], the towers' plain cosines, -inf at padding
    source_scores: Floats  # [B, K, S], of the fitted sources, 0 where one knows nothing

    @classmethod
    def joined(cls, parts: Sequence["Candidates"]) -> "Candidates":
        """The lists of all `parts`, which have the same widths."""
        return cls(
            items=np.concatenate([part.items for part in parts]),
            cosines=np.concatenate([part.cosines for part in parts]),
            source_scores=np.concatenate([part.source_scores for part in parts]),
        )

    def beside(self, other: "Candidates") -> "Candidates":
        """The candidates of both, `other`'s after these, for the same users."""
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
        self._known_N = items.trained

    def inputs(self, candidates: "Candidates", history_length_B: Ints) -> dict[str, Floats]:
        """`source_scores`, `source_ranks` [B, K, S] and `candidate_context` [B, K, X].

        Ranks are 1 / log2(1 + rank): bounded, and finest where it matters; of a source without a score
        they are 0. The towers' are places among the known items: in the lists that a ranker learns from
        there are no others. Rows of padding are zeros.
        """
        item_BK, cosine_BK = candidates.items, candidates.cosines
        real_BK1 = (item_BK != PAD)[..., None]
        tower_rank_BK = soft_ranks(
            np.where(item_BK != PAD, cosine_BK, -np.inf), among_BK=self._known_N[item_BK]
        )
        popularity_BK, popularity_rank_BK = self.log_popularity[item_BK], self.popularity_rank[item_BK]
        other_BKS = candidates.source_scores
        score_BKS = np.stack([np.where(item_BK != PAD, cosine_BK, 0.0), popularity_BK], axis=-1)
        rank_BKS = np.stack([tower_rank_BK, popularity_rank_BK], axis=-1)
        context_B11 = np.log1p(history_length_B)[:, None, None]
        other_rank_BKS = np.where(other_BKS > 0, 1.0 / np.log2(1.0 + ranks(other_BKS)), 0.0)
        scores = np.concatenate([score_BKS, np.log1p(other_BKS)], axis=-1)
        shown_ranks = np.concatenate([1.0 / np.log2(1.0 + rank_BKS), other_rank_BKS], axis=-1)
        return {
            "source_scores": (scores * real_BK1).astype(np.float32),
            "source_ranks": (shown_ranks * real_BK1).astype(np.float32),
            "candidate_context": (context_B11 * real_BK1).astype(np.float32),
        }


def newest_items(histories: Sequence[History], length: int) -> Ints:
    """The newest `length` items of each history, right-aligned: the newest stands last. Shape [B, length]."""
    item_BH = np.full((len(histories), length), PAD, np.int64)
    for row, history in enumerate(histories):
        newest = history.item[-length:]
        if len(newest):
            item_BH[row, -len(newest) :] = newest
    return item_BH


def ranks(score_BKS: Floats) -> Floats:
    """Place of each entry among its row's, from 1 for the highest, equal ones alike. Shape [B, K, S]."""
    place_BKS = np.empty(score_BKS.shape, np.float32)
    for row, score_KS in enumerate(score_BKS):
        for column in range(score_KS.shape[1]):
            score_K = score_KS[:, column]
            ascending_K = np.sort(score_K)
            place_BKS[row, :, column] = 1 + len(score_K) - np.searchsorted(ascending_K, score_K, side="right")
    return place_BKS


def soft_ranks(score_BK: Floats, *, among_BK: Bools | None = None) -> npt.NDArray[np.float64]:
    """Place of each entry in its own row, from 1 for the highest; entries at -inf stand last.

    1 + the sum over the others, those of `among_BK` alone where it is given, of how surely they stand above:
    1 or 0 where two scores differ by more than `NEAR`, and in between (difference / NEAR + 1) / 2. So a rank
    moves by little where a score does, and what ONNX Runtime and torch reckon in another order cannot make it
    jump. The idea is that of ApproxNDCG (Qin, Liu and Li 2010), with a ramp in place of the logistic curve.
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
    # Those within reach; an entry that is one of them counts itself a half.
    near_K = (sums[high_K] - sums[low_K] - (high_K - low_K) * score_K) / (2 * NEAR) + (high_K - low_K) / 2
    rank_K: npt.NDArray[np.float64] = np.where(among_K, 0.5, 1.0) + (len(ascending_K) - high_K) + near_K
    return rank_K
