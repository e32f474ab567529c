"""Conversion of a vector environment's observations into those that the agent receives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

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
    ) -> None:
        """Read shape and type of the result from the space of one environment's observations.

        Args:
            space: Observation space of one environment. The type uint8 means images; all other types become float32.
            view: Function that changes shape and content of the observations, or None.
            masked: Indices of vector entries that are set to 0.
            flicker: Probability that an observation is blank, that is, all zeros.
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
        return np.where(is_blank, np.zeros_like(obs), obs)
