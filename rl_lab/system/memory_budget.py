"""Free memory of a device, and how the C library handles freed memory."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Sequence

import psutil
import torch

from agents.core.memory_needs import MemoryNeed
from rl_lab.errors import LabError
from rl_lab.system.container import container_free_memory

RESERVE = 2**29
"""Bytes that must remain free beside the agent, for the rest of the process."""

LARGEST_SHOWN = 10**18
"""Bytes from which a message does not show the number."""

M_MMAP_THRESHOLD = -3  # constants of glibc's malloc.h
M_TRIM_THRESHOLD = -1


def free_memory(device: torch.device) -> int:
    """Return the bytes that can be allocated on the device now, within the limit of a container."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    free = psutil.virtual_memory().available
    limit = container_free_memory()
    return free if limit is None else min(free, limit)


def check_memory(needs: Sequence[MemoryNeed], device: torch.device, *, reserve: int = RESERVE) -> None:
    """Raise LabError if parts of a training do not fit into free memory. The message names the largest part.

    Args:
        needs: What the parts take.
        device: The device on which all of them are allocated.
        reserve: Bytes that must remain free.
    """
    total = sum(need.bytes for need in needs)
    free = free_memory(device)
    if total + reserve <= free:
        return
    largest = max(needs, key=lambda need: need.bytes)
    in_total = "" if total - largest.bytes < largest.bytes // 100 else f", everything together {_size(total)},"
    kept = f", of which {reserve / 1e9:.2f} GB are kept in reserve" if reserve else ""
    raise LabError(
        f"{largest.part} needs {_size(largest.bytes)}{in_total} and {device} has {free / 1e9:.2f} GB free{kept};"
        f" {largest.advice}"
    )


def _size(size: int) -> str:
    """Return a number of bytes as text, such as "4.00 GB (4,000,000,000 bytes)"."""
    if size >= LARGEST_SHOWN:
        return f"more than {LARGEST_SHOWN // 10**9:,} GB"
    return f"{size / 1e9:,.2f} GB ({size:,} bytes)"


def keep_freed_memory() -> None:
    """Let glibc keep freed blocks of up to 64 MB for later allocations. Other C libraries are left unchanged.

    By default glibc returns the memory of a network's activations to Linux after every update, and Linux zeroes each
    page when it is allocated again. In a DQN update with a batch of 32, this causes 800 page faults and takes a tenth
    of the time.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_THRESHOLD, 64 * 2**20)
        libc.mallopt(M_TRIM_THRESHOLD, 512 * 2**20)
