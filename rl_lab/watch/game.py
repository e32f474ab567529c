"""One environment of a card with its screen, so that what is watched is what training sees.

ALE's fast environments show no screen. But two of them that get the same seed and the same actions play the same game: one sends
the frames that the agent is trained on, the other one the emulator's coloured screen, frame by frame.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from ale_py import AtariVectorEnv
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from numpy.typing import NDArray

from envs import atari, gymnasium_envs
from envs.make import make_stream, stream_from_env
from envs.spec import EnvSpec
from envs.stream import Row, spread_seeds
from rl_lab.system.device import has_display

Screen = NDArray[np.uint8]  # [H, W, 3], RGB
EMULATOR_FPS = 60


class Game:
    """One environment: `reset`, then `step`, each with the screens that a person would have seen."""

    def __init__(self, env_spec: EnvSpec) -> None:
        self.env_spec = env_spec
        self.twin: AtariVectorEnv | None = None
        if env_spec.backend == "ale":
            self.stream = make_stream(env_spec, 1)
            self.twin = atari.make_screen_env(env_spec)
        else:
            _draw_without_display()
            spec = gymnasium_envs.find_gymnasium_spec(env_spec.id)
            self.env = SyncVectorEnv(
                [lambda: gymnasium_envs.make_env(spec, render_mode="rgb_array")], autoreset_mode=AutoresetMode.NEXT_STEP
            )
            self.stream = stream_from_env(self.env, env_spec)
        self.stream.reseed_after = 2**62  # the twin would have to be seeded anew too
        self.over = False

    @property
    def screens_per_second(self) -> float:
        """The speed at which the screens belong to be shown."""
        if self.twin is not None:
            return EMULATOR_FPS
        return float(self.env.metadata.get("render_fps") or 15)

    def reset(self, seed: int) -> tuple[Row, list[Screen]]:
        """Begin the game of a seed: the first row of a stream of one environment with that seed."""
        row = self.stream.reset(seed)
        self.over = False
        if self.twin is None:
            return row, [self._render()]
        obs, _ = self.twin.reset(seed=spread_seeds(seed, 1))
        return row, [_picture(obs)]

    def step(self, action: int) -> tuple[Row, list[Screen]]:
        """Take an action; the row that comes and the screens until then. After a game's last row the next one begins."""
        actions = np.array([action])
        self.stream.send(actions)
        row = self.stream.recv()
        begins, self.over = self.over, bool(row.is_last[0])
        if self.twin is None:
            return row, [self._render()]
        screens: list[Screen] = []
        for _ in range(1 if begins else self.env_spec.frame_skip or 1):
            obs, _, terminated, truncated, _ = self.twin.step(self.stream.to_env_actions(actions))
            screens.append(_picture(obs))
            if terminated[0] or truncated[0]:
                break
        return row, screens

    def _render(self) -> Screen:
        (picture,) = self.env.render()  # type: ignore[misc]
        return np.asarray(picture, np.uint8)

    def close(self) -> None:
        self.stream.close()
        if self.twin is not None:
            self.twin.close()


def _draw_without_display() -> None:
    """Where there is no display, let pygame, which draws many environments, not look for one and complain."""
    if has_display() or "SDL_VIDEODRIVER" in os.environ:
        return
    os.environ["SDL_VIDEODRIVER"], os.environ["PYGAME_HIDE_SUPPORT_PROMPT"] = "dummy", "1"
    try:
        import pygame

        pygame.display.init()
    finally:
        del os.environ["SDL_VIDEODRIVER"]


def _picture(obs: Any) -> Screen:
    return np.asarray(obs, np.uint8)[0, 0]
