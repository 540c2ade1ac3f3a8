"""Imputation in the vectors of a dataset.

Only media of the items themselves are read and imputed: they are known when an item enters the catalogue, of
warm and cold items alike, whereas reviews and events depend on the split.
"""

from dataclasses import replace

import numpy as np

from features.dataset import Dataset, MediaVectors, MediumVectors
from recsys.config import Config, ImputationMethod
from recsys.modalities import MODALITIES
from training.imputation.methods import MIN_ITEMS, fit_imputer
from training.imputation.observed import Observed

IMPUTED = tuple(each.name for each in MODALITIES if each.table == "items" and each.encoder is not None)


def with_imputed(dataset: Dataset, vectors: MediaVectors, config: Config) -> MediaVectors:
    """`impute_media` for all items of `dataset` as the configuration says."""
    method, seed = config.features.imputation, config.train.seed
    return impute_media(vectors, dataset.items.height, method, seed=seed)


def impute_media(
    vectors: MediaVectors, num_items: int, method: ImputationMethod, *, seed: int
) -> MediaVectors:
    """`vectors` with `imputed`: of every modality, vectors of the items that lack it and have another one.

    An imputed vector has the mean length of the present ones. A modality that fewer than `MIN_ITEMS` items
    have beside another one is not imputed. The result is the same for the same vectors and seed.
    """
    if method == "none":
        return vectors
    media = {name: vectors.items[name].pooled(num_items) for name in IMPUTED if name in vectors.items}
    observed, found = Observed.of(media), {}
    wanted = {
        name: np.flatnonzero(observed.has_other(name) & ~has_N)
        for name, (_, has_N) in media.items()
        if (has_N & observed.has_other(name)).sum() >= MIN_ITEMS
    }
    wanted = {name: rows for name, rows in wanted.items() if len(rows)}
    imputer = fit_imputer(method, media, seed=seed) if wanted else None
    for name, rows in wanted.items():
        assert imputer is not None, "every method but none has an imputer"
        array, has_N = media[name]
        length = np.linalg.norm(array[has_N], axis=1).mean()
        found[name] = MediumVectors(owner=rows, vectors=imputer.predict(name, rows) * np.float32(length))
    return replace(vectors, imputed=found)
