"""The number format of image encoders: float32 or bfloat16."""

from __future__ import annotations

import time
from functools import cache

import torch

MIN_SPEEDUP = 1.5
"""precision "auto" is bfloat16 if matrix products are faster than in float32 by more than this factor."""


def resolve_precision(name: str, device: torch.device) -> torch.dtype:
    """Return the dtype called `name`. "auto" is bfloat16 if the device is fast at it, otherwise float32."""
    if name == "auto":
        return torch.bfloat16 if bfloat16_speedup(device) > MIN_SPEEDUP else torch.float32
    return {"float32": torch.float32, "bfloat16": torch.bfloat16}[name]


@cache
def bfloat16_speedup(device: torch.device, size: int = 384) -> float:
    """Return the speed of bfloat16 matrix products, relative to float32.

    On a CPU the speed is measured, because many CPUs emulate bfloat16. On a GPU it is a constant that depends on the
    hardware's support.

    Args:
        device: The device.
        size: Rows and columns of the square matrices.
    """
    if device.type == "cuda":
        return 2.0 if torch.cuda.is_bf16_supported(including_emulation=False) else 0.5
    if device.type == "mps":
        return 1.0
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # threads would wait for each other where other processes use the cores
    try:
        return _matmul_seconds(torch.float32, size) / _matmul_seconds(torch.bfloat16, size)
    finally:
        torch.set_num_threads(threads)


def _matmul_seconds(dtype: torch.dtype, size: int) -> float:
    """Return the shortest of five times of a matrix product. The first includes the preparation of the kernel."""
    matrix = torch.ones(size, size, dtype=dtype)
    shortest = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        torch.mm(matrix, matrix)
        shortest = min(shortest, time.perf_counter() - start)
    return shortest
