"""Builds what a configuration describes: the agent, its environments, and the answers to "auto"."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch

from agents.base import Agent, RowSpec
from envs.card import EnvCard
from envs.make import make_stream, resolve
from envs.stream import Stream
from rl_lab.cluster import require_ray
from rl_lab.config import Config
from rl_lab.device import check_memory, num_cores, resolve_device, resolve_precision
from rl_lab.loop import Loop
from rl_lab.registry import find_agent

EVAL_ENVS = 10  # at most so many games of an evaluation run side by side


def row_spec(card: EnvCard, num_envs: int) -> RowSpec:
    """What an agent is told of the card's environment."""
    bounds = None if card.one_hot else card.bounds
    return RowSpec(card.frame, getattr(torch, card.dtype), card.num_actions, num_envs, card.one_hot, bounds)


def make_agent(config: Config, card: EnvCard, device: torch.device) -> Agent:
    """The agent of a resolved configuration, untrained."""
    cls = find_agent(config.agent).load()
    dtype = resolve_precision(config.run.precision, device)
    return cls(config.settings, row_spec(card, config.run.num_envs), seed=config.run.seed, device=device, dtype=dtype)


def make_player(config: Config, card: EnvCard) -> Agent:
    """The same to be played with on this machine's CPU, wherever it is trained."""
    on_cpu = dataclasses.replace(config.run, device="cpu", precision="float32")
    return make_agent(dataclasses.replace(config, run=on_cpu), card, torch.device("cpu"))


def make_envs(config: Config, card: EnvCard, num_envs: int) -> Stream:
    """`num_envs` environments of the card, run the way the configuration says."""
    run = config.run
    threads = run.emulator_threads or num_cores()
    return make_stream(card, num_envs, threads=threads, vectorization=run.vectorization)


def make_loop(config: Config, card: EnvCard, agent: Agent, device: torch.device) -> Any:
    """The loop over the configuration's environments; an agent that brings its own (SB3's) gets a stream for each of them."""
    run = config.run
    if run.collectors:
        require_ray()
        from rl_lab.collect.loop import CollectorLoop  # needs Ray

        return CollectorLoop(config, card, agent, device)
    own = getattr(agent, "make_loop", None)
    if own is None:
        return Loop(agent, make_envs(config, card, run.num_envs), device, run.seed)
    return own([make_envs(config, card, 1) for _ in range(run.num_envs)], run.seed)


def learned_with(config: Config) -> tuple[float, float]:
    """The discount of an agent and the clip of its rewards: what its values are values of."""
    return getattr(config.settings, "gamma", 1.0), getattr(config.settings, "reward_clip", 0.0)


def make_explicit(config: Config, card: EnvCard) -> Config:
    """The configuration with every "auto" replaced by what it means on this machine and env."""
    device = resolve_device(config.run.device)
    mixed = getattr(find_agent(config.agent).load(), "mixed_precision", True) and row_spec(card, 1).is_image
    precision = str(resolve_precision(config.run.precision if mixed else "float32", device)).removeprefix("torch.")
    as_named = card.protocol == "id" or resolve(config.run.env, card.protocol).sticky != card.sticky  # old Gym ids
    protocol = "auto" if as_named else card.protocol
    run = dataclasses.replace(config.run, device=device.type, precision=precision, protocol=protocol)  # type: ignore[arg-type]
    return dataclasses.replace(config, run=run)


def memory_needed(config: Config, card: EnvCard) -> int:
    """The bytes that the agent's memory will take on its device."""
    return find_agent(config.agent).load().bytes_needed(config.settings, row_spec(card, config.run.num_envs))


def check_fits(config: Config, card: EnvCard) -> int:
    """The same. Raises LabError where the device has not as many free."""
    needed = memory_needed(config, card)
    check_memory(needed, resolve_device(config.run.device))
    return needed
