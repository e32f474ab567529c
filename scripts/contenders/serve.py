"""What every contender of scripts/benchmark.py shares: it warms up, then runs as many agent steps as it is told, and reports.

The talk is lines on standard input and output: a number of agent steps in, one JSON object out. A contender that is not asked
waits for its next line and takes no time from the others.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

import torch


class Shares(dict[str, float]):
    """Seconds of the host by name, of the functions wrapped with `timed`."""

    def __init__(self) -> None:
        super().__init__()
        self.inside: list[str] = []  # the names whose functions are running, the outermost first

    def timed(self, name: str, owner: Any, method: str) -> None:
        """Count the time that `owner.method` takes under `name`, less what functions it calls count under theirs.

        What an update asks of a policy is updating, not acting.
        """
        inner = getattr(owner, method)

        def wrapped(*args: Any, **kwargs: Any) -> Any:
            if name == "acting" and "updating" in self.inside:
                return inner(*args, **kwargs)
            self.inside.append(name)
            others = sum(self.values())
            start = time.perf_counter()
            try:
                return inner(*args, **kwargs)
            finally:
                nested = sum(self.values()) - others
                self[name] = self.get(name, 0.0) + time.perf_counter() - start - nested
                self.inside.pop()

        setattr(owner, method, wrapped)


def serve(train: Callable[[int], tuple[int, int]], shares: dict[str, float]) -> None:
    """Answer the driver: `train(steps)` makes about so many agent steps and returns those made, and the updates."""
    out = sys.stdout
    sys.stdout = sys.stderr  # whatever a library prints is not part of the talk
    print("ready", file=out, flush=True)
    for line in sys.stdin:
        before = dict(shares)
        start = time.perf_counter()
        steps, updates = train(int(line))
        seconds = time.perf_counter() - start
        spent = {name: value - before.get(name, 0.0) for name, value in shares.items()}
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        if torch.cuda.is_available():
            memory += torch.cuda.max_memory_allocated()
        answer = {"steps": steps, "updates": updates, "seconds": seconds, "shares": spent, "bytes": memory}
        print(json.dumps(answer), file=out, flush=True)
