"""Legs of search: the lexical index behind its protocol, and one dense leg for each modality.

A dense leg compares a query with the vectors of one modality. In the own space both were made by one encoder.
In the shared space both were projected by the alignment heads. A score is a cosine.

Legend in recsys/arrays.py.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal, Protocol

import numpy as np
import numpy.typing as npt

from recsys.arrays import Bools, Floats, Ints, unit
from recsys.errors import DataError, RequestError
from recsys.ids import PAD
from recsys.item_features import ItemFeatures
from recsys.modalities import MODALITIES, EncoderKind
from recsys.retrieval import Index, SearchIndex, top_k
from recsys.search.alignment import AlignmentHeads
from recsys.search.lexical.words import WordQuery, WordStatistics
from recsys.search.query import EncodedClause

LEXICAL: Final = "lexical"
POPULARITY: Final = "popularity"
Space = Literal["own", "shared"]
Halves = npt.NDArray[np.float16]
# Of one leg in memory: 125,000 pictures of 1,280 numbers. Larger ones are converted a block at a time.
MAX_FLOAT32_BYTES: Final = 640_000_000
BLOCK_ITEMS: Final = 16_384
BACKGROUND_ITEMS: Final = 2000  # items whose scores are the background of a query
_LEAST_SHARE: Final = 0.25  # of the standard deviation
_TENTH: Final = 1.2815515655446004  # a tenth of a normal distribution is so many deviations below its mean
# Rounding errors of matrix products are below 1e-6, so that equal vectors get equal scores.
_DECIMALS: Final = 6
# Where a clause has several vectors, the first of these is compared in the shared space.
_SHARED_ORDER: Final[tuple[EncoderKind, ...]] = ("text", "image", "audio")


class WordIndex(Protocol):
    """What search needs of the lexical index."""

    def search(self, query: WordQuery, k: int, allowed: Bools | None = None) -> tuple[Ints, Floats]: ...

    def scores(self, query: WordQuery, items: Ints) -> Floats: ...

    def coverage(self, query: WordQuery, items: Ints) -> Floats: ...

    def statistics(self, query: WordQuery) -> WordStatistics: ...

    def strengths(self, query: WordQuery, items: Ints) -> Floats: ...

    def knows(self, query: WordQuery) -> bool: ...

    def excluded(self, query: WordQuery) -> Ints: ...

    def matched(self, query: WordQuery, items: Ints) -> list[tuple[str, ...]]: ...


@dataclass(frozen=True, kw_only=True)
class LegQuery:
    """A clause as one leg compares it: a unit vector in one of the leg's spaces."""

    space: Space
    vector_D: Floats


@dataclass(frozen=True, kw_only=True)
class Background:
    """Scores of one query over the items that it has nothing to do with, from quantiles of the catalogue.

    Items that answer the query are above most others, so that low quantiles are those of the background.
    """

    center: float = 0.0  # the quantile 0.3
    # The distance of the quantiles 0.1 and 0.5, in units of a normal distribution's; at least a fourth of the
    # standard deviation of all scores, which counts where many items have equal scores.
    deviation: float = 1.0
    excess: float = 0.5  # mean over the catalogue of the squared distance above the center, 0 below


