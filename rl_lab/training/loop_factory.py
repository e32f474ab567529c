"""The choice of the training loop of a run."""

from __future__ import annotations

import torch

from agents.core.agent import Agent
from envs.spec import EnvSpec
from envs.stream import spread_seeds
from rl_lab.distributed.ray_cluster import require_ray
from rl_lab.experiment.config import Config
from rl_lab.experiment.factory import make_envs
from rl_lab.training.overlapped_loop import OverlappedLoop
from rl_lab.training.training_loop import BringsOwnLoop, TrainingLoop


def make_loop(config: Config, env_spec: EnvSpec, agent: Agent, device: torch.device) -> TrainingLoop:
    """Return the training loop of a run, with its environments.

    The loop is a `CollectorLoop` if the run has collectors, else the agent's own if it brings one, else an
    `OverlappedLoop`.

    Raises:
        LabError: Collectors are set, and Ray is not installed or the agent cannot learn from collectors.
    """
    run = config.run
    if run.collectors:
        require_ray("--collectors")
        from rl_lab.distributed.collector_loop import CollectorLoop  # imports Ray, an optional dependency

        return CollectorLoop(config, env_spec, agent, device)
    if isinstance(agent, BringsOwnLoop):
        seeds = spread_seeds(run.seed, run.num_envs).tolist()
        streams = [make_envs(config, env_spec, 1, seed=seed) for seed in seeds]
        return agent.make_loop(streams, run.seed)
    stream = make_envs(config, env_spec, run.num_envs)
    return OverlappedLoop(agent, stream, device, run.seed)
