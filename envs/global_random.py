"""Python's and NumPy's global random generators, from which some environments draw instead of from `np_random`.

Only `np_random` is seeded by Gymnasium. Without further care, an environment that draws from `random` or `numpy.random`
would make two runs of one seed differ.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np


class GlobalState(NamedTuple):
    """The states of both global generators."""

    python: Any
    numpy: Any

    @classmethod
    def read(cls) -> GlobalState:
        """Return the present states."""
        return cls(random.getstate(), np.random.get_state(legacy=False))  # noqa: NPY002  # the global generator is meant

    def write(self) -> None:
        """Set the generators to these states."""
        random.setstate(self.python)
        np.random.set_state(self.numpy)  # noqa: NPY002

    def equals(self, other: GlobalState) -> bool:
        """Return True if both generators have the same states."""
        mine = self.numpy["state"]
        others = other.numpy["state"]
        return (
            self.python == other.python and mine["pos"] == others["pos"] and np.array_equal(mine["key"], others["key"])
        )


def seed_global_generators(seed: int) -> None:
    """Seed `random` and `numpy.random` with a number from 0 to 2**32 - 1."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002


@contextmanager
def global_generators_seeded(seed: int) -> Iterator[None]:
    """Seed the global generators inside the `with` block, and give back their earlier states after it."""
    earlier = GlobalState.read()
    seed_global_generators(seed)
    try:
        yield
    finally:
        earlier.write()
