"""A catalogue of search made by hand: seven items, vectors of two numbers, a word index of sets of words."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from recsys.arrays import Bools, Floats, Ints
from recsys.modalities import EncoderKind
from recsys.search import DenseLeg, EncodedClause, EncodedQuery, Scorer, WordStatistics, build_leg

NUM_ITEMS = 7  # items 2 to 6, and the two reserved rows


@dataclass(frozen=True, kw_only=True)
class Words:
    """A parsed query: words, and excluded words."""

    words: tuple[str, ...]
    excluded: tuple[str, ...] = ()
    phrases: tuple[tuple[str, ...], ...] = ()

    @property
    def is_empty(self) -> bool:
        return not self.words


class WordSets:
    """A word index: the score is the number of the query's words that an item has."""

    def __init__(self, texts: Mapping[int, str]) -> None:
        self.words = {item: set(text.split()) for item, text in texts.items()}

    def search(self, query: Words, k: int, allowed: Bools | None = None) -> tuple[Ints, Floats]:
        score = {item: len(has & set(query.words)) for item, has in self.words.items()}
        found = sorted((-value, item) for item, value in score.items() if value)
        left = [pair for pair in found if allowed is None or allowed[pair[1]]][:k]
        return np.array([item for _, item in left], np.int64), np.array([-v for v, _ in left], np.float32)

    def scores(self, query: Words, items: Ints) -> Floats:
        return np.array([len(self._has(item) & set(query.words)) for item in items.tolist()], np.float32)

    def coverage(self, query: Words, items: Ints) -> Floats:
        return self.scores(query, items) / max(len(query.words), 1)

    def statistics(self, query: Words) -> WordStatistics:
        mean = float(self.coverage(query, np.array(sorted(self.words))).mean()) if self.words else 0.0
        return WordStatistics(
            total_idf=float(len(query.words)), mean_coverage=mean, num_items=len(self.words)
        )

    def strengths(self, query: Words, items: Ints) -> Floats:
        has = [[word in self._has(item) for item in items.tolist()] for word in query.words]
        return np.array(has, np.float32)

    def knows(self, query: Words) -> bool:
        return any(has & set(query.words) for has in self.words.values())

    def excluded(self, query: Words) -> Ints:
        return np.array([i for i, has in self.words.items() if has & set(query.excluded)], np.int64)

    def matched(self, query: Words, items: Ints) -> list[tuple[str, ...]]:
        return [tuple(word for word in query.words if word in self._has(item)) for item in items.tolist()]

    def _has(self, item: int) -> set[str]:
        return self.words.get(item, set())


class TurnHeads:
    """Alignment heads of width 2: the text head turns by 90 degrees, the picture head changes nothing."""

    kinds: tuple[EncoderKind, ...] = ("text", "image")
    dim = 2

    def project(self, kind: EncoderKind, vectors_BD: Floats) -> Floats:
        turned = np.stack([-vectors_BD[:, 1], vectors_BD[:, 0]], 1)
        return (turned if kind == "text" else vectors_BD).astype(np.float32)


def at(degrees: float) -> Floats:
    """The unit vector of an angle."""
    return np.array([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))], np.float32)


def leg(
    name: str, kind: EncoderKind, angles: Mapping[int, float], heads: TurnHeads | None = None
) -> DenseLeg:
    """A leg with vectors of these angles in degrees; the other items have none."""
    vectors, present = np.zeros((NUM_ITEMS, 2), np.float32), np.zeros(NUM_ITEMS, np.bool_)
    for item, angle in angles.items():
        vectors[item], present[item] = 3.0 * at(angle), True
    return build_leg(name, kind, vectors, present, heads)


TEXTS = {2: "red shoe", 3: "blue shoe", 4: "red hat", 5: "green hat"}  # item 6 has no words
TITLE_ANGLES = {2: 0.0, 3: 30.0, 4: 60.0, 5: 90.0}  # nor a title
IMAGE_ANGLES = {2: 90.0, 3: 60.0, 4: 30.0, 6: 0.0}  # item 5 has no picture


def scorer(**changes: object) -> Scorer:
    """The catalogue of the three mappings above; popularity grows with the item id."""
    heads = TurnHeads()
    parts: dict[str, object] = {
        "heads": heads,
        "words": WordSets(TEXTS),
        "has_words": np.isin(np.arange(NUM_ITEMS), list(TEXTS)),
        "popularity": np.array([0, 0, 1, 2, 3, 4, 0], np.float32),
    }
    legs = [leg("title", "text", TITLE_ANGLES, heads), leg("image", "image", IMAGE_ANGLES, heads)]
    return Scorer(changes.pop("legs", legs), num_items=NUM_ITEMS, **parts | changes)  # type: ignore[arg-type]


def text(
    words: str,
    angle: float | None = None,
    *,
    weight: float = 1.0,
    word_vectors: Mapping[str, Floats] | None = None,
) -> EncodedClause:
    """A text clause; a word after "-" is excluded."""
    split = words.split()
    parsed = Words(
        words=tuple(word for word in split if not word.startswith("-")),
        excluded=tuple(word[1:] for word in split if word.startswith("-")),
    )
    vectors = {} if angle is None else {"text": at(angle)}
    return EncodedClause(
        kind="text",
        weight=weight,
        words=parsed,  # type: ignore[arg-type]
        vectors=vectors,
        word_vectors=word_vectors or {},
    )


def picture(angle: float, *, weight: float = 1.0) -> EncodedClause:
    return EncodedClause(kind="image", weight=weight, vectors={"image": at(angle)})


def query(*clauses: EncodedClause, **modality_weights: float) -> EncodedQuery:
    return EncodedQuery(clauses=clauses, modality_weights=modality_weights)
