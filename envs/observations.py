"""Conversion of a vector environment's observations into those that the agent receives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from envs.spec import PackedObservation

ViewFunction = Callable[[NDArray[Any]], NDArray[Any]]
"""Maps the observations [N, ...] of N environments to observations [N, *obs_shape]."""


class ObservationConverter:
    """Applies type, shape, view, mask and flicker to the observations of N environments."""

    def __init__(
        self,
        space: gymnasium.Space[Any],
        *,
        view: ViewFunction | None = None,
        masked: tuple[int, ...] = (),
        flicker: float = 0.0,
        packed: PackedObservation | None = None,
    ) -> None:
        """Read shape and type of the result from the space of one environment's observations.

        Args:
            space: Observation space of one environment. The type uint8 is kept; all other types become float32.
            view: Function that changes shape and content of the observations, or None.
            masked: Indices of vector entries that are set to 0.
            flicker: Probability that an observation is blank, that is, all zeros.
            packed: Where the parts of packed observations lie. Their action masks are never blank.
        """
        shape = space.shape
        assert shape is not None
        self.dtype = np.uint8 if space.dtype == np.uint8 else np.float32
        self.obs_shape: tuple[int, ...] = shape
        if view is not None:
            self.obs_shape = view(np.zeros((1, *shape), self.dtype)).shape[1:]
        self._source_shape = shape
        self._view = view
        self._masked = list(masked)
        self._flicker = flicker
        self._packed = packed

    def convert(self, obs: Any) -> NDArray[Any]:
        """Return the observations of N environments as an array [N, *obs_shape], without flicker."""
        converted = np.asarray(obs, self.dtype).reshape(-1, *self._source_shape)
        if self._view is not None:
            converted = self._view(converted)
        if self._masked:
            converted = converted.copy()
            converted[:, self._masked] = 0
        return converted

    def apply_flicker(self, obs: NDArray[Any], seed: int, row: int) -> NDArray[Any]:
        """Blank a random part of the observations [N, *obs_shape]. The choice depends only on `seed` and `row`."""
        if not self._flicker:
            return obs
        is_blank = np.random.default_rng([seed, row]).random(len(obs)) < self._flicker
        is_blank = is_blank.reshape(-1, *[1] * len(self.obs_shape))
        blank = np.zeros_like(obs)
        if self._packed is not None:
            blank[:, self._packed.mask_start :] = obs[:, self._packed.mask_start :]
        return np.where(is_blank, blank, obs)

    def wrong_number(self, obs: NDArray[Any]) -> tuple[int, float] | None:
        """Return the first environment whose observation in [N, *obs_shape] is not finite, and the number it holds."""
        numbers = obs
        if self._packed is not None:
            num_floats = self._packed.num_floats
            numbers = obs[:, : 4 * num_floats].view(np.float32) if num_floats else obs
        if numbers.dtype == np.uint8 or np.isfinite(numbers).all():
            return None
        for i, values in enumerate(numbers):
            wrong = values[~np.isfinite(values)]
            if wrong.size:
                return i, float(wrong[0])
        return None
