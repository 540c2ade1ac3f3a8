"""Fusion: from the scores of all legs to one score for each candidate.

Without validation queries a leg's evidence for an item is a log likelihood ratio in nats, about

    z = (cosine - center) / deviation     of the background, a sample of the catalogue
    dense leg     z^2 / 2   where z > 0   the ratio of a broad normal distribution to the background's, for
                                          large z (a standard result on Bayes factors of normal means)
    lexical leg   6 min(ln N, sum of idf) (coverage + 0.05 BM25 / (10 + BM25) - mean coverage)

so that a leg that recognises an item has outliers and decides, and one without information adds little. Legs
of the same encoder have one deviation, the geometric mean of theirs, since the noise of their cosines is the
same; a leg that recognises many items would else hide this in its own deviation. They repeat one another, so
an item has the highest evidence among them; so it has of all comparisons in the shared space, times 0.05, or
0.003 for a picture that is compared with pictures in their own space. The evidence of the lexical leg, of
each encoder's legs and of the shared space is added. An item that a leg cannot judge has the expected
evidence of the background.

Validation may choose weights of this sum and, for each leg, of

    z = (score - mean) / standard deviation        over the candidates that the leg can judge
    r = (c + 1) / (c + rank)                       c = 60; reciprocal rank fusion (Cormack et al. 2009) up to
                                                   the factor c + 1

The sums of the clauses are standardised, multiplied by the weights of the clauses, and added. In z and r a
candidate that a leg cannot judge, such as an item without a picture, has the mean of the others. The lexical
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
from recsys.search.settings import EvidenceSettings, FusionWeights, SearchSettings

Doubles = npt.NDArray[np.float64]
_LEAST_DEVIATION: Final = 1e-9
_SLOPE_BELOW: Final = 0.05  # of the evidence where z < 0, so that a leg orders all items
_HALF_BM25: Final = 10.0  # the BM25 score that adds half of the most that BM25 can add


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
    """Evidence of all legs that the clause asks but popularity. A leg alone keeps the order of its scores."""
    asked = [name for name in clause.legs if name != POPULARITY]
    if asked == [LEXICAL]:
        return FusionWeights(standardized={LEXICAL: 1.0})
    return FusionWeights(evidence=dict.fromkeys(asked, 1.0))


def evidence(clause: ClauseScores, settings: EvidenceSettings) -> dict[str, Doubles]:
    """The evidence of each leg but popularity for each candidate, by the leg's name. Shape [K]."""
    deviation = _deviations(clause.legs)
    own = {leg.kind for leg in clause.legs.values() if leg.space == "own"}
    shared = settings.shared_of_pictures if own == {"image"} else settings.shared
    found = {}
    for name, leg in clause.legs.items():
        if leg.space == LEXICAL:
            found[name] = _word_evidence(clause, leg, settings)
        elif leg.space != POPULARITY:
            factor = shared if leg.space == "shared" else 1.0
            found[name] = factor * _dense_evidence(leg, deviation[name])
    return found


def _deviations(legs: Mapping[str, LegScores]) -> dict[str, float]:
    """Of the background, by leg: one of all legs that one encoder compares in its own space."""
    found = {name: leg.background.deviation for name, leg in legs.items()}
    for kind in {leg.kind for leg in legs.values() if leg.space == "own"}:
        names = [name for name, leg in legs.items() if leg.space == "own" and leg.kind == kind]
        known = [found[name] for name in names if found[name] > _LEAST_DEVIATION]
        if known:
            found |= dict.fromkeys(names, float(np.exp(np.log(known).mean())))
    return found


def _dense_evidence(leg: LegScores, deviation: float) -> Doubles:
    if deviation <= _LEAST_DEVIATION:
        return np.zeros(len(leg.score_K))
    z_K = (leg.score_K.astype(np.float64) - leg.background.center) / deviation
    neutral = leg.background.excess / deviation**2 / 2
    return np.where(leg.has_K, np.where(z_K > 0, z_K**2 / 2, _SLOPE_BELOW * z_K), neutral)


