"""Crafter (Hafner 2021) as a Gymnasium environment: --env crafter_adapter:Crafter-v0.

The package `crafter` follows the old interface of Gym: `reset` takes no seed and returns no info, and `step` returns
one flag `done`. This adapter shows how to convert such an environment.
"""

from __future__ import annotations

from typing import Any

import crafter  # pyright: ignore[reportMissingImports]  # scripts/third_party.py installs the package
import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete

MAX_SEED = 2**31 - 1


class Crafter(gymnasium.Env):
    """Crafter with rewards, 64 x 64 RGB pixels and 17 actions."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012  # Gymnasium's own form

    def __init__(self, length: int = 10_000, render_mode: str | None = None) -> None:
        """Create the environment.

        Args:
            length: Steps after which an episode is truncated.
            render_mode: "rgb_array", or None for no rendering.
        """
        self.render_mode = render_mode
        self._length = length
        self._game = crafter.Env(length=length, seed=0)
        names = self._game.action_names
        self._action_names = list(names)
        self.action_space = Discrete(len(names))
        self.observation_space = Box(0, 255, (64, 64, 3), np.uint8)

    def get_action_meanings(self) -> list[str]:
        """Return the names of the actions."""
        return self._action_names

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start an episode in a new world. A game draws all random numbers from its own seed."""
        super().reset(seed=seed)
        self._game = crafter.Env(length=self._length, seed=int(self.np_random.integers(MAX_SEED)))
        return self._game.reset(), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Take a step. The discount in the info is 0 if the player has died, and 1 otherwise."""
        obs, reward, done, info = self._game.step(int(action))
        terminated = info["discount"] == 0
        return obs, float(reward), terminated, done and not terminated, {}

    def render(self) -> np.ndarray:
        """Return the picture uint8[512, 512, 3]."""
        return self._game.render((512, 512))


gymnasium.register("Crafter-v0", entry_point=f"{__name__}:Crafter")
