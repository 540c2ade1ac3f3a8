"""The clauses of a query before they are encoded, their limits, and the check of their weights."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from features.media import MAX_PIXELS, Medium
from recsys.errors import RequestError

MAX_WEIGHT = 100.0  # of one clause, and of one leg


@dataclass(frozen=True, kw_only=True)
class QueryLimits:
    """What one query may ask for. Longer texts and sounds are cut, with a note; the rest is refused."""

    max_clauses: int = 16
    max_characters: int = 1_000  # of a text; encoders read about as many, and word search slows beyond them
    max_pixels: int = min(50_000_000, MAX_PIXELS)  # a larger picture is refused before it is decoded
    max_audio_seconds: int = 60  # of a sound, or of a video's sound
    video_frames: int = 8  # as in extraction, so that query and items are sampled alike
    max_media_at_once: int = 2  # decoded at the same time by all threads: a picture takes up to 500 MB


@dataclass(frozen=True, kw_only=True)
class Clause:
    """One part of a query, as it was asked."""

    name: str  # what errors and notes call it: "clauses.1.image", "--image shoe.jpg"
    weight: float = 1.0


@dataclass(frozen=True, kw_only=True)
class TextClause(Clause):
    text: str


@dataclass(frozen=True, kw_only=True)
class ImageClause(Clause):
    medium: Medium  # a path, or the bytes of a file


@dataclass(frozen=True, kw_only=True)
class AudioClause(Clause):
    medium: Medium


@dataclass(frozen=True, kw_only=True)
class VideoClause(Clause):
    medium: Medium


@dataclass(frozen=True, kw_only=True)
class ItemClause(Clause):
    item: int  # the internal id


def checked_clauses(clauses: Sequence[Clause], limits: QueryLimits) -> list[Clause]:
    """The clauses with a weight other than 0.

    Raises `RequestError` for no clause or too many, a weight that is not finite or too large, and where no
    weight is above 0.
    """
    if not clauses:
        raise RequestError("query", "is empty; give some words, a picture, a sound, a video or an item")
    if len(clauses) > limits.max_clauses:
        raise RequestError("clauses", f"has {len(clauses)} entries; give at most {limits.max_clauses}")
    for each in clauses:
        check_weight(each.weight, f"{each.name}.weight")
    if all(each.weight == 0 for each in clauses):
        raise RequestError("clauses", "every weight is 0; give at least one clause a weight above 0")
    if all(each.weight <= 0 for each in clauses):
        raise RequestError(
            "clauses",
            "no weight is above 0; a negative clause only moves items down, add one that finds items",
        )
    return [each for each in clauses if each.weight]


def check_weight(weight: float, field: str, lowest: float = -MAX_WEIGHT) -> None:
    """Raises `RequestError` unless `weight` is finite and within `lowest` and `MAX_WEIGHT`."""
    if not math.isfinite(weight) or not lowest <= weight <= MAX_WEIGHT:
        raise RequestError(field, f"must be a number from {lowest:g} to {MAX_WEIGHT:g}", weight)
