"""The entries of vector observations as a viewer shows them: their names, and the range of each bar."""

from __future__ import annotations

import re
from typing import Any

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


def vector_part(env_spec: EnvSpec, obs: NDArray[Any]) -> NDArray[np.float32]:
    """Return the numbers [D] of an observation that are no part of an image or of planes. [0] if there are none.

    Args:
        env_spec: The environment.
        obs: An observation [*obs_shape] as the agent receives it.
    """
    if env_spec.packed is not None:
        return np.ascontiguousarray(obs[: 4 * env_spec.packed.vector]).view(np.float32)
    if env_spec.obs_kind == "vector":
        return np.asarray(obs, np.float32).ravel()
    return np.zeros(0, np.float32)


def spatial_part(env_spec: EnvSpec, obs: NDArray[Any]) -> NDArray[Any] | None:
    """Return the image [H, W] or [C, H, W], or the planes [C, H, W], of an observation. None if it has neither."""
    packed = env_spec.packed
    if packed is None:
        return None if env_spec.obs_kind == "vector" else obs
    if not packed.spatial:
        return None
    start = 4 * packed.vector
    if packed.spatial_dtype == "float32":
        numbers = np.ascontiguousarray(obs[start : 4 * packed.num_floats]).view(np.float32)
    else:
        numbers = obs[start : packed.mask_start]
    return numbers.reshape(packed.spatial)


def entry_names(env_spec: EnvSpec, num_entries: int) -> tuple[str, ...]:
    """Return the names of all entries of a vector: x0, x1, ... if the environment is not known."""
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
