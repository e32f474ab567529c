"""The protocol between scripts/benchmark.py and the contenders, which are processes of their own.

A contender warms up and prints "ready". Then it reads numbers of agent steps from standard input, one a line, trains
for so many steps, and prints one JSON object for each. While a contender waits for a line, it uses no processor time.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

import torch


class TimeShares(dict[str, float]):
    """Host seconds by name, spent in the methods that `measure` has wrapped."""

    def __init__(self) -> None:
        super().__init__()
        self._running: list[str] = []  # names of the measured methods that are running, the outermost first

    def measure(self, name: str, owner: Any, method: str) -> None:
        """Replace `owner.method` by one that adds its duration to `name`.

        The time of a measured method that it calls is counted only under that method's name. There is one exception: if
        an update calls the policy, this is part of "updating", not of "acting".
        """
        original = getattr(owner, method)

        def measured(*args: Any, **kwargs: Any) -> Any:
            if name == "acting" and "updating" in self._running:
                return original(*args, **kwargs)
            self._running.append(name)
            seconds_before = sum(self.values())
            start = time.perf_counter()
            try:
                return original(*args, **kwargs)
            finally:
                nested = sum(self.values()) - seconds_before
                self[name] = self.get(name, 0.0) + time.perf_counter() - start - nested
                self._running.pop()

        setattr(owner, method, measured)


def serve(train: Callable[[int], tuple[int, int]], shares: dict[str, float], setup: str = "") -> None:
    """Print "ready", then answer each line of standard input until its end.

    Args:
        train: Trains for about the given number of agent steps. Returns the numbers of agent steps and updates made.
        shares: Host seconds by name since the start, updated by `train`.
        setup: Text for the report on how the contender was set up, such as its precision and number of threads.
    """
    out = sys.stdout
    sys.stdout = sys.stderr  # output of libraries must not be taken for an answer
    print("ready", file=out, flush=True)
    for line in sys.stdin:
        shares_before = dict(shares)
        start = time.perf_counter()
        steps, updates = train(int(line))
        seconds = time.perf_counter() - start
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        if torch.cuda.is_available():
            memory += torch.cuda.max_memory_allocated()
        answer = {
            "steps": steps,
            "updates": updates,
            "seconds": seconds,
            "shares": {name: value - shares_before.get(name, 0.0) for name, value in shares.items()},
            "bytes": memory,
            "setup": setup,
        }
        print(json.dumps(answer), file=out, flush=True)
