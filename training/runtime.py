"""Settings of the training process: precision of matrix products, number of threads, memory allocator."""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from threadpoolctl import threadpool_limits

from recsys.config import TrainConfig
from recsys.errors import ProviderError

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
LARGEST_BYTES = 2**30  # blocks up to this size are reused; glibc takes an int


def choose_device(config: TrainConfig) -> torch.device:
    """The device of `train.device`; "auto" is the GPU where torch finds one.

    Raises `ProviderError` where a GPU is asked for and torch finds none.
    """
    if config.device == "cpu" or (config.device == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built without CUDA"
        raise ProviderError(
            f"train.device = {config.device!r}: torch {torch.__version__}, {built}, finds no GPU. Install "
            "the extra 'gpu' on a machine with an NVIDIA driver, or set train.device to cpu or auto"
        )
    return torch.device("cuda", torch.cuda.current_device())


def choose_dtype(config: TrainConfig, device: torch.device) -> torch.dtype:
    """bfloat16 where `train.precision` says so, or is "auto" and the device has the instructions."""
    if config.precision != "auto":
        return torch.bfloat16 if config.precision == "bfloat16" else torch.float32
    if device.type == "cuda":
        supported = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        supported = torch.backends.cpu.get_cpu_capability().startswith("AMX") or _has_bfloat16()
    return torch.bfloat16 if supported else torch.float32


@contextmanager
def tensor_float_32(device: torch.device) -> Iterator[None]:
    """Within, float32 matrix products on a GPU use TF32: ten bits of mantissa, several times the speed."""
    if device.type != "cuda":
        yield
        return
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def fits_beside(num_bytes: int, device: torch.device, fraction: float) -> bool:
    """Whether `num_bytes` are at most `fraction` of the free memory of `device`; never in host memory."""
    return device.type == "cuda" and num_bytes <= fraction * torch.cuda.mem_get_info(device)[0]


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
