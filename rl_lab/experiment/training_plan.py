"""The plan of a training run: all that is decided and checked before the run folder exists."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from agents.core.agent import Agent
from agents.core.types import EnvSpaces
from envs import make
from envs.spec import AtariProtocol, EnvSpec
from rl_lab.experiment.config import Config
from rl_lab.experiment.factory import env_spaces
from rl_lab.experiment.registry import AgentClass, find_agent
from rl_lab.system.device import resolve_device
from rl_lab.system.disk import check_disk
from rl_lab.system.memory_budget import check_memory, keep_freed_memory
from rl_lab.system.precision import resolve_precision


@dataclass(frozen=True)
class TrainingPlan:
    """Everything about a training run that does not change while it runs."""

    config: Config
    """The configuration, with every "auto" replaced by its value on this machine."""
    env_spec: EnvSpec
    device: torch.device
    dtype: torch.dtype
    """Type in which the encoder of images computes."""
    agent_class: AgentClass
    spaces: EnvSpaces
    replay_bytes: int
    """Bytes that the agent's memory (replay or rollout) takes on the device."""
    checkpoint_bytes: int
    """Bytes of that memory on disk: 0 if the agent is not resumable, because its memory is not saved."""

    def check_memory(self) -> None:
        """Raise LabError if the agent's memory does not fit into the free memory of the device."""
        check_memory(self.replay_bytes, self.device)

    def check_disk(self) -> None:
        """Raise LabError if a checkpoint does not fit on the disk of the run folders."""
        check_disk(Path(self.config.run.runs_dir), self.checkpoint_bytes)

    def make_agent(self) -> Agent:
        """Return the untrained agent, and seed the generators that training uses besides the agent's own."""
        keep_freed_memory()
        torch.manual_seed(self.config.run.seed)  # dropout draws from PyTorch's global generator
        return self.agent_class(
            self.config.settings, self.spaces, seed=self.config.run.seed, device=self.device, dtype=self.dtype
        )


def plan_training(config: Config, env_spec: EnvSpec) -> TrainingPlan:
    """Return the plan of a run. Raises LabError if the device is not available."""
    entry = find_agent(config.agent)
    agent_class = entry.load()
    spaces = env_spaces(env_spec, config.run.num_envs)
    device = resolve_device(config.run.device)
    computes_in_bfloat16 = entry.abilities.bfloat16 and spaces.is_image
    dtype = resolve_precision(config.run.precision if computes_in_bfloat16 else "float32", device)
    replay_bytes = agent_class.bytes_needed(config.settings, spaces)
    run = dataclasses.replace(
        config.run,
        device=device.type,
        precision=str(dtype).removeprefix("torch."),
        protocol=_protocol_setting(config, env_spec),
    )
    return TrainingPlan(
        config=dataclasses.replace(config, run=run),
        env_spec=env_spec,
        device=device,
        dtype=dtype,
        agent_class=agent_class,
        spaces=spaces,
        replay_bytes=replay_bytes,
        checkpoint_bytes=replay_bytes if entry.abilities.resumable else 0,
    )


def _protocol_setting(config: Config, env_spec: EnvSpec) -> AtariProtocol | Literal["auto"]:
    """Return the value of the setting `protocol` from which the environment spec can be resolved again.

    The value is "auto" if the name alone decides. That is so for Gymnasium ids, and for old Gym ids such as
    PongNoFrameskip-v0, whose sticky actions differ from those of every protocol.
    """
    if env_spec.protocol == "id":
        return "auto"
    named = make.resolve(config.run.env, env_spec.protocol)
    if named.sticky != env_spec.sticky:
        return "auto"
    return env_spec.protocol
