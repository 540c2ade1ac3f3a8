"""Content neighbours: the items whose content is most similar to an item, one source for each modality.

The similarity of two items is max(0, cosine) ** power of their standardised vectors. Encoders are frozen, and
all their vectors share a large part, so that the mean is subtracted first. A high power lets near duplicates
(a sequel, another colour) count, where a mean over a history would smooth them away.

Legend: N items, T target items, D width, M neighbors of an item.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix, diags, hstack

from recsys.arrays import Bools, Floats, Ints
from recsys.config import ContentConfig
from recsys.ids import UNKNOWN
from recsys.item_features import ItemFeatures
from recsys.modalities import MODALITIES, Modality
from recsys.retrieval import ItemNeighborSource
from training.candidates.interactions import FitOptions, Interactions

CATEGORIES: Final = "categories"
CONTENT_PREFIX: Final = "content_"  # of the names of the sources
_PRODUCTS_AT_ONCE = 8_000_000  # float32 similarities in memory: 32 MB


@dataclass(frozen=True, kw_only=True)
class Neighbors:
    """The targets of largest cosine for each item, ties by lowest id; only cosines above 0."""

    item: npt.NDArray[np.int32]  # [N, M] ids of target items, 0 where there are fewer
    cosine: Floats  # [N, M], 0 there

    def sharpened(self, power: float) -> Floats:
        """cosine ** power. Shape [N, M]."""
        return np.where(self.cosine > 0, self.cosine**power, 0.0).astype(np.float32)


def fit(
    interactions: Interactions, settings: ContentConfig, options: FitOptions
) -> tuple[ItemNeighborSource, ...]:
    """A source "content_<modality>" for each modality, over the items with a positive training event."""
    if options.items is None:
        return ()
    targets, sources = np.flatnonzero(interactions.known_N), []
    for modality in content_modalities(options.items):
        near = content_neighbors(options.items, modality, targets, settings.neighbors)
        weight_NM = near.sharpened(settings.power)
        largest_N = weight_NM.max(1, initial=0.0)
        # The mean of the largest weights is 1, as in the tables of the other sources.
        scale = float(largest_N[largest_N > 0].mean()) if (largest_N > 0).any() else 1.0
        sources.append(
            ItemNeighborSource(
                name=CONTENT_PREFIX + modality, neighbor=near.item, weight=weight_NM / scale, decay=1.0
            )
        )
    return tuple(sources)


def content_modalities(items: ItemFeatures) -> list[str]:
    """The modalities that any item has, in the registry's order, and "categories".

    Without the numbers: the cosine of a vector of few dimensions tells little.
    """
    names = [each.name for each in MODALITIES if each.name != Modality.NUMERIC]
    found = [name for name in names if name in items.dense and items.present[name].any()]
    has_categories = any((ids > UNKNOWN).any() for ids in items.categories.values())
    return [*found, CATEGORIES] if has_categories else found


def has_content(items: ItemFeatures, modality: str) -> Bools:
    """The items that have the modality. Shape [N]."""
    if modality != CATEGORIES:
        return items.present[modality]
    known = [(ids_NC > UNKNOWN).any(1) for ids_NC in items.categories.values()]
    return np.logical_or.reduce(known)


def content_neighbors(
    items: ItemFeatures, modality: str, targets: Ints, num: int, *, as_cold: bool = False
) -> Neighbors:
    """The `num` nearest of the item ids `targets` to every item by one modality, itself left out.

    `as_cold` reads the targets as cold items: without reviews by users with events on them.
    """
    row_ND, has_N = unit_vectors(items, modality)
    target_ND, has_target_N = unit_vectors(items, modality, as_cold=True) if as_cold else (row_ND, has_N)
    targets = targets[has_target_N[targets]]
    width = min(num, len(targets))
    item_NM = np.zeros((items.size, width), np.int32)
    cosine_NM = np.zeros((items.size, width), np.float32)
    if not width:
        return Neighbors(item=item_NM, cosine=cosine_NM)
    rows, target_DT = np.flatnonzero(has_N), target_ND[targets].T
    step = max(_PRODUCTS_AT_ONCE // len(targets), 1)
    for start in range(0, len(rows), step):
        part = rows[start : start + step]
        product = row_ND[part] @ target_DT
        cosine_RT = product.toarray() if isinstance(product, csr_matrix) else product
        cosine_RT[part[:, None] == targets] = 0.0
        place_RM = np.argpartition(-cosine_RT, width - 1, axis=1)[:, :width]
        nearest_RM = np.take_along_axis(cosine_RT, place_RM, 1)
        order_RM = np.lexsort((targets[place_RM], -nearest_RM), axis=1)
        nearest_RM = np.take_along_axis(nearest_RM, order_RM, 1)
        found_RM = targets[np.take_along_axis(place_RM, order_RM, 1)]
        item_NM[part] = np.where(nearest_RM > 0, found_RM, 0)
        cosine_NM[part] = np.maximum(nearest_RM, 0)
    return Neighbors(item=item_NM, cosine=cosine_NM)


def unit_vectors(
    items: ItemFeatures, modality: str, *, standardised: bool = True, as_cold: bool = False
) -> tuple[Any, Bools]:
    """Vectors of unit length, zeros where missing, and whether an item has one. Shapes [N, D], [N].

    The vectors of category fields are a sparse matrix.

    `standardised` subtracts the mean of each dimension over items with a training event and divides by the
    standard deviation; values of category fields are weighted by their rarity.
    """
    if modality == CATEGORIES:
        fields = [_indicators(ids, items.trained, standardised) for ids in items.categories.values()]
        stacked_ND = hstack(fields).tocsr()
        return stacked_ND, np.diff(stacked_ND.indptr) > 0
    dense, present = _medium(items, modality, as_cold)
    vector_ND, has_N = dense.astype(np.float32), present
    if standardised:
        basis = items.dense[modality][items.present[modality] & items.trained].astype(np.float32)
        if len(basis):
            vector_ND = (vector_ND - basis.mean(0)) / np.maximum(basis.std(0), 1e-6)
    vector_ND = vector_ND / np.maximum(np.linalg.norm(vector_ND, axis=1, keepdims=True), 1e-9)
    vector_ND[~has_N] = 0
    return vector_ND, has_N


def _medium(items: ItemFeatures, modality: str, as_cold: bool) -> tuple[Floats, Bools]:
    """Vectors and presence of a modality, with or without the reviews that only a warm item has."""
    dense, present = items.dense[modality], items.present[modality]
    if not as_cold:
        return dense, present
    return items.dense_as_cold.get(modality, dense), items.present_as_cold.get(modality, present)


def _indicators(ids_NC: Ints, trained_N: Bools, by_rarity: bool) -> csr_matrix:
    """Indicator vectors of one field, of unit length. Shape [N, values].

    `by_rarity` multiplies the column of a value by log((items + 1) / (items with the value + 1)).
    """
    item, place = np.nonzero(ids_NC > UNKNOWN)
    value = ids_NC[item, place]
    size = (len(ids_NC), int(ids_NC.max(initial=1)) + 1)
    ones = csr_matrix((np.ones(len(item), np.float32), (item, value)), shape=size)
    ones.data[:] = 1  # a repeated value counts once
    if by_rarity:
        num_with = np.asarray(ones[trained_N].sum(axis=0)).ravel()
        ones = ones @ diags(np.log((trained_N.sum() + 1) / (num_with + 1)), dtype=np.float32)
    norm_N = np.sqrt(np.asarray(ones.multiply(ones).sum(axis=1)).ravel())
    return (diags(1 / np.maximum(norm_N, 1e-9), dtype=np.float32) @ ones).tocsr()
