"""Fusion: from the scores of all legs to one score for each candidate.

The fused score of a clause is the weighted sum over legs of the z-score and of the reciprocal rank

    z = (score - mean) / standard deviation        over the candidates that the leg can judge
    r = (c + 1) / (c + rank)                       c = 60; reciprocal rank fusion (Cormack et al. 2009) up to
                                                   the factor c + 1

The sums of the clauses are standardised, multiplied by the clauses' weights, and added. A candidate that a
leg cannot judge, such as an item without a picture, has the mean of the other candidates in it. The lexical
leg judges an item that has texts but no word of the query: its reciprocal rank is 0.

Legend: K candidates.
"""

from collections.abc import Mapping
from typing import Final

import numpy as np
import numpy.typing as npt

from recsys.arrays import Bools, Floats
from recsys.search.legs import LEXICAL, POPULARITY
from recsys.search.scoring import ClauseScores, LegScores, QueryScores
from recsys.search.settings import FusionWeights, SearchSettings

Doubles = npt.NDArray[np.float64]
# Reciprocal rank fusion without validation: words count as much as all vectors of the query's own space
# together, and ten times as much as all comparisons in the shared space, which are far less accurate: a
# picture finds a picture better than it finds words.
_SHARED_WEIGHT: Final = 0.1
_LEAST_DEVIATION: Final = 1e-9


def standardized(score_K: Floats | Doubles, has_K: Bools) -> Doubles:
    """z-scores over the candidates in `has_K`; 0 for the others, and where all scores are equal."""
    z_K = np.zeros(len(score_K))
    known = score_K[has_K].astype(np.float64)
    if len(known) and known.std() > _LEAST_DEVIATION:
        z_K[has_K] = (known - known.mean()) / known.std()
    return z_K


def reciprocal_ranks(scores: LegScores, constant: float) -> Doubles:
    """(c + 1) / (c + rank): in (0, 1], equal scores with equal rank, the mean where the leg cannot judge.

    0 for lexical scores of 0.
    """
    reciprocal_K = np.zeros(len(scores.score_K))
    known = scores.score_K[scores.has_K].astype(np.float64)
    if not len(known):
        return reciprocal_K
    rank = 1 + np.searchsorted(np.sort(-known), -known, side="left")
    found = np.where((scores.space == LEXICAL) & (known <= 0), 0.0, (constant + 1) / (constant + rank))
    reciprocal_K[:] = found.mean()
    reciprocal_K[scores.has_K] = found
    return reciprocal_K


def default_weights(clause: ClauseScores) -> FusionWeights:
    """Weights of reciprocal rank fusion for the legs that the clause asks; none of popularity."""
    own = [name for name, leg in clause.legs.items() if leg.space == "own"]
    shared = [name for name, leg in clause.legs.items() if leg.space == "shared"]
    reciprocal = {LEXICAL: 1.0} if LEXICAL in clause.legs else {}
    reciprocal |= dict.fromkeys(own, 1.0 / max(len(own), 1))
    reciprocal |= dict.fromkeys(shared, _SHARED_WEIGHT / max(len(shared), 1))
    return FusionWeights(reciprocal=reciprocal)


def fuse(
    scores: QueryScores, settings: SearchSettings, factors: Mapping[str, float] | None = None
) -> tuple[Doubles, dict[str, Doubles]]:
    """The fused score of each candidate [K], and the part of it that each leg contributes, by name.

    `factors` multiply the weights of the legs.
    """
    total_K = np.zeros(len(scores.items))
    parts: dict[str, Doubles] = {}
    for clause in scores.clauses:
        weights = _effective(clause, settings, factors or {})
        by_leg = {
            name: _weighted(leg, weights, name, settings.rank_constant) for name, leg in clause.legs.items()
        }
        sum_K = np.sum([*by_leg.values(), total_K * 0.0], axis=0)
        deviation = float(sum_K.std()) if len(sum_K) else 0.0
        scale = clause.weight / deviation if deviation > _LEAST_DEVIATION else 0.0
        total_K += scale * (sum_K - sum_K.mean() if len(sum_K) else sum_K)
        for name, part_K in by_leg.items():
            parts[name] = parts.get(name, 0.0) + scale * (part_K - part_K.mean() if len(part_K) else part_K)
    return total_K, parts


def _weighted(leg: LegScores, weights: FusionWeights, name: str, constant: float) -> Doubles:
    weighted_K = np.zeros(len(leg.score_K))
    if standard := weights.standardized.get(name, 0.0):
        weighted_K += standard * standardized(leg.score_K, leg.has_K)
    if reciprocal := weights.reciprocal.get(name, 0.0):
        weighted_K += reciprocal * reciprocal_ranks(leg, constant)
    return weighted_K


def _effective(clause: ClauseScores, settings: SearchSettings, factors: Mapping[str, float]) -> FusionWeights:
    """The weights of the clause's kind times `factors`.

    Where validation has switched off every leg that the factors leave on, they are those of reciprocal rank
    fusion, so that a request for pictures alone is answered by pictures.
    """
    fitted = settings.fusion.get(clause.kind)
    for weights in (fitted, default_weights(clause)):
        if weights is None:
            continue
        scaled = FusionWeights(
            standardized=_times(weights.standardized, factors), reciprocal=_times(weights.reciprocal, factors)
        )
        if any(
            weight > 0 and name in clause.legs and name != POPULARITY
            for mapping in (scaled.standardized, scaled.reciprocal)
            for name, weight in mapping.items()
        ):
            return scaled
    return FusionWeights()


def _times(weights: Mapping[str, float], factors: Mapping[str, float]) -> dict[str, float]:
    return {name: weight * factors.get(name, 1.0) for name, weight in weights.items()}
