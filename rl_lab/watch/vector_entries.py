"""The entries of vector observations as a viewer shows them: their names, and the range of each bar."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from envs.spec import EnvSpec

# Name of a Gymnasium id without its version -> names of the entries, from the Gymnasium documentation.
ENTRY_NAMES: dict[str, tuple[str, ...]] = {
    "Acrobot": ("cos theta1", "sin theta1", "cos theta2", "sin theta2", "velocity 1", "velocity 2"),
    "CartPole": ("cart position", "cart velocity", "pole angle", "pole velocity"),
    "LunarLander": ("x", "y", "x velocity", "y velocity", "angle", "angular velocity", "left leg", "right leg"),
    "MountainCar": ("position", "velocity"),
    "MountainCarContinuous": ("position", "velocity"),
    "Pendulum": ("cos theta", "sin theta", "angular velocity"),
}

MODERATE = 1000.0
"""Largest magnitude of a bound that is the end of a bar. With a larger one most bars would be too short to see."""


def is_vector(env_spec: EnvSpec) -> bool:
    """Return True if the observations are numbers without a picture."""
    return env_spec.dtype == "float32"


def entry_names(env_spec: EnvSpec) -> tuple[str, ...]:
    """Return the names of all entries of an observation: x0, x1, ... if the environment is not known."""
    num_entries = int(np.prod(env_spec.frame))
    match = re.fullmatch(r"(\w+)-v\d+", env_spec.id)
    known = ENTRY_NAMES.get(match[1], ()) if match else ()
    if len(known) == num_entries:
        return known
    return tuple(f"x{i}" for i in range(num_entries))


def entry_ranges(env_spec: EnvSpec, magnitudes: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the lowest and the highest value [D, 2] of the bar of each entry.

    An entry with moderate bounds has these; any other one has its largest magnitude of the game in both directions.

    Args:
        env_spec: The environment.
        magnitudes: [D], the largest magnitude of each entry in the game so far.
    """
    largest = np.maximum(magnitudes.astype(np.float64), 1e-9)
    ranges = np.stack([-largest, largest], 1)
    if env_spec.bounds is None or len(env_spec.bounds) != len(ranges):
        return ranges
    bounds = np.array(env_spec.bounds)
    is_moderate = (np.abs(bounds).max(1) <= MODERATE) & (bounds[:, 0] < bounds[:, 1])
    return np.where(is_moderate[:, None], bounds, ranges)
