"""Dropout with one random generator for each thread, so that the shards of a step are reproducible."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

STEPS = 256  # a dropout rate is rounded to a multiple of 1 / STEPS
MIN_INT64 = -(2**63)  # the lower end of a random word, so that all of its 64 bits are random

_local = threading.local()


@contextmanager
def use_generator(generator: torch.Generator | None) -> Iterator[None]:
    """In this thread, the dropout of the towers uses `generator`; None is torch's own generator."""
    before = current_generator()
    _local.generator = generator
    try:
        yield
    finally:
        _local.generator = before


def current_generator() -> torch.Generator | None:
    """The generator of this thread; None is torch's own generator."""
    generator: torch.Generator | None = getattr(_local, "generator", None)
    return generator


def keep_mask(like: Tensor, keep: float) -> Tensor:
    """Ones with probability `keep`, else zeros. Same shape as `like`."""
    return torch.empty_like(like).bernoulli_(keep, generator=current_generator())


def apply_dropout(x: Tensor, rate: float) -> Tensor:
    """`x` with each number set to zero with probability `rate`, and the others divided by 1 - `rate`.

    A number is set to zero where its random byte is below round(256 * rate). The effective rate is therefore
    a multiple of 1 / 256: a rate of 0.2 is 51 / 256. Eight bytes are made from one random 64-bit word.
    """
    left_out = round(rate * STEPS)
    if left_out == 0:
        return x
    if left_out >= STEPS:
        return torch.zeros_like(x)
    byte = _random_bytes(x.numel(), x.device).view(x.shape)
    return x * (byte >= left_out).to(x.dtype).mul_(STEPS / (STEPS - left_out))


def _random_bytes(num: int, device: torch.device) -> Tensor:
    word = torch.empty((num + 7) // 8, dtype=torch.int64, device=device)
    return word.random_(MIN_INT64, None, generator=current_generator()).view(torch.uint8)[:num]


class Dropout(nn.Module):
    """`nn.Dropout` with the generator of the thread."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        return apply_dropout(x, self.rate) if self.training else x
