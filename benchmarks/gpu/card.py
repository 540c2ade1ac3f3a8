"""The machine: names, versions, and the rates that its device reaches on plain operations."""

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version

import torch

from benchmarks.gpu.measure import matmul_rate, peak_of, seconds_a_step
from benchmarks.gpu.stand_ins import provide
from training.runtime import tensor_float_32

PACKAGES = (
    "torch",
    "torchrec",
    "fbgemm-gpu",
    "numpy",
    "onnxruntime-gpu",
    "onnxruntime",
    "polars",
    "pydantic",
)
COPY_BYTES = 2**30


def describe(device: torch.device) -> dict[str, object]:
    """The device, its driver, and the versions of what is installed."""
    is_gpu = device.type == "cuda"
    name = torch.cuda.get_device_name(device) if is_gpu else platform.processor() or platform.machine()
    return {
        "device": name,
        "driver": _driver() if is_gpu else "none",
        "cuda": torch.version.cuda or "none",
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        **{package: _version(package) for package in PACKAGES},
        "instead of a package": ", ".join(f"{name}: {what}" for name, what in provide().items()) or "none",
    }


def rates(device: torch.device, *, quick: bool) -> dict[str, object]:
    """FLOP/s of large products, bytes/s of a copy."""
    # Sizes for a GPU would take minutes on a processor.
    size, num_bytes = (256, 2**22) if quick or device.type == "cpu" else (8192, COPY_BYTES)
    budget = 0.05 if quick else 1.0
    found: dict[str, object] = {}
    for label, dtype in (("bfloat16", torch.bfloat16), ("float32", torch.float32)):
        found[f"{label} product, TFLOP/s"] = matmul_rate(size, dtype, device, budget=budget) / 1e12
    if device.type == "cuda":
        with tensor_float_32(device):
            found["TF32 product, TFLOP/s"] = matmul_rate(size, torch.float32, device, budget=budget) / 1e12
    source = torch.zeros(num_bytes, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    seconds = seconds_a_step(lambda: target.copy_(source), device, budget=budget)
    found["copy on the device, GB/s read and written"] = 2 * num_bytes / seconds / 1e9
    peak = peak_of(torch.cuda.get_device_name(device)) if device.type == "cuda" else None
    found["data sheet, dense bfloat16, TFLOP/s"] = "not listed" if peak is None else peak / 1e12
    return found


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _driver() -> str:
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError) as error:
        return f"unknown: {error}"
