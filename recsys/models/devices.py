"""Tensors from host memory to the device of a model, without making the host wait for the device."""

import torch
from torch import Tensor


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """`tensor` on `device`.

    A copy from the host to a GPU goes through page-locked memory. Only from there can it run while the host
    goes on.
    """
    if tensor.device == device:
        return tensor
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)
