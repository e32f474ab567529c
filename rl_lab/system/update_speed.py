"""The choice of PyTorch's threads and of the precision, by the time that updates take on this machine at this moment.

A thread waits for the others at the end of every operation. Where another process uses a core, this makes two threads
many times as slow as one, so the best number depends on what else runs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from statistics import median
from typing import NamedTuple

import torch

TOLERANCE = 1.15
"""A variant is a candidate if its updates take at most this many times as long as the fastest updates."""

SECONDS = 0.5
"""Duration of all measurements together. Slow updates exceed it: at least one update of each variant is measured."""

MAX_UPDATES = 30
"""Maximum number of measured updates of each variant."""

HOPELESS = 3.0
"""A precision is given up after its first measured update if that takes this many times as long as in the fastest
precision. On processors without bfloat16 instructions, an update in bfloat16 takes about five times as long."""


@contextmanager
def torch_threads(n: int) -> Iterator[None]:
    """Let PyTorch compute with n threads inside a `with` block."""
    previous = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(previous)


class UpdateSpeed(NamedTuple):
    """The time of an update with a number of threads and a precision."""

    dtype: torch.dtype
    threads: int
    seconds: float  # median


def measure_updates(
    updates: Mapping[torch.dtype, Callable[[], object]], threads: Sequence[int], seconds: float = SECONDS
) -> list[UpdateSpeed]:
    """Return the times of updates for each precision and number of threads.

    First, each precision makes an uncounted update, which includes preparations, with the most threads. Its second
    update is measured with the fewest threads, which other processes slow least. A precision that is hopelessly slow
    is given up: its only result is this measurement. All other variants are then measured in turn, so that another
    process that begins or ends affects all of them.

    Args:
        updates: A function that makes one update, for each precision.
        threads: Numbers of threads.
        seconds: Duration of all measurements together.
    """
    begin = time.perf_counter()
    for update in updates.values():
        _measure(update, max(threads))
    fewest = min(threads)
    first_times = {dtype: _measure(update, fewest) for dtype, update in updates.items()}
    limit = HOPELESS * min(first_times.values())
    hopeless = [UpdateSpeed(dtype, fewest, first) for dtype, first in first_times.items() if first > limit]
    hopeless_dtypes = {speed.dtype for speed in hopeless}

    times: dict[tuple[torch.dtype, int], list[float]] = {}
    for dtype in updates:
        if dtype not in hopeless_dtypes:
            times.update({(dtype, n): [] for n in threads})
    for _ in range(MAX_UPDATES):
        for (dtype, n), variant_times in times.items():
            variant_times.append(_measure(updates[dtype], n))
        if time.perf_counter() - begin > seconds:
            break
    return [UpdateSpeed(dtype, n, median(variant_times)) for (dtype, n), variant_times in times.items()] + hopeless


def _measure(update: Callable[[], object], threads: int) -> float:
    """Return the seconds of one update with a number of threads."""
    with torch_threads(threads):
        begin = time.perf_counter()
        update()
        return time.perf_counter() - begin


def choose(speeds: Sequence[UpdateSpeed]) -> UpdateSpeed:
    """Return the variant to train with.

    The candidates are all variants whose updates take at most `TOLERANCE` times as long as the fastest updates. Of
    these, return the one with the fewest threads. With equal threads, prefer float32.
    """
    limit = TOLERANCE * min(speed.seconds for speed in speeds)
    fast_enough = [speed for speed in speeds if speed.seconds <= limit]
    return min(fast_enough, key=lambda speed: (speed.threads, speed.dtype != torch.float32))


def describe(speeds: Sequence[UpdateSpeed]) -> str:
    """Return the measured times as text: "float32 25.1 ms with 1 thread, 14.0 with 2; bfloat16 ..."."""
    texts = []
    for dtype in dict.fromkeys(speed.dtype for speed in speeds):
        name = str(dtype).removeprefix("torch.")
        of_dtype = [speed for speed in speeds if speed.dtype == dtype]
        times = ", ".join(f"{1000 * speed.seconds:.1f} with {speed.threads}" for speed in of_dtype)
        texts.append(f"{name} {times}")
    return "; ".join(texts)