def _word_evidence(clause: ClauseScores, leg: LegScores, settings: EvidenceSettings) -> Doubles:
    if clause.coverage_K is None:
        return np.zeros(len(leg.score_K))
    words, bm25_K = clause.words, leg.score_K.astype(np.float64)
    most = settings.words * min(np.log(max(words.num_items, 1)), words.total_idf)
    share_K = clause.coverage_K + settings.bm25 * bm25_K / (_HALF_BM25 + bm25_K)
    return np.where(leg.has_K, most * (share_K - words.mean_coverage), 0.0)


def group_of(leg: LegScores) -> tuple[str, str | None]:
    """Legs with equal values repeat one another."""
    return leg.space, leg.kind if leg.space == "own" else None


def _combined(found: Mapping[str, Doubles], legs: Mapping[str, LegScores]) -> dict[str, Doubles]:
    """The part of each leg of `found` in the sum of the evidence, by name. Shape [K].

    Of the legs of one encoder in its own space, and of those of the shared space, only the leg with the
    highest evidence has a part in a candidate's sum.
    """
    groups: dict[tuple[str, str | None], list[str]] = {}
    for name in found:
        groups.setdefault(group_of(legs[name]), []).append(name)
    parts: dict[str, Doubles] = {}
    for names in groups.values():
        evidence_LK = np.stack([found[name] for name in names])
        is_best_LK = evidence_LK.argmax(axis=0) == np.arange(len(names))[:, None]
        parts |= dict(zip(names, np.where(is_best_LK, evidence_LK, 0.0), strict=True))
    return parts


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
        by_leg = _parts(clause, weights, settings)
        sum_K = np.sum([*by_leg.values(), total_K * 0.0], axis=0)
        deviation = float(sum_K.std()) if len(sum_K) else 0.0
        scale = clause.weight / deviation if deviation > _LEAST_DEVIATION else 0.0
        total_K += scale * (sum_K - sum_K.mean() if len(sum_K) else sum_K)
        for name, part_K in by_leg.items():
            parts[name] = parts.get(name, 0.0) + scale * (part_K - part_K.mean() if len(part_K) else part_K)
    return total_K, parts


def _parts(clause: ClauseScores, weights: FusionWeights, settings: SearchSettings) -> dict[str, Doubles]:
    """The part of each leg in the clause's score, before it is standardised."""
    found: dict[str, Doubles] = {}
    if used := {name: weight for name, weight in weights.evidence.items() if weight and name in clause.legs}:
        by_leg = evidence(clause, settings.evidence)
        found = _combined({name: weight * by_leg[name] for name, weight in used.items()}, clause.legs)
    return {
        name: found.get(name, 0.0) + _weighted(leg, weights, name, settings.rank_constant)
        for name, leg in clause.legs.items()
    }


def _weighted(leg: LegScores, weights: FusionWeights, name: str, constant: float) -> Doubles:
    weighted_K = np.zeros(len(leg.score_K))
    if standard := weights.standardized.get(name, 0.0):
        weighted_K += standard * standardized(leg.score_K, leg.has_K)
    if reciprocal := weights.reciprocal.get(name, 0.0):
        weighted_K += reciprocal * reciprocal_ranks(leg, constant)
    return weighted_K


def _effective(clause: ClauseScores, settings: SearchSettings, factors: Mapping[str, float]) -> FusionWeights:
    """The weights of the clause's kind times `factors`.

    Where validation has switched off every leg that the factors leave on, they are those without validation,
    so that a request for pictures alone is answered by pictures. A leg that the factors leave alone has its
    own order.
    """
    asked = [name for name in clause.legs if name != POPULARITY]
    on = [name for name in asked if factors.get(name, 1.0) > 0]
    if len(on) == 1 < len(asked):
        return FusionWeights(standardized={on[0]: 1.0})
    fitted = settings.fusion.get(clause.kind)
    if fitted is not None:
        scaled = _times(fitted, factors)
        mappings = (scaled.evidence, scaled.standardized, scaled.reciprocal)
        if any(mapping.get(name, 0.0) > 0 for mapping in mappings for name in on):
            return scaled
    return _times(default_weights(clause), factors)


def _times(weights: FusionWeights, factors: Mapping[str, float]) -> FusionWeights:
    def scaled(mapping: Mapping[str, float]) -> dict[str, float]:
        return {name: weight * factors.get(name, 1.0) for name, weight in mapping.items()}

    return FusionWeights(
        evidence=scaled(weights.evidence),
        standardized=scaled(weights.standardized),
        reciprocal=scaled(weights.reciprocal),
    )
