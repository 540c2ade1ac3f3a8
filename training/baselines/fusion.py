"""Several modalities' neighbours as one: the weighted sum of their standardised cosines."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from recsys.arrays import Floats
from recsys.progress import Progress, silent
from training.baselines.content import ContentNeighbors
from training.baselines.known import Known, Scored
from training.baselines.tuning import Choice, Part, Question


@dataclass(frozen=True, kw_only=True)
class FusionSettings:
    weights: Mapping[str, float]  # by name of the part


class Fusion(Scored):
    """Each part's scores of a user as standard deviations from their mean over the items that have any.

    A modality that an item lacks neither helps nor harms it; an item without all of them is never
    recommended.
    """

    name = "content (fusion)"

    def __init__(self, parts: Sequence[ContentNeighbors], settings: FusionSettings, *, known: Known) -> None:
        self.settings = settings
        self._parts = [part for part in parts if settings.weights.get(part.name, 0)]
        self._known = known

    def knowing(self, known: Known) -> Self:
        other = super().knowing(known)
        other._parts = [part.knowing(known) for part in self._parts]
        return other

    def score(self, users: Sequence[str]) -> Floats:
        """Shape [U, N]."""
        scores = {part.name: standardise(part.score(users)) for part in self._parts}
        return combine(scores, self.settings.weights)


def standardise(score_UN: Floats) -> Floats:
    """Standard deviations from the mean of a user's finite scores; the others stay -inf."""
    finite_UN = np.isfinite(score_UN)
    count_U1 = np.maximum(finite_UN.sum(1, keepdims=True), 1)
    known_UN = np.where(finite_UN, score_UN, 0)
    mean_U1 = known_UN.sum(1, keepdims=True) / count_U1
    square_U1 = np.where(finite_UN, (known_UN - mean_U1) ** 2, 0).sum(1, keepdims=True) / count_U1
    scaled: Floats = (score_UN - mean_U1) / np.maximum(np.sqrt(square_U1), 1e-9)
    return scaled.astype(np.float32)


def combine(scores: Mapping[str, Floats], weights: Mapping[str, float]) -> Floats:
    """Weighted sum; -inf where no part has a score."""
    used = [name for name, weight in weights.items() if weight]
    total_UN = np.zeros_like(scores[used[0]])
    has_any = np.zeros(total_UN.shape, np.bool_)
    for name in used:
        finite = np.isfinite(scores[name])
        has_any |= finite
        total_UN += np.where(finite, weights[name] * scores[name], 0).astype(np.float32)
    total_UN[~has_any] = -np.inf
    return total_UN


def choose_fusion(
    parts: Sequence[Choice[Any, ContentNeighbors]],
    question: Question,
    *,
    known: Known,
    further_weights: Sequence[float],
    progress: Progress = silent,
) -> Choice[FusionSettings, Fusion]:
    """From the best part on, each further one with the weight that helps most, left out where none does.

    Parts come by their own validation NDCG@10; the first has weight 1. `further_weights` are coarse on
    purpose: a finer search would learn the noise of validation.
    """
    start = time.process_time()
    ordered = sorted(parts, key=lambda each: -(each.validation_ndcg or 0))
    first, *others = [each.model for each in ordered]
    weights, best, num = {first.name: 1.0}, ordered[0].validation_ndcg, 1
    if question.parts:
        total = 1 + len(others) * len(further_weights)
        scores = {part.model.name: _standardised(part.model, question) for part in ordered}
        for other in others:
            found = {}
            for weight in further_weights:
                found[weight] = question.ndcg(_Weighted(scores, weights | {other.name: weight}))
                num += 1
                progress(f"tune {Fusion.name}", num, total, f"NDCG@10 {best:.4f}")
            weight = max(found, key=found.__getitem__)
            if best is None or found[weight] > best:
                weights, best = weights | {other.name: weight}, found[weight]
    settings = FusionSettings(weights=weights)
    return Choice(
        settings=settings,
        model=Fusion([part.model for part in ordered], settings, known=known).knowing(known),
        validation_ndcg=best,
        num_candidates=num,
        cpu_seconds=time.process_time() - start,
    )


@dataclass(frozen=True)
class _Weighted:
    scores: Mapping[str, Sequence[Floats]]  # of each part of a question
    weights: Mapping[str, float]

    def __call__(self, number: int, _: Part) -> Floats:
        return combine({name: self.scores[name][number] for name in self.weights}, self.weights)


def _standardised(model: ContentNeighbors, question: Question) -> list[Floats]:
    """Scores of each part of the question."""
    return [standardise(model.knowing(part.known).score(part.users)) for part in question.parts]
