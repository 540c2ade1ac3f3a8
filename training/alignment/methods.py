"""The ways of fitting a shared space. Each gives a candidate: heads from training items, scored on others."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations, product
from typing import Final

import numpy as np

from recsys.arrays import Floats
from recsys.config import AlignmentConfig
from recsys.modalities import EncoderKind
from recsys.progress import Progress
from training.alignment.closed_form import CanonicalCorrelation, ridge_into
from training.alignment.evaluate import ranks_of_own
from training.alignment.heads import Head, IdentityHead, JointHead, LinearHead, project
from training.alignment.train import train_heads
from training.alignment.views import Views
from training.runtime import threads

Heads = Mapping[EncoderKind, Head]
RIDGES: Final = (0.3, 1.0, 3.0, 10.0, 30.0)
POWERS: Final = (0.5, 1.0, 2.0)
SMALL_CATALOGUE: Final = 10_000  # items; of more, products of their vectors take most of the time
JOINT_SHARES: Final = (0.25, 0.5, 0.75)  # of the trained heads, beside the closed form


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """Heads from the training items, their validation score, and the same way of fitting for other items."""

    method: str
    score: float
    heads: Heads
    settings: Mapping[str, float]
    refit: Callable[[Views], Heads]


def common_space(training: Views, validation: Views, common: Mapping[EncoderKind, int]) -> Candidate:
    """The space of encoders that are aligned already; kinds outside of it join by ridge regression."""

    def candidate(ridge: float) -> Candidate:
        heads = common_heads(training, common, ridge)
        return Candidate(
            method="encoders",
            score=validation_score(heads, validation),
            heads=heads,
            settings={"ridge": ridge},
            refit=lambda views: common_heads(views, common, ridge),
        )

    others = set(training.aligned_kinds) - set(common)
    return max(
        (candidate(ridge) for ridge in (RIDGES if others else RIDGES[:1])), key=lambda each: each.score
    )


def common_heads(views: Views, common: Mapping[EncoderKind, int], ridge: float) -> Heads:
    """Identity for the kinds of the common space, ridge regression into it for the others."""
    heads: dict[EncoderKind, Head] = {kind: IdentityHead(dim) for kind, dim in common.items()}
    for kind in views.kinds:
        if kind not in heads and (linear := ridge_into(views, kind, common, ridge)) is not None:
            heads[kind] = LinearHead(linear)
    return heads


def closed_form(splits: Sequence[tuple[Views, Views]], dim: int) -> Candidate:
    """Canonical correlations, with the ridge and the power of the best mean score over `splits`.

    Heads and score are those of the first split. A small catalogue is fitted by one thread: others would
    mostly wait for each other, which takes many times as long on a busy machine.
    """
    scores: dict[tuple[float, float], list[float]] = {}
    for training, validation in splits:
        with threads(_num_threads(training)):
            analysis = CanonicalCorrelation(training, dim)
            for setting in product(RIDGES, POWERS):
                score = validation_score(_linear_heads(analysis, *setting), validation)
                scores.setdefault(setting, []).append(score)
    ridge, power = max(scores, key=lambda setting: float(np.mean(scores[setting])))

    def fit(views: Views) -> Heads:
        with threads(_num_threads(views)):
            return _linear_heads(CanonicalCorrelation(views, dim), ridge, power)

    return Candidate(
        method="closed_form",
        score=scores[ridge, power][0],
        heads=fit(splits[0][0]),
        settings={"ridge": ridge, "power": power},
        refit=fit,
    )


def trained(
    training: Views,
    validation: Views,
    linear: Candidate,
    config: AlignmentConfig,
    *,
    seed: int,
    progress: Progress,
) -> Candidate:
    """MLP heads of all seeds together, trained from the closed form `linear`.

    A refit trains each seed for the number of epochs that was the best for it.
    """
    settings, members, num_epochs = config.trained, [], []
    ridge, power = linear.settings["ridge"], linear.settings["power"]
    start = CanonicalCorrelation(training, config.dim).heads(ridge=ridge, power=power)
    for at in range(settings.num_seeds):
        result = train_heads(
            training, start, settings, seed=seed + at, score=lambda heads: validation_score(heads, validation)
        )
        members.append(result.heads)
        num_epochs.append(result.num_epochs)
        progress("align", at + 1, settings.num_seeds, f"trained heads, validation NDCG {result.score:.3f}")
    heads = joined(members, [1.0] * len(members))

    def refit(views: Views) -> Heads:
        again = CanonicalCorrelation(views, config.dim).heads(ridge=ridge, power=power)
        results = [
            train_heads(views, again, settings, seed=seed + at, score=None, num_epochs=epochs)
            for at, epochs in enumerate(num_epochs)
        ]
        return joined([result.heads for result in results], [1.0] * len(results))

    return Candidate(
        method="trained",
        score=validation_score(heads, validation),
        heads=heads,
        settings={**linear.settings, **{f"epochs_{at}": float(each) for at, each in enumerate(num_epochs)}},
        refit=refit,
    )


def joint(linear: Candidate, mlp: Candidate, validation: Views) -> Candidate:
    """The closed form and the trained heads together; validation chooses the share of the latter."""

    def candidate(share: float) -> Candidate:
        weights = [1.0 - share, share]
        heads = joined([linear.heads, mlp.heads], weights)
        return Candidate(
            method="joint",
            score=validation_score(heads, validation),
            heads=heads,
            settings={**mlp.settings, "share": share},
            refit=lambda views: joined([linear.refit(views), mlp.refit(views)], weights),
        )

    return max((candidate(share) for share in JOINT_SHARES), key=lambda each: each.score)


def joined(members: Sequence[Heads], weights: Sequence[float]) -> Heads:
    """Heads whose cosines are the weighted means of those of the members."""
    if len(members) == 1:
        return members[0]
    return {kind: JointHead([each[kind] for each in members], weights) for kind in members[0]}


def validation_score(heads: Heads, views: Views) -> float:
    """Mean of 1 / log2(1 + rank) of the own item, over the ordered pairs of modalities of `views`.

    NDCG with one relevant item. It varies less than a Recall on few items. 0 where no pair has heads.
    """
    projected: dict[str, Floats] = {}
    scores = []
    for pair, rows in views.pairs().items():
        if not all(views.kind_of[name] in heads for name in pair):
            scores += [0.0, 0.0]
            continue
        for name in pair:
            if name not in projected:
                projected[name] = project(heads[views.kind_of[name]], views.vectors[name][views.items])
        places = np.searchsorted(views.items, rows)
        for query, item in permutations(pair):
            ranks = ranks_of_own(projected[query][places], projected[item][places])
            scores.append(float((1.0 / np.log2(1.0 + ranks)).mean()))
    return float(np.mean(scores)) if scores else 0.0


def _num_threads(views: Views) -> int | None:
    """1 for a small catalogue, None for the threads of the process."""
    return 1 if len(views.items) <= SMALL_CATALOGUE else None


def _linear_heads(analysis: CanonicalCorrelation, ridge: float, power: float) -> Heads:
    return {kind: LinearHead(linear) for kind, linear in analysis.heads(ridge=ridge, power=power).items()}
