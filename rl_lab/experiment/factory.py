"""Construction of agents and environments from a resolved configuration."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch

from agents.core.agent import Agent
from agents.core.memory_needs import MemoryNeed
from agents.core.types import EnvSpaces, PackedLayout
from envs.make import make_stream
from envs.spec import EnvSpec
from envs.stream import Stream
from rl_lab.experiment.config import Config
from rl_lab.experiment.registry import AgentClass, find_agent
from rl_lab.system.cores import num_cores
from rl_lab.system.memory_budget import check_memory
from rl_lab.system.precision import resolve_precision

MAX_EVAL_ENVS = 10
"""Most environments that an evaluation steps side by side."""

OBSERVATION_DTYPES = {"uint8": torch.uint8, "float32": torch.float32}


def env_spaces(env_spec: EnvSpec, num_envs: int) -> EnvSpaces:
    """Return the shapes and types of observations and actions, which are all that an agent is told."""
    return EnvSpaces(
        obs_shape=env_spec.frame,
        dtype=OBSERVATION_DTYPES[env_spec.dtype],
        num_actions=env_spec.num_actions,
        num_envs=num_envs,
        one_hot=env_spec.one_hot,
        bounds=None if env_spec.one_hot else env_spec.bounds,
        kind=env_spec.obs_kind,
        packed=_packed_layout(env_spec),
        state_sizes=env_spec.state_sizes,
        action_parts=env_spec.action_parts,
        action_dim=len(env_spec.action_bounds),
    )


def _packed_layout(env_spec: EnvSpec) -> PackedLayout | None:
    """Return the layout of packed observations as agents know it."""
    packed = env_spec.packed
    if packed is None:
        return None
    return PackedLayout(
        vector=packed.vector,
        spatial=packed.spatial,
        spatial_kind=packed.spatial_kind,
        spatial_dtype=OBSERVATION_DTYPES[packed.spatial_dtype],
        num_masked=packed.num_masked,
    )


def agent_needs(agent_class: AgentClass, settings: Any, spaces: EnvSpaces) -> list[MemoryNeed]:
    """Return what the parts of an agent take of the memory. An agent class without `memory_needs` has one part."""
    memory_needs = getattr(agent_class, "memory_needs", None)
    if memory_needs is not None:
        return memory_needs(settings, spaces)
    memory_bytes = agent_class.bytes_needed(settings, spaces)
    return [MemoryNeed("the memory of the agent", memory_bytes, "lower its size", memory_bytes)]


def make_agent(config: Config, env_spec: EnvSpec, device: torch.device) -> Agent:
    """Return the untrained agent of a configuration. Raise LabError if its networks do not fit into free memory.

    The memory of the agent (replay or rollout) is not counted: it is allocated when the agent begins to learn.
    """
    agent_class = find_agent(config.agent).load()
    spaces = env_spaces(env_spec, config.run.num_envs)
    network_size = getattr(agent_class, "network_size", None)
    if network_size is not None:
        copies = 2  # with a target network
        weight_bytes = copies * network_size(config.settings, spaces).weight_bytes
        check_memory([MemoryNeed("the network", weight_bytes, "use a machine with more memory")], device, reserve=0)
    dtype = resolve_precision(config.run.precision, device)
    return agent_class(config.settings, spaces, seed=config.run.seed, device=device, dtype=dtype)


def make_cpu_agent(config: Config, env_spec: EnvSpec) -> Agent:
    """Return the untrained agent on the CPU in float32, whatever it is trained on."""
    run = dataclasses.replace(config.run, device="cpu", precision="float32")
    return make_agent(dataclasses.replace(config, run=run), env_spec, torch.device("cpu"))


def make_envs(config: Config, env_spec: EnvSpec, num_envs: int, *, seed: int | None = None) -> Stream:
    """Return a stream of `num_envs` environments.

    Args:
        config: The configuration of the run.
        env_spec: Specification of the environments.
        num_envs: Number of environments.
        seed: Seed of what the environments draw while they are created. None is the seed of the run. Several streams of
            one run need different seeds.
    """
    run = config.run
    threads = run.emulator_threads or num_cores()
    creation_seed = run.seed if seed is None else seed
    return make_stream(env_spec, num_envs, threads=threads, vectorization=run.vectorization, seed=creation_seed)


def make_eval_envs(config: Config, env_spec: EnvSpec, episodes: int) -> Stream:
    """Return the environments for an evaluation of `episodes` episodes."""
    return make_envs(config, env_spec, min(MAX_EVAL_ENVS, episodes))
