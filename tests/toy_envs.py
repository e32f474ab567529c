"""Small environments whose every observation says where it comes from: for tests of the stream, the replay and the loop."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray


class NumberedSteps(gymnasium.Env):
    """Each observation is [seed, episode, step]; the reward of a step is its number times 0.001 plus its action.

    Episode e lasts `lengths[e % len(lengths)]` steps; a negative length ends in a truncation instead of a termination.
    Action 1 loses one of the `lives` where it still has more than one; info["lives"] says how many are left.
    """

    def __init__(self, lengths: tuple[int, ...] = (3, -5, 1, -1, 8), lives: int = 3) -> None:
        self.lengths, self.max_lives = lengths, lives
        self.observation_space = Box(0, np.inf, (3,), np.float32)
        self.action_space = Discrete(2)
        self.seed, self.episode, self.step_number, self.lives = 0, -1, 0, lives

    def _obs(self) -> NDArray[np.float32]:
        return np.array([self.seed, self.episode, self.step_number], np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        super().reset(seed=seed)
        if seed is not None:
            self.seed, self.episode = seed % 1000, -1
        self.episode, self.step_number, self.lives = self.episode + 1, 0, self.max_lives
        return self._obs(), {"lives": self.lives}

    def step(self, action: int) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        length = self.lengths[self.episode % len(self.lengths)]
        self.step_number += 1
        if action == 1 and self.lives > 1:
            self.lives -= 1
        over = self.step_number >= abs(length)
        reward = 0.001 * self.step_number + float(action)
        return self._obs(), reward, over and length > 0, over and length < 0, {"lives": self.lives}


class TwoArms(gymnasium.Env):
    """A bandit of one step: arm a pays a. Whoever learns anything learns this in seconds."""

    def __init__(self) -> None:
        self.observation_space = Box(0, 1, (1,), np.float32)
        self.action_space = Discrete(2)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        super().reset(seed=seed)
        return np.zeros(1, np.float32), {}

    def step(self, action: int) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        return np.ones(1, np.float32), float(action), True, False, {}
