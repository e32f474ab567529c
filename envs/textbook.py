"""The small worlds of the textbooks, registered under Gymnasium ids when this module is imported."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray


class WindyGridworld(gymnasium.Env):
    """7 x 10 cells, a wind that blows upwards, -1 a step until the goal (Sutton and Barto 2018, example 6.5).

    Actions: up, right, down, left. `slip`: the probability that a step goes in a random one of these directions
    (van Seijen et al. 2009 use .2 for their stochastic version).
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 4}  # noqa: RUF012  # as Gymnasium has it
    WIND = (0, 0, 0, 1, 1, 1, 2, 2, 1, 0)
    START, GOAL = (3, 0), (3, 7)
    MOVES = ((-1, 0), (0, 1), (1, 0), (0, -1))

    def __init__(self, slip: float = 0.0, render_mode: str | None = None) -> None:
        self.slip, self.render_mode = slip, render_mode
        self.observation_space, self.action_space = Discrete(70), Discrete(4)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        super().reset(seed=seed)
        self.place = self.START
        return self._obs(), {}

    def step(self, action: int) -> tuple[int, float, bool, bool, dict[str, Any]]:
        if self.slip and self.np_random.random() < self.slip:
            action = int(self.np_random.integers(4))
        self.place = self.move(self.place, action)
        return self._obs(), -1.0, self.place == self.GOAL, False, {}

    @classmethod
    def move(cls, place: tuple[int, int], action: int) -> tuple[int, int]:
        """Where an action leads: a step, and the wind of the column it starts from."""
        down, right = cls.MOVES[action]
        row, column = place[0] + down - cls.WIND[place[1]], place[1] + right
        return int(np.clip(row, 0, 6)), int(np.clip(column, 0, 9))

    def _obs(self) -> int:
        return self.place[0] * 10 + self.place[1]

    def render(self) -> NDArray[np.uint8]:  # type: ignore[override]
        """The cells, darker where the wind is stronger, the goal green and the agent red."""
        cells = np.repeat(255 - 30 * np.array(self.WIND, np.uint8)[None, :, None], 7, 0).repeat(3, 2)
        return grid(cells, self.place, self.GOAL)


class RandomWalk(gymnasium.Env):
    """A chain of `length` states from its middle on; left and right; 1 for leaving it at the right end, else 0.

    Without `choice` there is one action, and chance goes left or right. Then, and under a random policy, state i (from 1) has
    the value i / (length + 1) (Sutton and Barto 2018, example 6.2).
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 4}  # noqa: RUF012  # as Gymnasium has it

    def __init__(self, length: int = 5, choice: bool = True, render_mode: str | None = None) -> None:
        self.length, self.choice, self.render_mode = length, choice, render_mode
        self.observation_space, self.action_space = Discrete(length), Discrete(2 if choice else 1)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        super().reset(seed=seed)
        self.place = self.length // 2
        return self.place, {}

    def step(self, action: int) -> tuple[int, float, bool, bool, dict[str, Any]]:
        right = action if self.choice else self.np_random.integers(2)
        place = self.place + (1 if right else -1)
        over = not 0 <= place < self.length
        self.place = min(max(place, 0), self.length - 1)
        return self.place, float(place == self.length), over, False, {}

    def render(self) -> NDArray[np.uint8]:  # type: ignore[override]
        """The chain, its right end green and the agent red."""
        return grid(np.full((1, self.length, 3), 255, np.uint8), (0, self.place), (0, self.length - 1))


class Recall(gymnasium.Env):
    """The first of `length` rows shows 1 or -1, the others 0; at the last one action 1 pays that, action 0 the opposite.

    Who sees only the present row gets 0 on average, who remembers the first one 1.
    """

    def __init__(self, length: int = 4) -> None:
        self.length = length
        self.observation_space, self.action_space = Box(-1, 1, (1,), np.float32), Discrete(2)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        super().reset(seed=seed)
        self.cue, self.row = float(self.np_random.choice([-1.0, 1.0])), 0
        return np.full(1, self.cue, np.float32), {}

    def step(self, action: int) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        self.row += 1
        over = self.row == self.length
        return np.zeros(1, np.float32), self.cue * (1 if action else -1) if over else 0.0, over, False, {}


def grid(cells: NDArray[np.uint8], agent: tuple[int, int], goal: tuple[int, int]) -> NDArray[np.uint8]:
    """Cells of one colour each, u8[rows, columns, 3], as a picture of squares with lines between them."""
    cells = cells.copy()
    cells[goal], cells[agent] = (86, 182, 120), (214, 86, 72)
    picture = cells.repeat(40, 0).repeat(40, 1)
    picture[::40], picture[:, ::40] = 200, 200
    return picture


gymnasium.register("WindyGridworld-v0", "envs.textbook:WindyGridworld")
gymnasium.register("StochasticWindyGridworld-v0", "envs.textbook:WindyGridworld", kwargs={"slip": 0.2})
gymnasium.register("RandomWalk-v0", "envs.textbook:RandomWalk")
gymnasium.register("LongRandomWalk-v0", "envs.textbook:RandomWalk", kwargs={"length": 19, "choice": False})
gymnasium.register("Recall-v0", "envs.textbook:Recall")
gymnasium.register("LongRecall-v0", "envs.textbook:Recall", kwargs={"length": 12})
gymnasium.register(  # the 200 steps of MountainCar-v0 cut what untrained agents need
    "LongMountainCar-v0",
    "gymnasium.envs.classic_control.mountain_car:MountainCarEnv",
    max_episode_steps=1_000,
)
