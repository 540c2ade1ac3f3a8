"""The recordings of the package, each of one meaning in one phrasing by one voice (recordings/HOW.md)."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import TypeVar

import numpy as np

Value = TypeVar("Value", str, int)


@dataclass(frozen=True, kw_only=True)
class Recording:
    """One clip of the package; `sha256` is of its bytes."""

    file: str
    meaning: str
    phrasing: int
    voice: str
    seconds: float
    sha256: str
    text: str

    @property
    def path(self) -> Traversable:
        """The clip inside the installed package."""
        return _folder().joinpath("clips", self.file)

    @property
    def public_name(self) -> str:
        """Its file name in a dataset, from which the meaning cannot be read."""
        return f"{self.sha256[:12]}.opus"


@dataclass(frozen=True, kw_only=True)
class Repertoire:
    """The recordings of one shop, by meaning, in two disjoint pools.

    `known` is for items launched in the training span. `held_out` is for all other items: phrasings that
    are not in `known`, by all voices, of which some are not in `known` either.
    """

    meanings: Sequence[str]
    known: dict[str, list[Recording]]
    held_out: dict[str, list[Recording]]


@cache
def recordings() -> tuple[Recording, ...]:
    """All recordings of the package, in the manifest's order."""
    rows = json.loads(_folder().joinpath("manifest.json").read_text("utf-8"))
    return tuple(Recording(**row) for row in rows)


def draw_repertoire(
    rng: np.random.Generator,
    *,
    num_meanings: int,
    num_voices: int,
    num_phrasings: int,
    held_out_voices: int,
    held_out_phrasings: int,
) -> Repertoire:
    """Meanings, voices and phrasings of one shop, some voices and phrasings held out from training."""
    everything = recordings()
    meanings = _draw(rng, (clip.meaning for clip in everything), num_meanings)
    voices = _draw(rng, (clip.voice for clip in everything), num_voices)
    known: dict[str, list[Recording]] = {}
    held_out: dict[str, list[Recording]] = {}
    for meaning in meanings:
        clips = [clip for clip in everything if clip.meaning == meaning and clip.voice in voices]
        phrasings = _draw(rng, (clip.phrasing for clip in clips), num_phrasings)
        late, early = phrasings[:held_out_phrasings], phrasings[held_out_phrasings:]
        training_voices = voices[held_out_voices:]
        held_out[meaning] = [clip for clip in clips if clip.phrasing in late]
        known[meaning] = [clip for clip in clips if clip.phrasing in early and clip.voice in training_voices]
        assert known[meaning], f"{meaning} is spoken by no voice of the training pool"
        assert held_out[meaning], f"{meaning} has no phrasing left to hold out"
    return Repertoire(meanings=meanings, known=known, held_out=held_out)


def _draw(rng: np.random.Generator, values: Iterable[Value], count: int) -> list[Value]:
    """`count` of the distinct values, or all if there are fewer, in random order."""
    different = sorted(set(values))
    return [different[at] for at in rng.permutation(len(different))[:count]]


def _folder() -> Traversable:
    return files("features.sample").joinpath("recordings")
