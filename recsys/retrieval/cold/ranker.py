"""`ColdRanker`: orders the cold items of a user by the towers' score, content neighbours and popularity.

    score(u, i) = sum over evidence e of weight(e) * z_e(u, i)

The evidence of a content source is its score raised to an exponent. A source has the mean over the history
of cosine ** power, so that the exponent 1 / power gives the power mean of the cosines, and 1 lets near
duplicates stand out. z is the evidence minus its mean, divided by its standard deviation, both over all cold
items that have it, for this user. It is 0 where an item or a user lacks the evidence. The score depends on
the user and the item alone, not on the other candidates, so that lists of every length and given candidates
have one order.

Legend: B users, K candidates, N items, S content sources, C items that a source scores for one user.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np

from recsys.arrays import Bools, Floats, Ints
from recsys.errors import BundleError
from recsys.history import History
from recsys.ids import PAD
from recsys.retrieval.candidate_sources import ItemNeighborSource, load_sources, save_sources
from recsys.retrieval.topk import top_k_of_lists

TOWERS: Final = "towers"
NEAREST_POPULARITY: Final = "popularity"
LEAST_DEVIATION = 1e-6
_SETTINGS, _ARRAYS, _SOURCES = "cold_ranker.json", ("popularity", "known"), "sources"


@dataclass(frozen=True, kw_only=True)
class ColdRanker:
    """The weights of a fit and the evidence of one catalogue."""

    weights: Mapping[str, float]  # evidence -> weight: "towers", "popularity", or the name of a source
    sources: tuple[ItemNeighborSource, ...]  # content neighbours; their neighbors are cold items
    exponents: Mapping[str, float]  # of the scores, by name of the source
    known: Bools  # [S, N] cold items that have the modality of the source
    popularity: Floats  # [N] standardised popularity of the nearest warm items, 0 where unknown

    def read(self, histories: Sequence[History]) -> "ContentEvidence":
        """The evidence of all sources for these users."""
        return ContentEvidence(
            ranker=self,
            scored=[
                [self._scored(number, history) for number in range(len(self.sources))]
                for history in histories
            ],
        )

    def over(self, num_items: int) -> "ColdRanker":
        """The same evidence for a catalogue of `num_items` rows; nothing is known of the new ones."""
        more = num_items - len(self.popularity)
        return replace(
            self,
            known=np.pad(self.known, ((0, 0), (0, more))),
            popularity=np.pad(self.popularity, (0, more)),
        )

    def _scored(self, number: int, history: History) -> "Scored":
        item_C, score_C = self.sources[number].scored(history)
        num_known = int(self._num_known[number])
        if not len(item_C) or not num_known:
            return Scored(item=item_C, z=score_C, elsewhere=0.0)
        double_C = score_C.astype(np.float64) ** self.exponents[self.sources[number].name]
        mean = double_C.sum() / num_known
        deviation = np.sqrt(max((double_C**2).sum() / num_known - mean**2, 0.0))
        if deviation < LEAST_DEVIATION * max(mean, LEAST_DEVIATION):
            return Scored(item=item_C, z=np.zeros_like(score_C), elsewhere=0.0)
        return Scored(
            item=item_C,
            z=((double_C - mean) / deviation).astype(np.float32),
            elsewhere=float(-mean / deviation),
        )

    @cached_property
    def _num_known(self) -> Ints:
        counts: Ints = self.known.sum(1)
        return counts


@dataclass(frozen=True, kw_only=True)
class Scored:
    """The z-scores of one source for one user: of items with neighbors in the history, and of all others."""

    item: Ints  # [C] ascending ids
    z: Floats  # [C]
    elsewhere: float


@dataclass(frozen=True, kw_only=True)
class ContentEvidence:
    """What a `ColdRanker` reads of the histories of some users."""

    ranker: ColdRanker
    scored: Sequence[Sequence[Scored]]  # [B][S]

    def candidates(self, num: int, *, excluded: Sequence[Ints] | None, allowed: Bools) -> list[Ints]:
        """The best `num` items of each source, 0 where there are fewer. Shapes [B, num], one a source."""
        lists = []
        for number in range(len(self.ranker.sources)):
            found = np.full((len(self.scored), num), PAD, np.int64)
            for row, of_user in enumerate(self.scored):
                own = of_user[number]
                keep_C = allowed[own.item]
                found[row] = top_k_of_lists(
                    own.item[keep_C][None],
                    own.z[keep_C][None],
                    num,
                    excluded=None if excluded is None else [excluded[row]],
                )[0][0]
            lists.append(found)
        return lists

    def parts(self, towers_BK: Floats, item_BK: Ints) -> dict[str, Floats]:
        """weight * z by evidence; `towers_BK` is the z-score of the towers. Shapes [B, K]."""
        ranker = self.ranker
        parts = {TOWERS: ranker.weights[TOWERS] * towers_BK}
        if ranker.weights.get(NEAREST_POPULARITY):
            parts[NEAREST_POPULARITY] = ranker.weights[NEAREST_POPULARITY] * ranker.popularity[item_BK]
        for number, source in enumerate(ranker.sources):
            parts[source.name] = ranker.weights[source.name] * self._z(number, item_BK)
        return parts

    def scores(self, towers_BK: Floats, item_BK: Ints) -> Floats:
        """The score of the cold ranker. Shape [B, K]."""
        score_BK: Floats = np.sum(list(self.parts(towers_BK, item_BK).values()), axis=0).astype(np.float32)
        return score_BK

    def _z(self, number: int, item_BK: Ints) -> Floats:
        z_BK = np.zeros(item_BK.shape, np.float32)
        for row, of_user in enumerate(self.scored):
            own, item_K = of_user[number], item_BK[row]
            z_BK[row] = own.elsewhere
            if len(own.item):
                place_K = np.minimum(np.searchsorted(own.item, item_K), len(own.item) - 1)
                z_BK[row] = np.where(own.item[place_K] == item_K, own.z[place_K], own.elsewhere)
        return np.where(self.ranker.known[number][item_BK], z_BK, np.float32(0.0))


def save_cold_ranker(ranker: ColdRanker, directory: Path) -> None:
    """Write `directory`, which is made."""
    directory.mkdir(parents=True)
    for name in _ARRAYS:
        np.save(directory / f"{name}.npy", getattr(ranker, name), allow_pickle=False)
    save_sources(ranker.sources, directory / _SOURCES)
    settings = {"weights": dict(ranker.weights), "exponents": dict(ranker.exponents)}
    text = json.dumps(settings, indent=2)
    (directory / _SETTINGS).write_text(text + "\n", "utf-8")


def load_cold_ranker(directory: Path) -> ColdRanker:
    """What `save_cold_ranker` wrote; raises `BundleError` where the folder holds anything else."""
    try:
        settings = json.loads((directory / _SETTINGS).read_text("utf-8"))
        weights, exponents = settings["weights"], settings["exponents"]
        arrays = {name: np.load(directory / f"{name}.npy", allow_pickle=False) for name in _ARRAYS}
        sources = load_sources(directory / _SOURCES)
        names = {TOWERS, NEAREST_POPULARITY} | {source.name for source in sources}
        of_sources = {source.name for source in sources}
        if not of_sources | {TOWERS} <= set(weights) <= names or set(exponents) != of_sources:
            raise ValueError(f"weights of {', '.join(weights)}, sources {', '.join(sorted(names))}")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{directory}: the cold ranker cannot be read: {error}") from None
    neighbors = tuple(source for source in sources if isinstance(source, ItemNeighborSource))
    return ColdRanker(weights=weights, exponents=exponents, sources=neighbors, **arrays)
