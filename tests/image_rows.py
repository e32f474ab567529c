"""Rows of random images for agents that are tested without an environment."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from loops import CPU
from torch import Tensor

from agents.core.types import EnvSpaces, StepResult


def random_images(*shape: int, seed: int = 0) -> Tensor:
    """Return random images uint8[*shape]."""
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8))


def random_row(spaces: EnvSpaces, action: Tensor, number: int) -> StepResult:
    """Return row `number` of an endless episode of random images, whose action is given."""
    n = spaces.num_envs
    false = torch.zeros(n, dtype=torch.bool)
    reward = torch.from_numpy(np.random.default_rng(number).normal(size=n).astype(np.float32))
    obs = random_images(n, *spaces.obs_shape, seed=number)
    return StepResult(obs, torch.full((n,), number == 0), false, action, reward, false, false, num_active=n)


def play(agents: list[Any], spaces: EnvSpaces, carries: list[Any], rows: range) -> None:
    """Let agents act and learn in the same rows. `carries` holds the carry of each agent and is changed."""
    for number in rows:
        obs = random_images(spaces.num_envs, *spaces.obs_shape, seed=number)
        is_first = torch.full((spaces.num_envs,), number == 0)
        for i, agent in enumerate(agents):
            action, carries[i] = agent.act(obs, is_first, carries[i], explore=True)
            agent.observe(random_row(spaces, action, number))


def trained(cls: Any, config: Any, spaces: EnvSpaces, *, rows: int) -> tuple[Any, Any]:
    """Return an agent after a number of rows, and its carry."""
    agent = cls(config, spaces, seed=1, device=CPU)
    carries = [agent.initial_carry(spaces.num_envs)]
    play([agent], spaces, carries, range(rows))
    return agent, carries[0]
