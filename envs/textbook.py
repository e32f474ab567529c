"""Small environments from textbooks. Importing this module registers them with Gymnasium."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray

from envs.worlds import parameters

CELL_PIXELS = 40
AGENT_COLOUR = (214, 86, 72)  # red


class WindyGridworld(gymnasium.Env):
    """A grid of 7 x 10 cells with an upward wind. The reward is -1 per step (Sutton and Barto 2018, example 6.5).

    The observation is the number of the cell, row * 10 + column. Actions: 0 up, 1 right, 2 down, 3 left. The episode
    ends at the goal.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 4}  # noqa: RUF012  # Gymnasium's interface
    WIND = (0, 0, 0, 1, 1, 1, 2, 2, 1, 0)  # cells that the wind adds to a step, for each column
    START = (3, 0)
    GOAL = (3, 7)
    MOVES = ((-1, 0), (0, 1), (1, 0), (0, -1))  # rows and columns that each action adds

    def __init__(self, slip: float = 0.0, render_mode: str | None = None) -> None:
        """Create the grid.

        Args:
            slip: Probability that a random action replaces the chosen one, 0 to 1. The stochastic version of van Seijen
                et al. 2009 has 0.2.
            render_mode: None or "rgb_array".

        Raises:
            EnvError: An argument is out of its range.
        """
        self.slip = parameters.number("slip", slip, 0, 1)
        self.render_mode = parameters.render_mode(render_mode)
        self.observation_space = Discrete(70)
        self.action_space = Discrete(4)
        self.position = self.START

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        """Start at the leftmost cell of the middle row."""
        super().reset(seed=seed)
        self.position = self.START
        return self._obs(), {}

    def step(self, action: int) -> tuple[int, float, bool, bool, dict[str, Any]]:
        """Move by one cell and by the wind."""
        if self.slip and self.np_random.random() < self.slip:
            action = int(self.np_random.integers(4))
        self.position = self.move(self.position, action)
        return self._obs(), -1.0, self.position == self.GOAL, False, {}

    @classmethod
    def move(cls, position: tuple[int, int], action: int) -> tuple[int, int]:
        """Return the cell that an action leads to. The wind of the column of `position` applies."""
        down, right = cls.MOVES[action]
        row = position[0] + down - cls.WIND[position[1]]
        column = position[1] + right
        return int(np.clip(row, 0, 6)), int(np.clip(column, 0, 9))

    def _obs(self) -> int:
        return self.position[0] * 10 + self.position[1]

    def render(self) -> NDArray[np.uint8]:
        """Return a picture u8[H, W, 3]: darker cells have more wind, the goal is green, the agent red."""
        grey_levels = 255 - 30 * np.array(self.WIND, np.uint8)
        cells = np.repeat(grey_levels[None, :, None], 7, 0).repeat(3, 2)
        return draw_grid(cells, agent=self.position, goal=self.GOAL)


