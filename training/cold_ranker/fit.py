"""Fits the cold ranker: weights on pseudo-cold items, then the evidence of the catalogue's cold items.

A refit takes the weights and powers that the first fit chose, and computes the evidence again.

Legend: P pseudo-cold items, F kinds of evidence, L lists, N items, S content sources.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from recsys.arrays import Floats, Ints
from recsys.config import ColdStartConfig
from recsys.ids import NUM_RESERVED
from recsys.item_features import ItemFeatures
from recsys.retrieval import NEAREST_POPULARITY, TOWERS, ColdRanker, ItemNeighborSource
from training.candidates import CONTENT_PREFIX, Neighbors, content_modalities, content_neighbors, has_content
from training.cold_ranker.evidence import (
    Fold,
    Form,
    make_folds,
    nearest_popularity,
    standardised,
    standardised_known,
)
from training.cold_ranker.weights import Lists, choose_weights, fit_weights
from training.cold_start import ValidationUsers

logger = logging.getLogger(__name__)
MIN_COLD: Final = 20  # cold items; mean and deviation of fewer say little
FEWEST, MOST = 100, 500  # pseudo-cold items of a fold; between them, as many as there are cold items
MIN_LISTS: Final = 100  # with fewer the weights are noise
# A modality is read if this share of the cold items and of the pseudo-cold items has it. The few items with a
# rare one would often stand first for no other reason.
MIN_SHARE: Final = 0.2


@dataclass(frozen=True, kw_only=True)
class ColdRankerChoice:
    """The choices on validation. Without any weight but the towers' there is no cold ranker."""

    weights: Mapping[str, float] = field(default_factory=dict)
    powers: Mapping[str, float] = field(default_factory=dict)  # modality -> power of the cosines
    exponents: Mapping[str, float] = field(default_factory=dict)  # modality -> exponent of their mean
    # Validation NDCG@10 of users whose lists the weights were not fitted on, as evidence is added.
    ndcg: Mapping[str, float] = field(default_factory=dict)
    num_lists: int = 0


def choose_cold_ranker(
    features: ItemFeatures,
    users: ValidationUsers,
    pseudo_cold_ND: Floats,
    config: ColdStartConfig,
    *,
    seed: int,
) -> ColdRankerChoice:
    """Powers and weights chosen on pseudo-cold items of the validation users."""
    cold = cold_items(features)
    num_cold = len(cold)
    modalities = [
        name
        for name in content_modalities(features)
        if num_cold and has_content(features, name)[cold].mean() >= MIN_SHARE
    ]
    if num_cold < MIN_COLD or not modalities or users.past is None:
        return ColdRankerChoice()
    folds = make_folds(
        features,
        users,
        pseudo_cold_ND,
        modalities=modalities,
        num_folds=config.num_folds,
        num_items=int(np.clip(num_cold, FEWEST, MOST)),
        num_neighbors=config.content_neighbors,
        seed=seed,
    )
    return _choose(list(folds), modalities, config, seed)


def _choose(
    folds: Sequence[Fold], modalities: Sequence[str], config: ColdStartConfig, seed: int
) -> ColdRankerChoice:
    if sum(len(fold.user) for fold in folds) < MIN_LISTS:
        return ColdRankerChoice()
    modalities = [
        name for name in modalities if np.mean([fold.has_P[name].mean() for fold in folds]) >= MIN_SHARE
    ]
    towers = Lists.joined([_lists(fold, {}) for fold in folds])
    forms = {name: _best_form(folds, towers, name, config.content_powers) for name in modalities}
    lists = Lists.joined([_lists(fold, forms) for fold in folds])
    choice = choose_weights(lists, TOWERS, seed=seed)
    logger.info("cold ranker: validation NDCG@10 as evidence is added: %s", choice.ndcg)
    logger.info("cold ranker: weights %s, forms of the content %s", choice.weights, forms)
    return ColdRankerChoice(
        weights=choice.weights,
        powers={name: form.power for name, form in forms.items()},
        exponents={name: form.exponent for name, form in forms.items()},
        ndcg=choice.ndcg,
        num_lists=len(lists.user_L),
    )


def make_cold_ranker(
    features: ItemFeatures, choice: ColdRankerChoice, config: ColdStartConfig
) -> ColdRanker | None:
    """The chosen weights with the evidence of the catalogue; None where the towers alone were chosen."""
    cold = cold_items(features)
    if set(choice.weights) <= {TOWERS} or not len(cold):
        return None
    used = [name for name in choice.powers if CONTENT_PREFIX + name in choice.weights]
    # Popularity is read from the neighbors of every modality, whichever of them have a weight.
    reads = list(choice.powers) if NEAREST_POPULARITY in choice.weights else used
    near = {name: content_neighbors(features, name, cold, config.content_neighbors) for name in reads}
    popularity_N = np.zeros(features.size, np.float32)
    if NEAREST_POPULARITY in choice.weights:
        popularity_N[cold] = standardised_known(nearest_popularity(features, near, cold, features.trained))
    known_SN = np.zeros((len(used), features.size), np.bool_)
    for row, name in enumerate(used):
        known_SN[row, near[name].item[near[name].item > 0]] = True
    return ColdRanker(
        weights=choice.weights,
        sources=tuple(_source(name, near[name], choice.powers[name]) for name in used),
        exponents={CONTENT_PREFIX + name: choice.exponents[name] for name in used},
        known=known_SN,
        popularity=popularity_N,
    )


def _source(modality: str, near: Neighbors, power: float) -> ItemNeighborSource:
    return ItemNeighborSource(
        name=CONTENT_PREFIX + modality, neighbor=near.item, weight=near.sharpened(power), decay=1.0
    )


def _lists(fold: Fold, forms: Mapping[str, Form]) -> Lists:
    """All evidence of a fold, standardised as `ColdRanker` does it."""
    every_P = np.ones(len(fold.items), np.bool_)
    shape = fold.towers_LP.shape
    evidence = {
        TOWERS: standardised(fold.towers_LP, every_P),
        NEAREST_POPULARITY: np.broadcast_to(standardised_known(fold.popularity_P), shape),
    }
    for name, form in forms.items():
        evidence[CONTENT_PREFIX + name] = _standardised_content(fold, name, form)
    return Lists(
        names=tuple(evidence),
        evidence_LPF=np.stack(list(evidence.values()), axis=-1),
        unseen_LP=np.stack([~np.isin(fold.items, seen) for seen in fold.seen]),
        chosen_LP=np.stack([np.isin(fold.items, items) for items in fold.ground_truth]),
        user_L=fold.user,
    )


def _standardised_content(fold: Fold, modality: str, form: Form) -> Floats:
    return standardised(fold.content(modality, form), fold.has_P[modality])


def _best_form(folds: Sequence[Fold], towers: Lists, modality: str, powers: Sequence[float]) -> Form:
    """The form with which the modality, beside the towers' score, has the highest likelihood."""
    best: tuple[float, Form] | None = None
    for power in sorted(powers):
        for exponent in sorted({1.0 / power, 1.0}):
            form = Form(power=power, exponent=exponent)
            content = np.concatenate([_standardised_content(fold, modality, form) for fold in folds])
            pair = towers.with_evidence(modality, content)
            likelihood = float(pair.log_likelihood(fit_weights(pair, (TOWERS, modality))).mean())
            if best is None or likelihood > best[0]:
                best = likelihood, form
    assert best is not None, "the configuration has at least one power"
    return best[1]


def cold_items(features: ItemFeatures) -> Ints:
    """The ids of the items without training events."""
    cold = np.flatnonzero(~features.trained)
    return cold[cold >= NUM_RESERVED]
