"""Settings of the training process: precision of matrix products, number of threads, memory allocator."""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from threadpoolctl import threadpool_limits

from recsys.config import TrainConfig

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
LARGEST_BYTES = 2**30  # blocks up to this size are reused; glibc takes an int


def choose_dtype(config: TrainConfig) -> torch.dtype:
    """bfloat16 where `train.precision` says so, or is "auto" and the processor has the instructions."""
    if config.precision != "auto":
        return torch.bfloat16 if config.precision == "bfloat16" else torch.float32
    supported = (
        config.device == "cuda"
        or torch.backends.cpu.get_cpu_capability().startswith("AMX")
        or _has_bfloat16()
    )
    return torch.bfloat16 if supported else torch.float32


def _has_bfloat16() -> bool:
    supports: bool = torch.cpu._is_avx512_bf16_supported()
    return supports


@contextmanager
def threads(num: int | None) -> Iterator[None]:
    """Context in which torch, BLAS and OpenMP use `num` threads each; None changes nothing.

    The number of threads determines the order of sums, and with it the last digits of every result.
    """
    if num is None:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(num)
    try:
        with threadpool_limits(num):
            yield
    finally:
        torch.set_num_threads(before)


def keep_freed_memory() -> bool:
    """Make glibc keep freed large blocks: new pages for every training step cost more than its arithmetic.

    True if glibc accepted the settings; without glibc nothing changes.
    """
    if sys.platform != "linux":
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, LARGEST_BYTES)) and bool(mallopt(M_TRIM_THRESHOLD, LARGEST_BYTES))
