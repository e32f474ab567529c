"""The device that trains, and copies of arrays to the device."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from rl_lab.errors import LabError


def resolve_device(name: str) -> torch.device:
    """Return the device called `name`. "auto" is the first available one of cuda, mps and cpu.

    Raises:
        LabError: This machine does not have the device.
    """
    available = []
    if torch.cuda.is_available():
        available.append("cuda")
    if torch.backends.mps.is_available():
        available.append("mps")
    available.append("cpu")
    if name == "auto":
        name = available[0]
    if name not in available:
        raise LabError(f"device {name} is not on this machine; available: {', '.join(available)}")
    return torch.device(name)


def on_device(array: Any, device: torch.device) -> Tensor:
    """Return an array or tensor as a tensor on the device.

    The copy to a GPU is asynchronous, from pinned memory. On the CPU the tensor shares the array's memory.
    """
    tensor = torch.as_tensor(array)
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)
