"""Dropout that draws from a stream of its own a thread, so that shards of a step stay reproducible."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

_local = threading.local()


@contextmanager
def drawing_from(generator: torch.Generator | None) -> Iterator[None]:
    """In this thread, let the towers' dropout draw from `generator`; None is torch's own."""
    before = current_generator()
    _local.generator = generator
    try:
        yield
    finally:
        _local.generator = before


def current_generator() -> torch.Generator | None:
    """The generator that this thread draws from; None for torch's own."""
    generator: torch.Generator | None = getattr(_local, "generator", None)
    return generator


def keep_mask(like: Tensor, keep: float) -> Tensor:
    """Ones with probability `keep`, else zeros, in the shape of `like`."""
    return torch.empty_like(like).bernoulli_(keep, generator=current_generator())


def dropped(x: Tensor, chance: float) -> Tensor:
    """`x` with each number left out by `chance`, the others scaled up to the same mean."""
    if chance == 0.0:
        return x
    if chance >= 1.0:
        return torch.zeros_like(x)
    keep = 1.0 - chance
    return x * keep_mask(x, keep).div_(keep)


class Dropout(nn.Module):
    """`nn.Dropout` with the thread's generator."""

    def __init__(self, chance: float) -> None:
        super().__init__()
        self.chance = chance

    def forward(self, x: Tensor) -> Tensor:
        return dropped(x, self.chance) if self.training else x