class DenseLeg:
    """The vectors of one modality of all items."""

    def __init__(
        self,
        *,
        name: str,
        kind: EncoderKind,
        vectors: Halves,
        present: Bools,
        shared: Halves | None = None,
        index: Index | None = None,
        imputed: Bools | None = None,
    ) -> None:
        """`vectors` [N, D] and `shared` [N, S] have unit rows where `present` [N], zeros elsewhere.

        `imputed` [N] are the items that have a vector and no such medium, by default none.
        `index` answers searches in the own space of a large catalogue. Raises `DataError` for shapes that do
        not fit together.
        """
        lengths = {len(present), len(vectors), len(vectors if shared is None else shared)}
        if len(lengths) > 1 or vectors.ndim != 2:
            raise DataError(f"leg {name}: vectors {vectors.shape} and present {present.shape} do not fit")
        self.name, self.kind, self.main_index = name, kind, index
        self.vectors, self.present, self.shared = vectors, present, shared
        self.imputed = np.zeros(len(present), np.bool_) if imputed is None else imputed

    @property
    def index(self) -> SearchIndex | None:
        """What answers searches in the own space; None: all vectors are scored."""
        return self.main_index

    def scores(self, query: LegQuery, items: Ints | None = None) -> Floats:
        """Cosines of `items` [K], or of all items [N]; 0 where the item has no vector."""
        matrix_ND = self._floats[query.space] if query.space in self._floats else self._halves(query.space)
        rows = len(matrix_ND) if items is None else len(items)
        score_K = np.empty(rows, np.float32)
        for start in range(0, rows, BLOCK_ITEMS):
            part = slice(start, start + BLOCK_ITEMS)
            taken = matrix_ND[part] if items is None else matrix_ND[items[part]]
            score_K[part] = taken.astype(np.float32, copy=False) @ query.vector_D
        rounded: Floats = np.round(score_K, _DECIMALS)
        return rounded

    def background(self, query: LegQuery) -> Background:
        """The scores of at most 2,000 items that have a vector, always the same ones, drawn once.

        The background does not depend on candidates or filters. Its deviation is 0 without any item.
        """
        sample_SD = self._samples[query.space]
        if not len(sample_SD):
            return Background(deviation=0.0, excess=0.0)
        score_S = sample_SD @ query.vector_D
        tenth, center, half = np.quantile(score_S, (0.1, 0.3, 0.5)).tolist()
        excess = float(np.mean(np.maximum(score_S - center, 0.0) ** 2))
        deviation = max((half - tenth) / _TENTH, _LEAST_SHARE * float(score_S.std()))
        return Background(center=center, deviation=deviation, excess=excess)

    def head(self, queries: Sequence[tuple[float, LegQuery]], num: int, allowed: Bools | None = None) -> Ints:
        """The first `num` items of each query, and of their weighted sum: ids, ascending, each once.

        With an index the weighted sum adds no items.
        """
        allowed = self.present if allowed is None else allowed & self.present
        found = []
        total_N: Floats | None = None
        for weight, query in queries:
            if self.index is not None and query.space == "own":
                nearest, _ = self.index.search(query.vector_D[None], num, allowed=allowed)
                found.append(nearest[0])
                continue
            score_N = self.scores(query)
            total_N = weight * score_N if total_N is None else total_N + weight * score_N
            found.append(_first(score_N, num, allowed))
        if total_N is not None and len(queries) > 1:
            found.append(_first(total_N, num, allowed))
        union: Ints = np.setdiff1d(np.concatenate([np.empty(0, np.int64), *found]), [PAD])
        return union

    def query_of(self, item: int, space: Space) -> LegQuery | None:
        """The vector of `item` as a query, None where it has none."""
        if not self.present[item] or (space == "shared" and self.shared is None):
            return None
        return LegQuery(space=space, vector_D=self._taken(space, np.array([item]))[0])

    @cached_property
    def _floats(self) -> dict[Space, Floats]:
        """Float32 copies of the matrices that are small enough: ten times as fast as converting each time."""
        spaces: tuple[Space, ...] = ("own",) if self.shared is None else ("own", "shared")
        return {
            space: self._halves(space).astype(np.float32)
            for space in spaces
            if 4 * self._halves(space).size <= MAX_FLOAT32_BYTES
        }

    @cached_property
    def _samples(self) -> dict[Space, Floats]:
        """The vectors of the items of the background in each space."""
        items = np.flatnonzero(self.present)
        if len(items) > BACKGROUND_ITEMS:
            items = np.sort(np.random.default_rng(0).choice(items, BACKGROUND_ITEMS, replace=False))
        spaces: tuple[Space, ...] = ("own",) if self.shared is None else ("own", "shared")
        return {space: self._taken(space, items) for space in spaces}

    def _taken(self, space: Space, items: Ints) -> Floats:
        """The vectors of `items`. Shape [K, D]."""
        return self._halves(space)[items].astype(np.float32)

    def _halves(self, space: Space) -> Halves:
        if space == "own":
            return self.vectors
        assert self.shared is not None, "a leg without shared vectors is never asked in the shared space"
        return self.shared


