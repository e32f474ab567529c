"""An environment of your own: Catch (Mnih et al. 2014, "Recurrent models of visual attention").

A ball falls from a random column of a 10 x 5 board. The paddle in the lowest row moves left, stays or moves right. The
reward is 1 if the paddle catches the ball and -1 if not. An episode lasts 9 steps.

From this folder (or with it on PYTHONPATH), `module:id` imports the module and then makes the environment:

    python -m rl_lab train dqn --env catch:Catch-v0 --steps 20000 --learning-starts 500 --epsilon-steps 5000 --lr 1e-3
    python -m rl_lab watch latest
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray

ROWS, COLUMNS = 10, 5
PIXELS = 32  # height and width of one cell in the rendered picture


class Catch(gymnasium.Env):
    """Observation: float32[50], the board row by row, 1 at the ball and at the paddle. Actions: left, stay, right."""

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 8}  # noqa: RUF012  # as Gymnasium declares it

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode
        self.observation_space = Box(0, 1, (ROWS * COLUMNS,), np.float32)
        self.action_space = Discrete(3)
        self.ball = (0, 0)
        self.paddle = COLUMNS // 2

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Drop a ball from a random column. All randomness comes from `self.np_random`, so a seed gives one episode."""
        super().reset(seed=seed)
        self.ball = (0, int(self.np_random.integers(COLUMNS)))
        self.paddle = COLUMNS // 2
        return self._board().flatten(), {}

    def step(self, action: int) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Move the paddle by action - 1 columns and the ball down by one row."""
        self.paddle = int(np.clip(self.paddle + int(action) - 1, 0, COLUMNS - 1))
        row, column = self.ball
        self.ball = (row + 1, column)
        terminated = row + 1 == ROWS - 1
        reward = 0.0
        if terminated:
            reward = 1.0 if column == self.paddle else -1.0
        return self._board().flatten(), reward, terminated, False, {}

    def render(self) -> NDArray[np.uint8]:  # type: ignore[override]
        """Return a picture uint8[320, 160, 3] for `watch`."""
        picture = np.full((ROWS, COLUMNS, 3), 24, np.uint8)
        picture[ROWS - 1, self.paddle] = (86, 182, 120)
        picture[self.ball] = (240, 240, 240)
        return picture.repeat(PIXELS, 0).repeat(PIXELS, 1)

    def _board(self) -> NDArray[np.float32]:
        board = np.zeros((ROWS, COLUMNS), np.float32)
        board[self.ball] = 1
        board[ROWS - 1, self.paddle] = 1
        return board


gymnasium.register("Catch-v0", "catch:Catch")
