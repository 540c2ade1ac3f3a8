"""Rates, medians and the peaks of cards.

Model FLOP utilisation = FLOPs of the matrix products of a step / (seconds of the step * peak FLOP/s of the
card). The FLOPs are counted by torch.utils.flop_counter as 2 m n k of each product that was run, forward and
backward. The peak is the data sheet's for dense bfloat16, and beside it the rate that the same card reached
on products of 8192 x 8192 matrices in the `card` piece.
"""

import time
from collections.abc import Callable, Mapping
from statistics import median
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

# Dense bfloat16 FLOP/s with float32 sums, from NVIDIA's data sheets, by a part of the card's name; the first
# that is found counts.
PEAKS: Mapping[str, float] = {
    "H200": 989e12,
    "H100 PCIe": 756e12,
    "H100 NVL": 835e12,
    "H100": 989e12,
    "A100": 312e12,
    "L40S": 362e12,
    "L40": 181e12,
    "L4": 121e12,
}


class CouldNotRun(Exception):
    """A piece, or a part of one, has nothing to run on; the message says why."""


def peak_of(card: str) -> float | None:
    """FLOP/s of the card named `card`; None for a card that is not listed."""
    return next((peak for name, peak in PEAKS.items() if name in card), None)


def synchronise(device: torch.device) -> None:
    """Wait for all work on `device`."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds_of(work: Callable[[], object], device: torch.device, *, budget: float, least: int = 3) -> float:
    """Median seconds of `work`, device included, over `least` calls or more within `budget` seconds."""
    work()
    synchronise(device)
    found: list[float] = []
    end = time.perf_counter() + budget
    while len(found) < least or (time.perf_counter() < end and len(found) < 1000):
        start = time.perf_counter()
        work()
        synchronise(device)
        found.append(time.perf_counter() - start)
    return median(found)


def seconds_a_step(work: Callable[[], object], device: torch.device, *, budget: float) -> float:
    """Mean seconds of `work` in a row of calls after which the device is waited for once, as in training."""
    work()
    synchronise(device)
    start, count = time.perf_counter(), 0
    while count < 3 or time.perf_counter() - start < budget:
        work()
        count += 1
        if device.type == "cuda" and count % 10 == 0:
            synchronise(device)  # or the queue outruns the budget
    synchronise(device)
    return (time.perf_counter() - start) / count


class FlopCounter(TorchDispatchMode):
    """Adds up the FLOPs of the operations that run within it, on the thread that entered it.

    `FlopCounterMode` also attributes them to modules, by hooks that refuse `torch.autograd.grad`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        formula = flop_registry.get(func._overloadpacket)
        if formula is not None:
            self.total += formula(*args, **(kwargs or {}), out_val=out)
        return out


def matmul_rate(size: int, dtype: torch.dtype, device: torch.device, *, budget: float) -> float:
    """FLOP/s of products of two `size` x `size` matrices."""
    one, other = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    return 2 * size**3 / seconds_a_step(lambda: one @ other, device, budget=budget)
