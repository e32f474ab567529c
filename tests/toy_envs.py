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


class ContinuousSteps(NumberedSteps):
    """`NumberedSteps` with actions of two real numbers from -2 to 2. Their sum takes the place of the action."""

    def __init__(self, lengths: tuple[int, ...] = (3, -5, 1, -1, 8)) -> None:
        """Create the environment with these lengths of its episodes."""
        super().__init__(lengths)
        self.action_space = Box(-2, 2, (2,), np.float32)

    def step(self, action: Any) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Count the step."""
        return super().step(float(np.sum(action)))  # type: ignore[arg-type]


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


class OddScreens(gymnasium.Env):
    """An environment with episodes of 12 steps, whose screens are odd.

    Its name of a screen is one of: raises, exits, late (raises at step 5), none, empty, flat, grey, rgba, list, float,
    channels_first, growing (the size changes), thin, huge.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012  # Gymnasium's interface

    def __init__(self, screen: str = "grey", length: int = 12, render_mode: str | None = None) -> None:
        """Create the environment with a kind of screen, and the length of its episodes."""
        self.screen = screen
        self.length = length
        self.render_mode = render_mode
        self.observation_space = Box(0, np.inf, (2,), np.float32)
        self.action_space = Discrete(2)
        self.step_number = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Start an episode."""
        super().reset(seed=seed)
        self.step_number = 0
        return np.zeros(2, np.float32), {}

    def step(self, action: int) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Count the step."""
        self.step_number += 1
        return np.full(2, self.step_number, np.float32), 1.0, self.step_number == self.length, False, {}

    def render(self) -> Any:
        """Return the screen."""
        level = 10 * min(self.step_number, 20)
        if self.screen == "raises" or (self.screen == "late" and self.step_number == 5):
            raise RuntimeError("No available\nvideo device")
        if self.screen == "exits":
            raise SystemExit(0)
        screens: dict[str, Any] = {
            "late": np.full((40, 60, 3), level, np.uint8),
            "none": None,
            "empty": np.zeros((0, 60, 3), np.uint8),
            "flat": np.zeros(7, np.uint8),
            "grey": np.full((40, 60), level, np.uint8),
            "rgba": np.full((40, 60, 4), level, np.uint8),
            "list": [np.zeros((40, 60, 3), np.uint8), np.full((40, 60, 3), level, np.uint8)],
            "float": np.full((40, 60, 3), level / 255),
            "channels_first": np.full((3, 40, 60), level, np.uint8),
            "growing": np.full((40 + self.step_number, 61, 3), level, np.uint8),
            "thin": np.full((1, 9000, 3), level, np.uint8),
            "huge": np.full((5000, 5000, 3), level, np.uint8),
        }
        return screens[self.screen]
