"""Record a video of an agent while it trains."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from agents.core.agent import Agent
from envs.global_random import global_generators_seeded
from rl_lab.experiment.run import Run
from rl_lab.watch.player import Player
from rl_lab.watch.rendered_env import RenderedEnv
from rl_lab.watch.show_games import frame_rate, show_games
from rl_lab.watch.sinks.video import SUFFIX, VideoSink


def record_video(
    run: Run, agent: Agent, step: int, seed: int, device: torch.device, after_step: Callable[[], None]
) -> Path:
    """Play one game with the run's evaluation epsilon, and write a video into the folder "videos" of the run.

    Args:
        run: The run that trains the agent.
        agent: The agent, which does not learn from this game.
        step: Agent steps of the training so far; the file is named after this number.
        seed: Seed of the game.
        device: Device of the agent.
        after_step: Is called after each step of the game. If it raises, the recording ends and the file is removed.

    Returns:
        The path of the video.

    Raises:
        LabError: The video cannot be written, or the environment cannot be shown.
        EnvFault: The environment failed.
    """
    epsilon = run.config.run.eval_epsilon
    path = run.path / "videos" / f"step-{step:09}{SUFFIX}"
    title = f"{run.config.agent}, {run.env_spec.name}, step {step:,}, epsilon {epsilon:g}"
    # The environment seeds the global generators, from which training may draw (Stable-Baselines3 does).
    with global_generators_seeded(seed):
        return _record(run, agent, path, title, seed, device, after_step)


def _record(
    run: Run, agent: Agent, path: Path, title: str, seed: int, device: torch.device, after_step: Callable[[], None]
) -> Path:
    """Write the video. The arguments are those of `record_video`; `title` is the first line of the panel."""
    epsilon = run.config.run.eval_epsilon
    env = RenderedEnv(run.env_spec)
    try:
        player = Player(agent, run.config, env, epsilon=epsilon, seed=seed, device=device)
        video = VideoSink(path, frame_rate(player, smooth=False))
    except BaseException:
        env.close()
        raise
    try:
        show_games(player, video, title=lambda: title, episodes=1, after_step=after_step)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return path
