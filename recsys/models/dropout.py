"""Dropout that draws from a stream of its own a thread, so that shards of a step stay reproducible."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

STEPS = 256  # of a dropout's chance
LEAST_WORD = -(2**63)  # from here on all 64 bits are drawn

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
    """`x` with each number left out by `chance`, the others scaled up to the same mean.

    Every number is judged by a random byte, eight of which are drawn at once, so that `chance` is one of 256
    steps: 0.2 is 51 of them, and the scale is that of 51.
    """
    left_out = round(chance * STEPS)
    if left_out == 0:
        return x
    if left_out >= STEPS:
        return torch.zeros_like(x)
    byte = _random_bytes(x.numel(), x.device).view(x.shape)
    return x * (byte >= left_out).to(x.dtype).mul_(STEPS / (STEPS - left_out))


def _random_bytes(num: int, device: torch.device) -> Tensor:
    word = torch.empty((num + 7) // 8, dtype=torch.int64, device=device)
    return word.random_(LEAST_WORD, None, generator=current_generator()).view(torch.uint8)[:num]


class Dropout(nn.Module):
    """`nn.Dropout` with the thread's generator."""

    def __init__(self, chance: float) -> None:
        super().__init__()
        self.chance = chance

    def forward(self, x: Tensor) -> Tensor:
        return dropped(x, self.chance) if self.training else x
