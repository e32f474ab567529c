"""A stopwatch for named parts of the program."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Stopwatch(dict[str, float]):
    """Host seconds by name. The block `with seconds("sampling"):` adds its duration to `seconds["sampling"]`."""

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Add the duration of the `with` block to the seconds of this name."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self[name] = self.get(name, 0.0) + time.perf_counter() - start
