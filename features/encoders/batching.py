"""Batches of media of unequal length, with little padding and small enough for a core's cache."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

from features.media import SAMPLE_RATE

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class BatchLimits:
    """The largest input of one run of a graph, padding included."""

    tokens: int
    pictures: int
    samples: int


# A core is fastest on a batch that fits into its cache: 32 texts of 130 tokens at once take a third longer
# than in batches of 512 tokens (benchmarks/extraction.py). A GPU is fastest on large batches.
LIMITS: Mapping[str, BatchLimits] = {
    "cpu": BatchLimits(tokens=512, pictures=4, samples=10 * SAMPLE_RATE),
    "cuda": BatchLimits(tokens=16_384, pictures=64, samples=240 * SAMPLE_RATE),
}


def length_batches(
    lengths: Sequence[int], *, max_items: int, max_length: int, equal: bool = False
) -> list[list[int]]:
    """Indices of `lengths`, shortest first, in batches with little padding.

    A batch has at most `max_items`, and number of items times longest length is at most `max_length`, but
    it has at least one item. With `equal` all items of a batch have one length, so that none is padded.
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
    """The values in lists of `size`, the last one shorter; `values` is read lazily."""
    remaining = iter(values)
    while chunk := list(islice(remaining, size)):
        yield chunk
