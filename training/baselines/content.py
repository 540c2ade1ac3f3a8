"""Neighbours by content: the items most similar to the mean of a user's items, by one modality."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from scipy.sparse import csr_matrix, diags

from features.splits import Split
from recsys.arrays import Floats
from recsys.config import content_baseline
from recsys.ids import UNKNOWN
from recsys.item_features import ItemFeatures
from recsys.modalities import MODALITIES, of_table
from training.baselines.known import KnownEvents, ScoringModel, Seen
from training.candidates import CATEGORIES, unit_vectors

# Modality -> name of its baseline.
CONTENT_NAMES = {each.name: content_baseline(each.label) for each in MODALITIES} | {
    CATEGORIES: content_baseline(CATEGORIES)
}
OF_REVIEWS = of_table("reviews")


@dataclass(frozen=True, kw_only=True)
class ContentSettings:
    standardised: bool = True  # dimensions, over items with a training event; categories: weighted by rarity
    last: int | None = None  # number of newest events of the history that are read; None: all


def content_settings(last: Sequence[int]) -> tuple[ContentSettings, ...]:
    """Both ways to make the vectors, each with the whole history and with its newest `last` events."""
    return tuple(
        ContentSettings(standardised=standardised, last=each)
        for standardised, each in product((True, False), (None, *last))
    )


class ContentNeighbors(ScoringModel):
    """Cosine of an item's unit vector with the mean of the unit vectors of the history's items.

    For `categories` it is the sum over fields of the products of the fields' indicator vectors. Items with
    the modality are recommended with or without events, items without it never. A user whose history has no
    item with the modality gets no items.
    """

    def __init__(
        self,
        split: Split,
        items: ItemFeatures,
        modality: str,
        *,
        seen: Seen,
        settings: ContentSettings = ContentSettings(),
    ) -> None:
        self.name = CONTENT_NAMES[modality]
        self.settings = settings
        self._known = KnownEvents.of(split, items, seen=seen)
        self._unit_ND, self.has_N = unit_vectors(items, modality, standardised=settings.standardised)

    def with_last(self, last: int | None) -> "ContentNeighbors":
        """The same vectors with another number of history events."""
        other = self.with_known_events(self._known)
        other.settings = replace(self.settings, last=last)
        return other

    def score(self, users: Sequence[str]) -> Floats:
        """The cosine times a factor that depends on the user alone. Shape [U, N]."""
        history_UN = self._known.events(users, keep_N=self.has_N, last=self.settings.last)
        count_U = np.asarray(history_UN.sum(axis=1)).ravel()
        mean_UN = diags(1 / np.maximum(count_U, 1), dtype=np.float32) @ history_UN
        product_UN = (mean_UN @ self._unit_ND) @ self._unit_ND.T
        score_UN: Floats = product_UN.toarray() if isinstance(product_UN, csr_matrix) else product_UN
        score_UN = score_UN.astype(np.float32, copy=False)
        score_UN[:, ~self.has_N] = -np.inf
        score_UN[count_U == 0] = -np.inf
        return score_UN


def modalities_of(items: ItemFeatures) -> list[str]:
    """The modalities of `CONTENT_NAMES` that any item has, in that order."""
    found = {name for name in items.dense if items.present[name].any()}
    if any((ids > UNKNOWN).any() for ids in items.categories.values()):
        found.add(CATEGORIES)
    return [name for name in CONTENT_NAMES if name in found]


def content_candidates(
    split: Split, items: ItemFeatures, modality: str, candidates: Sequence[ContentSettings], *, seen: Seen
) -> Iterator[tuple[ContentSettings, ContentNeighbors]]:
    """A model for each of `candidates`; models with the same vectors share them."""
    made: dict[bool, ContentNeighbors] = {}
    for settings in candidates:
        if settings.standardised not in made:
            made[settings.standardised] = ContentNeighbors(
                split, items, modality, seen=seen, settings=settings
            )
        yield settings, made[settings.standardised].with_last(settings.last)
