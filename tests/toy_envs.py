"""Small environments for tests, whose observations identify the seed, the episode and the step."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray


class NumberedSteps(gymnasium.Env):
    """An environment whose observation is [seed, episode, step].

    The reward of step i is 0.001 * i plus the action. Action 1 also loses a life, unless only one is left.
    `info["lives"]` is the number of lives.
    """

    def __init__(self, lengths: tuple[int, ...] = (3, -5, 1, -1, 8), lives: int = 3) -> None:
        """Create the environment.

        Args:
            lengths: Episode e has `abs(lengths[e % len(lengths)])` steps. A positive length ends with a termination, a
                negative one with a truncation.
            lives: Lives at the start of an episode.
        """
        self.lengths = lengths
        self.max_lives = lives
        self.observation_space = Box(0, np.inf, (3,), np.float32)
        self.action_space = Discrete(2)
        self.seed = 0
        self.episode = -1
        self.step_number = 0
        self.lives = lives

    def _obs(self) -> NDArray[np.float32]:
        return np.array([self.seed, self.episode, self.step_number], np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Start the next episode, or episode 0 of a seed."""
        super().reset(seed=seed)
        if seed is not None:
            self.seed = seed % 1000
            self.episode = -1
        self.episode += 1
        self.step_number = 0
        self.lives = self.max_lives
        return self._obs(), {"lives": self.lives}

    def step(self, action: int) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Count the step and the lost life."""
        length = self.lengths[self.episode % len(self.lengths)]
        self.step_number += 1
        if action == 1 and self.lives > 1:
            self.lives -= 1
        ends = self.step_number >= abs(length)
        reward = 0.001 * self.step_number + float(action)
        return self._obs(), reward, ends and length > 0, ends and length < 0, {"lives": self.lives}


class TwoArms(gymnasium.Env):
    """A bandit with episodes of one step. The reward is the action, 0 or 1. Agents learn it in seconds."""

    def __init__(self) -> None:
        """Create the bandit."""
        self.observation_space = Box(0, 1, (1,), np.float32)
        self.action_space = Discrete(2)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Return the observation 0."""
        super().reset(seed=seed)
        return np.zeros(1, np.float32), {}

    def step(self, action: int) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Return the observation 1 and the action as the reward."""
        return np.ones(1, np.float32), float(action), True, False, {}
