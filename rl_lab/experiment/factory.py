"""Builds what a configuration describes: the agent, its environments, and the answers to "auto"."""

from __future__ import annotations

import dataclasses

import torch

from agents.core.agent import Agent
from agents.core.types import EnvSpaces
from envs.make import make_stream, resolve
from envs.spec import EnvSpec
from envs.stream import Stream
from rl_lab.experiment.config import Config
from rl_lab.experiment.registry import find_agent
from rl_lab.system.device import check_memory, num_cores, resolve_device, resolve_precision

EVAL_ENVS = 10  # at most so many games of an evaluation run side by side


def env_spaces(env_spec: EnvSpec, num_envs: int) -> EnvSpaces:
    """What an agent is told of the card's environment."""
    bounds = None if env_spec.one_hot else env_spec.bounds
    return EnvSpaces(
        env_spec.frame, getattr(torch, env_spec.dtype), env_spec.num_actions, num_envs, env_spec.one_hot, bounds
    )


def make_agent(config: Config, env_spec: EnvSpec, device: torch.device) -> Agent:
    """The agent of a resolved configuration, untrained."""
    cls = find_agent(config.agent).load()
    dtype = resolve_precision(config.run.precision, device)
    return cls(
        config.settings, env_spaces(env_spec, config.run.num_envs), seed=config.run.seed, device=device, dtype=dtype
    )


def make_cpu_agent(config: Config, env_spec: EnvSpec) -> Agent:
    """The same to be played with on this machine's CPU, wherever it is trained."""
    on_cpu = dataclasses.replace(config.run, device="cpu", precision="float32")
    return make_agent(dataclasses.replace(config, run=on_cpu), env_spec, torch.device("cpu"))


def make_envs(config: Config, env_spec: EnvSpec, num_envs: int) -> Stream:
    """`num_envs` environments of the card, run the way the configuration says."""
    run = config.run
    threads = run.emulator_threads or num_cores()
    return make_stream(env_spec, num_envs, threads=threads, vectorization=run.vectorization)


def value_scaling(config: Config) -> tuple[float, float]:
    """The discount of an agent and the clip of its rewards: what its values are values of."""
    return getattr(config.settings, "gamma", 1.0), getattr(config.settings, "reward_clip", 0.0)


def make_explicit(config: Config, env_spec: EnvSpec) -> Config:
    """The configuration with every "auto" replaced by what it means on this machine and env."""
    device = resolve_device(config.run.device)
    mixed = getattr(find_agent(config.agent).load(), "mixed_precision", True) and env_spaces(env_spec, 1).is_image
    precision = str(resolve_precision(config.run.precision if mixed else "float32", device)).removeprefix("torch.")
    as_named = (
        env_spec.protocol == "id" or resolve(config.run.env, env_spec.protocol).sticky != env_spec.sticky
    )  # old Gym ids
    protocol = "auto" if as_named else env_spec.protocol
    run = dataclasses.replace(config.run, device=device.type, precision=precision, protocol=protocol)  # type: ignore[arg-type]
    return dataclasses.replace(config, run=run)


def memory_needed(config: Config, env_spec: EnvSpec) -> int:
    """The bytes that the agent's memory will take on its device."""
    return find_agent(config.agent).load().bytes_needed(config.settings, env_spaces(env_spec, config.run.num_envs))


def check_fits(config: Config, env_spec: EnvSpec) -> int:
    """The same. Raises LabError where the device has not as many free."""
    needed = memory_needed(config, env_spec)
    check_memory(needed, resolve_device(config.run.device))
    return needed
