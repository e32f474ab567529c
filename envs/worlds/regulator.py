"""Regulator-v0: drive a point to 0 with little effort, in short or long steps (Baird 1993, "Advantage updating")."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray

from envs.worlds import parameters
from envs.worlds.drawing import BLUE, GREY, ORANGE, Area, Picture

DURATION = 10.0  # of an episode, in units of time


class Regulator(gymnasium.Env):
    """A point at x, whose velocity is the action u. The action is held for the time dt.

        dx/dt = u;   reward = -integral of (x^2 + u^2) over dt = -(x^2 dt + x u dt^2 + u^2 (dt + dt^3 / 3))

    The best u is close to -x for every small dt. The shorter dt is, the less a single action changes: the differences
    between the values of actions shrink in proportion to dt, and the value of the state does not (Baird 1993).

    The observation is float32[1]: x. The action u is a number in [-1, 1], or with `levels` one of that many evenly
    spaced numbers. An episode takes 10 units of time, that is 10 / dt steps, and is then truncated. It starts at an x
    that is drawn uniformly from [-1, 1].
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012  # Gymnasium's interface

    def __init__(self, dt: float = 0.1, levels: int = 0, render_mode: str | None = None) -> None:
        """Create the point.

        Args:
            dt: Time for which an action is held, 0.001 to 1.
            levels: Number of discrete actions, 2 to 201. 0 means continuous actions.
            render_mode: None or "rgb_array".

        Raises:
            EnvError: An argument is out of its range.
        """
        self.dt = parameters.number("dt", dt, 0.001, 1)
        levels = parameters.whole_number("levels", levels, 0, 201)
        if levels == 1:
            levels = parameters.whole_number("levels", levels, 2, 201)
        self.controls = np.linspace(-1, 1, levels)  # u of each discrete action
        self.render_mode = parameters.render_mode(render_mode)
        self.num_steps = round(DURATION / self.dt)
        self.observation_space = Box(-np.inf, np.inf, (1,), np.float32)
        self.action_space = Discrete(levels) if levels else Box(-1.0, 1.0, (1,), np.float32)
        self.x = 0.0
        self.cost = 0.0
        self.x_history: list[float] = []
        self.u_history: list[float] = []

    def optimum(self) -> float | None:
        """Return the expected score of an optimal policy, by the Riccati equation, or None with discrete actions.

        The least cost from x with n steps left is p_n x^2, where p_0 = 0 and

            p_{n+1} = min_k  dt - k dt^2 + k^2 (dt + dt^3 / 3) + p_n (1 - k dt)^2,   u = -k x

        The bounds of u do not matter, because k is at most 1. The expectation of x^2 at the start is 1/3.
        """
        if len(self.controls):
            return None
        dt = self.dt
        p = 0.0
        for _ in range(self.num_steps):
            k = (dt**2 / 2 + p * dt) / (dt + dt**3 / 3 + p * dt**2)
            p = dt - k * dt**2 + k**2 * (dt + dt**3 / 3) + p * (1 - k * dt) ** 2
        return -p / 3

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Draw the first x."""
        super().reset(seed=seed)
        self.x = float(self.np_random.uniform(-1, 1))
        self.cost = 0.0
        self.x_history = [self.x]
        self.u_history = []
        return self._obs(), {}

    def step(self, action: Any) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Hold the action for the time dt."""
        u = float(self.controls[action]) if len(self.controls) else float(action[0])
        dt = self.dt
        reward = -(self.x**2 * dt + self.x * u * dt**2 + u**2 * (dt + dt**3 / 3))
        self.x += u * dt
        self.cost -= reward
        self.x_history.append(self.x)
        self.u_history.append(u)
        return self._obs(), reward, False, len(self.u_history) == self.num_steps, {"u": u}

    def render(self) -> NDArray[np.uint8]:
        """Return a picture u8[400, 500, 3]: the point on its line above, the history of x and u below."""
        picture = Picture()
        u = self.u_history[-1] if self.u_history else 0.0
        time = len(self.u_history) * self.dt
        picture.text(f"time {time:.2f} of {DURATION:g}", 20, 24)
        picture.text(f"x {self.x:.3f}", 170, 24, BLUE)
        picture.text(f"u {u:.3f}", 270, 24, ORANGE)
        picture.text(f"cost {self.cost:.4f}", 370, 24)
        middle, half = 250, 220  # pixels
        picture.rectangle(Area(middle - half, 79, middle + half, 81), GREY)
        picture.rectangle(Area(middle, 70, middle + 1, 90), GREY)
        x = round(middle + half * min(max(self.x, -1.0), 1.0))
        arrow = round(100 * min(max(u, -1.0), 1.0))
        picture.rectangle(Area(min(x, x + arrow), 78, max(x, x + arrow), 82), ORANGE)
        picture.rectangle(Area(x - 8, 72, x + 8, 88), BLUE)
        chart = Area(20, 120, 480, 380)
        picture.level(chart, 0, -1, 1)
        picture.line(chart, self.u_history, self.num_steps + 1, -1, 1, ORANGE)
        picture.line(chart, self.x_history, self.num_steps + 1, -1, 1)
        return picture.pixels

    def _obs(self) -> NDArray[np.float32]:
        return np.array([self.x], np.float32)
