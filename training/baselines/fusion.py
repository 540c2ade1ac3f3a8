"""Content neighbours by several modalities: the weighted sum of their standardised cosines."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from recsys.arrays import Floats
from recsys.progress import Progress, silent
from training.baselines.content import ContentNeighbors
from training.baselines.known import KnownEvents, ScoringModel
from training.baselines.tuning import Choice, Part, ValidationTask


@dataclass(frozen=True, kw_only=True)
class FusionSettings:
    weights: Mapping[str, float]  # baseline of one modality -> weight


class Fusion(ScoringModel):
    """Weighted sum of the parts' scores, which are standardised for each user over the items with a score.

    A modality that an item lacks adds 0. An item without any of the modalities is never recommended.
    """

    name = "content (fusion)"

    def __init__(
        self, parts: Sequence[ContentNeighbors], settings: FusionSettings, *, known: KnownEvents
    ) -> None:
        self.settings = settings
        self._parts = [part for part in parts if settings.weights.get(part.name, 0)]
        self._known = known

    def with_known_events(self, known: KnownEvents) -> Self:
        other = super().with_known_events(known)
        other._parts = [part.with_known_events(known) for part in self._parts]
        return other

    def score(self, users: Sequence[str]) -> Floats:
        """The weighted sum. Shape [U, N]."""
        scores = {part.name: standardise(part.score(users)) for part in self._parts}
        return combine(scores, self.settings.weights)


def standardise(score_UN: Floats) -> Floats:
    """(score - mean) / standard deviation over a user's finite scores; other scores remain -inf."""
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
    task: ValidationTask,
    *,
    known: KnownEvents,
    further_weights: Sequence[float],
    progress: Progress = silent,
) -> Choice[FusionSettings, Fusion]:
    """Greedy choice of weights: parts are added by falling validation NDCG@10, the first with weight 1.

    A further part gets the weight of `further_weights` with the best validation NDCG@10, or is left out if no
    weight improves it. The grid is coarse, because a finer one would fit the noise of validation.
    """
    start = time.process_time()
    ordered = sorted(parts, key=lambda each: -(each.validation_ndcg or 0))
    first, *others = [each.model for each in ordered]
    weights, best, num = {first.name: 1.0}, ordered[0].validation_ndcg, 1
    if task.parts:
        total = 1 + len(others) * len(further_weights)
        scores = {part.model.name: _standardised(part.model, task) for part in ordered}
        for other in others:
            found = {}
            for weight in further_weights:
                found[weight] = task.ndcg(_Weighted(scores, weights | {other.name: weight}))
                num += 1
                progress(f"tune {Fusion.name}", num, total, f"NDCG@10 {best:.4f}")
            weight = max(found, key=found.__getitem__)
            if best is None or found[weight] > best:
                weights, best = weights | {other.name: weight}, found[weight]
    settings = FusionSettings(weights=weights)
    return Choice(
        settings=settings,
        model=Fusion([part.model for part in ordered], settings, known=known).with_known_events(known),
        validation_ndcg=best,
        num_candidates=num,
        cpu_seconds=time.process_time() - start,
    )


@dataclass(frozen=True)
class _Weighted:
    scores: Mapping[str, Sequence[Floats]]  # model -> scores of each part of a task
    weights: Mapping[str, float]

    def __call__(self, number: int, _: Part) -> Floats:
        return combine({name: self.scores[name][number] for name in self.weights}, self.weights)


def _standardised(model: ContentNeighbors, task: ValidationTask) -> list[Floats]:
    """Standardised scores of each part of the task."""
    return [standardise(model.with_known_events(part.known).score(part.users)) for part in task.parts]