def build_leg(
    name: str,
    kind: EncoderKind,
    vectors: Floats,
    present: Bools,
    heads: AlignmentHeads | None = None,
    *,
    imputed: Bools | None = None,
) -> DenseLeg:
    """The leg of vectors [N, D] of any length; `heads` project them to the shared space."""
    unit_ND = np.where(present[:, None], unit(vectors.astype(np.float32)), 0.0)
    present = present & (np.abs(unit_ND).max(axis=1, initial=0.0) > 0)
    shared: Halves | None = None
    if heads is not None and kind in heads.kinds:
        rows = np.flatnonzero(present)
        parts = [
            heads.project(kind, unit_ND[rows[start : start + BLOCK_ITEMS]].astype(np.float32))
            for start in range(0, len(rows), BLOCK_ITEMS)
        ]
        if parts:
            shared = np.zeros((len(vectors), parts[0].shape[1]), np.float16)
            shared[rows] = unit(np.concatenate(parts))
    return DenseLeg(
        name=name,
        kind=kind,
        vectors=unit_ND.astype(np.float16),
        present=present,
        shared=shared,
        imputed=imputed,
    )


def build_legs(features: ItemFeatures, heads: AlignmentHeads | None = None) -> tuple[DenseLeg, ...]:
    """The legs of all modalities that an encoder has made vectors of."""
    return tuple(
        build_leg(
            each.name,
            each.encoder,
            features.dense[each.name],
            features.present[each.name],
            heads,
            imputed=features.imputed.get(each.name),
        )
        for each in MODALITIES
        if each.encoder is not None and each.name in features.dense
    )


def leg_queries(
    clause: EncodedClause, legs: Sequence[DenseLeg], heads: AlignmentHeads | None
) -> dict[str, LegQuery]:
    """The clause for each leg that can answer it, by the leg's name.

    Own space where the clause has a vector of the leg's encoder, else the shared space. An item is compared
    by its own vector of the modality, else by one of the same encoder, else in the shared space.
    Raises `RequestError` for a vector of another width than the leg's.
    """
    if clause.item is not None:
        return _item_queries(clause.item, legs)
    projected = _projected(clause.vectors, heads)
    queries: dict[str, LegQuery] = {}
    for leg in legs:
        if leg.kind in clause.vectors:
            vector_D = unit(clause.vectors[leg.kind].astype(np.float32))
            if len(vector_D) != leg.vectors.shape[1]:
                wanted = leg.vectors.shape[1]
                raise RequestError(
                    "vectors", f"the {leg.kind} vector has {len(vector_D)} numbers, not {wanted}"
                )
            queries[leg.name] = LegQuery(space="own", vector_D=vector_D)
        elif leg.shared is not None and projected is not None:
            queries[leg.name] = LegQuery(space="shared", vector_D=projected)
    return queries


def _projected(vectors: Mapping[EncoderKind, Floats], heads: AlignmentHeads | None) -> Floats | None:
    """The clause in the shared space, None where it has no vector with a head."""
    if heads is None:
        return None
    kind = next((kind for kind in _SHARED_ORDER if kind in vectors and kind in heads.kinds), None)
    if kind is None:
        return None
    projected: Floats = unit(heads.project(kind, unit(vectors[kind][None].astype(np.float32))))[0]
    return projected


def _item_queries(item: int, legs: Sequence[DenseLeg]) -> dict[str, LegQuery]:
    queries: dict[str, LegQuery] = {}
    for leg in legs:
        same_encoder = [leg, *(other for other in legs if other.kind == leg.kind)]
        own = (each.query_of(item, "own") for each in same_encoder)
        found = next((query for query in own if query is not None), None)
        if found is None and leg.shared is not None:
            shared = (each.query_of(item, "shared") for each in legs)
            found = next((query for query in shared if query is not None), None)
        if found is not None:
            queries[leg.name] = found
    return queries


def _first(score_N: Floats, num: int, allowed: Bools) -> Ints:
    items_BK, _ = top_k(score_N[None].copy(), num, allowed=allowed)
    items: Ints = items_BK[0]
    return items
