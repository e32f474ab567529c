"""One environment that returns rendered screens with each row, for viewers.

ALE's vector environments do not render. An Atari environment is therefore run twice, with the same seed and the same
actions: one copy returns the preprocessed frames that the agent was trained on, the other copy returns the emulator's
colour screen, frame by frame. Both copies play the same game.
"""

from __future__ import annotations

import math
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np
from ale_py import AtariVectorEnv
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from numpy.typing import NDArray

from envs import atari, gymnasium_envs
from envs.guard import describe
from envs.headless import initialise_pygame_without_display
from envs.make import make_stream, stream_from_env
from envs.spec import EnvSpec
from envs.stream import Row, spread_seeds
from rl_lab.watch.images import RenderError, RgbImage, rendered_to_rgb

EMULATOR_FPS = 60
DEFAULT_RENDER_FPS = 15  # of environments whose metadata have no valid "render_fps"
MAX_RENDER_FPS = 1000
NEVER = 2**62  # steps


class RenderedEnv:
    """One environment with its screens: call `reset` once, then `step`."""

    def __init__(self, env_spec: EnvSpec) -> None:
        """Make the environment. Raises EnvError if it cannot be made or has no render mode "rgb_array"."""
        self.env_spec = env_spec
        self.screen_env: AtariVectorEnv | None = None  # the copy of an Atari environment that returns colour screens
        self.gymnasium_env: VectorEnv | None = None  # any other environment, which renders itself
        if env_spec.backend == "ale":
            self.stream = make_stream(env_spec, 1)
            self.screen_env = atari.make_screen_env(env_spec)
        else:
            self.gymnasium_env = _make_rendering_env(env_spec)
            self.stream = stream_from_env(self.gymnasium_env, env_spec)
        self.stream.reseed_after = NEVER  # the screen environment would have to be reset with the same new seeds
        self._was_last = False

    @property
    def screens_per_second(self) -> float:
        """Return the rate at which a viewer should show the screens."""
        if self.gymnasium_env is None:
            return EMULATOR_FPS
        return _valid_render_fps(self.gymnasium_env.metadata.get("render_fps"))

    @property
    def screens_per_step(self) -> int:
        """Return the number of screens of a step: the frame skip of an Atari environment, otherwise 1."""
        if self.screen_env is None:
            return 1
        return self.env_spec.frame_skip or 1

    def reset(self, seed: int) -> tuple[Row, list[RgbImage]]:
        """Begin the games of a seed. Return the first row and its screen.

        Raises:
            EnvFault: The environment failed.
            RenderError: The environment failed to render itself.
        """
        row = self.stream.reset(seed)
        self._was_last = False
        if self.screen_env is None:
            return row, [self._render()]
        obs, _ = self.screen_env.reset(seed=spread_seeds(seed, 1))
        return row, [_first_image(obs)]

    def step(self, action: int | NDArray[np.float32]) -> tuple[Row, list[RgbImage]]:
        """Take an action. After the last row of a game, any action begins the next game.

        Args:
            action: The number of the action, or a continuous action f32[D].

        Returns:
            The next row, and the screens since the row before, oldest first.

        Raises:
            EnvFault, RenderError: As `reset`.
        """
        actions = np.array([action])
        self.stream.send(actions)
        row = self.stream.recv()
        is_reset = self._was_last
        self._was_last = bool(row.is_last[0])
        if self.screen_env is None:
            return row, [self._render()]
        num_frames = 1 if is_reset else self.screens_per_step
        screens: list[RgbImage] = []
        for _ in range(num_frames):
            obs, _, terminated, truncated, _ = self.screen_env.step(self.stream.to_env_actions(actions))
            screens.append(_first_image(obs))
            if terminated[0] or truncated[0]:
                break
        return row, screens

    def close(self) -> None:
        """Close the environment and its copy. Errors of an environment that cannot be closed are ignored."""
        with suppress(Exception):
            self.stream.close()
        if self.screen_env is not None:
            self.screen_env.close()

    def _render(self) -> RgbImage:
        """Return the screen of an environment that renders itself. Raises RenderError if it has none."""
        assert self.gymnasium_env is not None
        name = self.env_spec.name
        try:
            rendered = self.gymnasium_env.render()
        except (Exception, SystemExit) as error:
            raise RenderError(f"{name} cannot be shown: render fails: {describe(error)}") from error
        try:
            return rendered_to_rgb(rendered[0] if rendered else None)
        except RenderError as error:
            raise RenderError(f"{name} cannot be shown: render {error}") from None


def _make_rendering_env(env_spec: EnvSpec) -> VectorEnv:
    """Return a vector environment of one Gymnasium environment that renders RGB images."""
    initialise_pygame_without_display()
    recipe = gymnasium_envs.recipe_of(env_spec)
    return SyncVectorEnv([partial(recipe.make, render_mode="rgb_array")], autoreset_mode=AutoresetMode.NEXT_STEP)


def _valid_render_fps(render_fps: Any) -> float:
    """Return the frames per second that an environment declares, or a default if that is no usable number."""
    try:
        fps = float(render_fps)
    except (TypeError, ValueError):
        return DEFAULT_RENDER_FPS
    if not math.isfinite(fps) or fps <= 0:
        return DEFAULT_RENDER_FPS
    return min(max(fps, 0.1), MAX_RENDER_FPS)


def _first_image(obs: Any) -> RgbImage:
    """Return the only image in the observations of the screen environment, u8[1, 1, H, W, 3]."""
    return np.asarray(obs, np.uint8)[0, 0]