class RandomWalk(gymnasium.Env):
    """A chain of states. The reward is 1 for leaving the chain at its right end, and otherwise 0.

    The episode starts in the middle state and ends when the chain is left. Actions: 0 left, 1 right. Without `choice`
    there is one action, and the direction is random. Under a random policy the i-th state, counted from 1, has the
    value i / (length + 1) (Sutton and Barto 2018, example 6.2).
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 4}  # noqa: RUF012  # Gymnasium's interface

    def __init__(self, length: int = 5, choice: bool = True, render_mode: str | None = None) -> None:
        """Create the chain.

        Args:
            length: Number of states, 1 to 10,000.
            choice: The agent chooses the direction. False means a random direction.
            render_mode: None or "rgb_array".

        Raises:
            EnvError: An argument is out of its range.
        """
        self.length = parameters.whole_number("length", length, 1, 10_000)
        self.choice = parameters.flag("choice", choice)
        self.render_mode = parameters.render_mode(render_mode)
        self.observation_space = Discrete(length)
        self.action_space = Discrete(2 if choice else 1)
        self.position = length // 2

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        """Start in the middle state."""
        super().reset(seed=seed)
        self.position = self.length // 2
        return self.position, {}

    def step(self, action: int) -> tuple[int, float, bool, bool, dict[str, Any]]:
        """Move to a neighbouring state, or leave the chain."""
        goes_right = action if self.choice else self.np_random.integers(2)
        position = self.position + (1 if goes_right else -1)
        terminated = not 0 <= position < self.length
        self.position = min(max(position, 0), self.length - 1)
        return self.position, float(position == self.length), terminated, False, {}

    def render(self) -> NDArray[np.uint8]:
        """Return a picture u8[H, W, 3] of the chain: the right end is green, the agent red."""
        cells = np.full((1, self.length, 3), 255, np.uint8)
        return draw_grid(cells, agent=(0, self.position), goal=(0, self.length - 1))


class Recall(gymnasium.Env):
    """A memory test: the first observation shows a cue, and the last action is rewarded according to the cue.

    The cue is 1 or -1 with equal probability; all other observations are 0. An episode has `length` steps. At the last
    step, action 1 gives the cue as the reward, and action 0 gives minus the cue. The best expected return is 1 with
    memory of the first observation, and 0 without.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 4}  # noqa: RUF012  # Gymnasium's interface
    CUE_COLOURS = {1.0: (86, 182, 120), -1.0: (70, 110, 190)}  # noqa: RUF012  # green and blue

    def __init__(self, length: int = 4, render_mode: str | None = None) -> None:
        """Create the test.

        Args:
            length: Steps of an episode, 1 to 10,000.
            render_mode: None or "rgb_array".

        Raises:
            EnvError: An argument is out of its range.
        """
        self.length = parameters.whole_number("length", length, 1, 10_000)
        self.render_mode = parameters.render_mode(render_mode)
        self.observation_space = Box(-1, 1, (1,), np.float32)
        self.action_space = Discrete(2)
        self.cue = 0.0
        self.step_count = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Draw the cue and show it."""
        super().reset(seed=seed)
        self.cue = float(self.np_random.choice([-1.0, 1.0]))
        self.step_count = 0
        return np.full(1, self.cue, np.float32), {}

    def step(self, action: int) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Count the step. The last one returns the reward."""
        self.step_count += 1
        terminated = self.step_count == self.length
        reward = 0.0
        if terminated:
            reward = self.cue if action else -self.cue
        return np.zeros(1, np.float32), reward, terminated, False, {}

    def render(self) -> NDArray[np.uint8]:
        """Return a picture u8[H, W, 3] with a cell for each step.

        The first cell is green if the cue is 1, otherwise blue. The present step is red, the last one yellow.
        """
        cells = np.full((1, self.length, 3), 255, np.uint8)
        cells[0, -1] = (240, 200, 90)
        cells[0, min(self.step_count, self.length - 1)] = AGENT_COLOUR
        cells[0, 0] = self.CUE_COLOURS.get(self.cue, (255, 255, 255))
        return draw_cells(cells)


def draw_grid(cells: NDArray[np.uint8], *, agent: tuple[int, int], goal: tuple[int, int]) -> NDArray[np.uint8]:
    """Return a picture of coloured cells with lines between them.

    Args:
        cells: Colours of the cells, u8[rows, columns, 3].
        agent: Row and column of the agent, drawn in red.
        goal: Row and column of the goal, drawn in green.

    Returns:
        u8[rows * 40, columns * 40, 3].
    """
    cells = cells.copy()
    cells[goal] = (86, 182, 120)
    cells[agent] = AGENT_COLOUR
    return draw_cells(cells)


def draw_cells(cells: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a picture u8[rows * 40, columns * 40, 3] of cells u8[rows, columns, 3] with lines between them."""
    picture = cells.repeat(CELL_PIXELS, 0).repeat(CELL_PIXELS, 1)
    picture[::CELL_PIXELS] = 200
    picture[:, ::CELL_PIXELS] = 200
    return picture


gymnasium.register("WindyGridworld-v0", "envs.textbook:WindyGridworld")
gymnasium.register("StochasticWindyGridworld-v0", "envs.textbook:WindyGridworld", kwargs={"slip": 0.2})
gymnasium.register("RandomWalk-v0", "envs.textbook:RandomWalk")
gymnasium.register("LongRandomWalk-v0", "envs.textbook:RandomWalk", kwargs={"length": 19, "choice": False})
gymnasium.register("Recall-v0", "envs.textbook:Recall")
gymnasium.register("LongRecall-v0", "envs.textbook:Recall", kwargs={"length": 12})
gymnasium.register(  # untrained agents need more than the 200 steps of MountainCar-v0
    "LongMountainCar-v0",
    "gymnasium.envs.classic_control.mountain_car:MountainCarEnv",
    max_episode_steps=1_000,
)
