"""What matrix products are computed in."""

import torch

from recsys.config import TrainConfig


def choose_dtype(config: TrainConfig) -> torch.dtype:
    """bfloat16 where it was asked for, or by `auto` where the processor has the instructions for it."""
    if config.precision != "auto":
        return torch.bfloat16 if config.precision == "bfloat16" else torch.float32
    has_it = (
        config.device == "cuda"
        or torch.backends.cpu.get_cpu_capability().startswith("AMX")
        or _has_bfloat16()
    )
    return torch.bfloat16 if has_it else torch.float32


def _has_bfloat16() -> bool:
    supports: bool = torch.cpu._is_avx512_bf16_supported()
    return supports
