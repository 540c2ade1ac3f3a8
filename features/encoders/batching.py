"""Batches of media of unequal length: padded little, and small enough for a core's cache."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

from features.media import SAMPLE_RATE

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class BatchLimits:
    """What one run of a graph gets at most, padding included."""

    tokens: int
    pictures: int
    samples: int


# A core works fastest on what fits into its cache: 32 texts of 130 tokens at once take a third longer
# than in batches of 512 tokens (benchmarks/extraction.py); a GPU wants to be filled, within its memory.
LIMITS: Mapping[str, BatchLimits] = {
    "cpu": BatchLimits(tokens=512, pictures=4, samples=10 * SAMPLE_RATE),
    "cuda": BatchLimits(tokens=16_384, pictures=64, samples=240 * SAMPLE_RATE),
}


def length_batches(
    lengths: Sequence[int], *, max_items: int, max_length: int, equal: bool = False
) -> list[list[int]]:
    """Indices of `lengths`, shortest first, in batches that are padded little and stay small.

    A batch has at most `max_items`, and at most `max_length` in all once padded to its longest, but at
    least one item. `equal` puts only items of one length together, so that none is padded.
    """
    batches: list[list[int]] = []
    for at in sorted(range(len(lengths)), key=lengths.__getitem__):
        full = (
            not batches or len(batches[-1]) == max_items or (len(batches[-1]) + 1) * lengths[at] > max_length
        )
        if full or (equal and lengths[batches[-1][0]] != lengths[at]):
            batches.append([])
        batches[-1].append(at)
    return batches


def chunks(values: Iterable[T], size: int) -> Iterator[list[T]]:
    """The values in lists of `size`, the last one shorter; read as they are needed."""
    remaining = iter(values)
    while chunk := list(islice(remaining, size)):
        yield chunk
