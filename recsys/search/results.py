"""`SearchResults`: items found for a query, with explanations.

Legend: k hits.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from recsys.arrays import Floats, Ints
from recsys.retrieval import phrase
from recsys.search.legs import LEXICAL, POPULARITY


@dataclass(frozen=True, kw_only=True)
class HitExplanation:
    """Why an item is in the list."""

    words: tuple[str, ...]  # of the query, as the user wrote them, that the item has
    leg: str | None  # the one that contributed most to the fused score, "popularity" left out
    past_item: int | None  # of the user, which moved the item
    relevance: float

    def text(self, name_of: Callable[[int], str]) -> str:
        """The explanation in words; `name_of` gives the name of an item by its id."""
        parts = []
        if self.words:
            parts.append("has " + ", ".join(f'"{word}"' for word in self.words))
        if self.leg is not None and self.leg not in (LEXICAL, POPULARITY):
            parts.append(f"nearest: {phrase(self.leg)}")
        if self.past_item is not None:
            parts.append(f'because you chose "{name_of(self.past_item)}"')
        return "; ".join(parts)


@dataclass(frozen=True, kw_only=True)
class SearchResults:
    """The hits, best first. Scores never rise down the list; they compare within one list only."""

    items: Ints  # [k]
    scores: Floats  # [k]
    relevance: Floats  # [k]
    explanations: tuple[HitExplanation, ...]  # [k]
    is_personal: bool  # the recommender took part in the order
    milliseconds: Mapping[str, float]  # by stage: lexical, dense, fusion, personal

    def __len__(self) -> int:
        return len(self.items)

    def first(self, k: int) -> "SearchResults":
        """The first `k` hits."""
        return SearchResults(
            items=self.items[:k],
            scores=self.scores[:k],
            relevance=self.relevance[:k],
            explanations=self.explanations[:k],
            is_personal=self.is_personal,
            milliseconds=self.milliseconds,
        )


def padded(results: SearchResults, k: int) -> Ints:
    """Items as one row of `k` ids, 0 where there are fewer, as the metrics read them."""
    row = np.zeros(k, np.int64)
    row[: len(results.items[:k])] = results.items[:k]
    return row
