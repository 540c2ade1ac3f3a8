"""The three ways to remove the information of a modality: absent, shuffled, noise.

Absent: no item has the modality. Shuffled: the items that have it exchange it at random, so its distribution
stays the same; modalities that are altered together are exchanged together, presence included. Noise: normal
numbers with the mean and the standard deviation that each dimension has over the items that have it.

Legend: N rows (items), M width of a modality, V vectors, R reviews.
"""

from collections.abc import Mapping
from typing import get_args

import numpy as np

from features.dataset import MediumVectors
from recsys.arrays import Bools, Floats, Ints
from recsys.config import KnockoutKind

Kind = KnockoutKind
KINDS: tuple[Kind, ...] = get_args(Kind)

Pair = tuple[Floats, Bools]  # vectors [N, M] and presence [N]


def altered_pairs(pairs: Mapping[str, Pair], kind: Kind, rng: np.random.Generator) -> dict[str, Pair]:
    """`pairs` of some modalities of the same N rows, altered together; the input is not modified."""
    if kind == "absent":
        return {name: (vector_NM, np.zeros_like(has_N)) for name, (vector_NM, has_N) in pairs.items()}
    if kind == "noise":
        return {
            name: (_noise(vector_NM, has_N, rng), has_N.copy()) for name, (vector_NM, has_N) in pairs.items()
        }
    source_N = _exchanged(np.logical_or.reduce([has_N for _, has_N in pairs.values()]), rng)
    return {name: (vector_NM[source_N], has_N[source_N]) for name, (vector_NM, has_N) in pairs.items()}


def altered_media(
    media: Mapping[str, MediumVectors], readable_R: Bools, kind: Kind, rng: np.random.Generator
) -> dict[str, MediumVectors]:
    """Vectors of reviews altered together, without unreadable reviews; a medium without vectors has no key.

    Shuffling moves all vectors of a review to the same other review.
    """
    if kind == "absent":
        return {}
    readable = {name: _of(medium, readable_R[medium.owner]) for name, medium in media.items()}
    kept = {name: medium for name, medium in readable.items() if len(medium.owner)}
    if kind == "noise":
        return {
            name: MediumVectors(
                owner=medium.owner, vectors=_noise(medium.vectors, np.ones(len(medium.owner), np.bool_), rng)
            )
            for name, medium in kept.items()
        }
    has_R = np.zeros(len(readable_R), np.bool_)
    for medium in kept.values():
        has_R[medium.owner] = True
    source_R = _exchanged(has_R, rng)
    receiver_R = np.empty_like(source_R)
    receiver_R[source_R] = np.arange(len(source_R))
    return {name: _given_to(medium, receiver_R) for name, medium in kept.items()}


def _exchanged(has_N: Bools, rng: np.random.Generator) -> Ints:
    """The row whose content each row gets: a permutation of the rows with content; other rows keep theirs.

    Shape [N].
    """
    source_N = np.arange(len(has_N))
    rows = np.flatnonzero(has_N)
    source_N[rows] = rng.permutation(rows)
    return source_N


def _noise(vector_NM: Floats, has_N: Bools, rng: np.random.Generator) -> Floats:
    noisy_NM = vector_NM.copy()
    held_HM = vector_NM[has_N].astype(np.float64)
    if len(held_HM):
        noisy_NM[has_N] = rng.normal(held_HM.mean(0), held_HM.std(0), held_HM.shape)
    return noisy_NM


def _of(medium: MediumVectors, keep_V: Bools) -> MediumVectors:
    return MediumVectors(owner=medium.owner[keep_V], vectors=medium.vectors[keep_V])


def _given_to(medium: MediumVectors, receiver_R: Ints) -> MediumVectors:
    owner = receiver_R[medium.owner]
    order = np.argsort(owner, kind="stable")
    return MediumVectors(owner=owner[order], vectors=medium.vectors[order])
