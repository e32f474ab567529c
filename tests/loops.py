"""Agents in a training loop with toy environments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, overload

import gymnasium
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from toy_envs import NumberedSteps

from agents.configs.dqn import DQNConfig
from agents.core.types import EnvSpaces, StepResult
from agents.dqn import DQN
from agents.memory.rollout import RolloutBatch
from envs.stream import Stream
from rl_lab.training.overlapped_loop import LoopAgent, OverlappedLoop

CPU = torch.device("cpu")

EnvFactory = Callable[[], gymnasium.Env]
AgentT = TypeVar("AgentT", bound=LoopAgent)


@overload
def toy_loop(
    config: DQNConfig, num_envs: int, env: EnvFactory = ..., seed: int = ...
) -> tuple[DQN, OverlappedLoop]: ...


@overload
def toy_loop(
    config: Any, num_envs: int, env: EnvFactory = ..., seed: int = ..., *, cls: Callable[..., AgentT]
) -> tuple[AgentT, OverlappedLoop]: ...


def toy_loop(
    config: Any, num_envs: int, env: EnvFactory = NumberedSteps, seed: int = 1, cls: Callable[..., Any] = DQN
) -> tuple[Any, OverlappedLoop]:
    """Return an untrained agent, and its loop over `num_envs` toy environments.

    Args:
        config: Settings of the agent.
        num_envs: Number of environments.
        env: Class or function that makes an environment.
        seed: Seed of the agent and of the environments.
        cls: Class of the agent.
    """
    stream = Stream(SyncVectorEnv([env] * num_envs, autoreset_mode=AutoresetMode.NEXT_STEP))
    spaces = EnvSpaces(stream.obs_shape, torch.float32, stream.num_actions, num_envs, action_dim=stream.action_dim)
    agent = cls(config, spaces, seed=seed, device=CPU)
    return agent, OverlappedLoop(agent, stream, CPU, seed)


def step_both(loop: OverlappedLoop, other: LoopAgent, num_rows: int) -> None:
    """Step a loop, and let another agent act and observe in the same rows as the agent of the loop."""
    for _ in range(num_rows):
        row = loop.row
        pending = loop.pending
        assert pending is not None
        other.act(torch.from_numpy(row.obs), torch.from_numpy(row.is_first), loop.carry, explore=True)
        other.observe(pending)
        loop.step()


def record_batches(
    agent: Any, loop: OverlappedLoop, num_batches: int
) -> tuple[list[tuple[StepResult, list[float]]], list[tuple[RolloutBatch, int]]]:
    """Step a loop until its agent, which learns from rollouts, has learned from a number of batches.

    Returns:
        Each row with V(s) when it was played, and each batch with the number of the newest row.
    """
    rows: list[tuple[StepResult, list[float]]] = []
    batches: list[tuple[RolloutBatch, int]] = []
    observe = agent.observe
    learn = agent.learn

    def recording_observe(step: StepResult) -> Any:
        rows.append((step, agent.acting_records[0][1].tolist()))
        return observe(step)

    def recording_learn(batch: RolloutBatch) -> Any:
        batches.append((batch, len(rows) - 1))
        return learn(batch)

    agent.observe = recording_observe
    agent.learn = recording_learn
    while len(batches) < num_batches:
        loop.step()
    return rows, batches
