"""A game of a run that is training, as a video in its folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from agents.core.agent import Agent
from rl_lab.experiment.run import Run
from rl_lab.watch.game import Game
from rl_lab.watch.player import Player
from rl_lab.watch.show import picture_rate, show
from rl_lab.watch.sinks.video import SUFFIX, Video


def film(run: Run, agent: Agent, step: int, seed: int, device: torch.device, each_moment: Callable[[], None]) -> Path:
    """Play the game of a seed with the run's evaluation epsilon; returns the video, named after the agent step.

    What `each_moment` raises ends the film and leaves none. Raises LabError where it cannot be written.
    """
    config, path = run.config, run.path / "videos" / f"step-{step:09}{SUFFIX}"
    epsilon = config.run.eval_epsilon
    player = Player(agent, config, Game(run.env_spec), epsilon=epsilon, seed=seed, device=device)
    title = f"{config.agent}, {run.env_spec.name}, step {step:,}, epsilon {epsilon:g}"
    video = Video(path, picture_rate(player, smooth=False))
    try:
        show(player, video, title=lambda: title, episodes=1, each_moment=each_moment)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return path
