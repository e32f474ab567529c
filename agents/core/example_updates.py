"""Random observations and rows, with which the time of an update can be measured before a training begins."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from agents.core.agent import Agent
from agents.core.types import EnvSpaces, StepResult


def random_observations(spaces: EnvSpaces, shape: tuple[int, ...], device: torch.device) -> Tensor:
    """Return random observations [*shape, *obs_shape].

    All bytes of packed observations are 0. Random bytes could be NaN when they are read as float32.

    Args:
        spaces: Shapes and types of observations. Bytes are uniform, other numbers have a standard normal distribution.
        shape: Dimensions before those of an observation.
        device: Device of the result.
    """
    full_shape = (*shape, *spaces.obs_shape)
    if spaces.packed is not None:
        return torch.zeros(full_shape, dtype=spaces.dtype, device=device)
    generator = torch.Generator().manual_seed(0)
    if spaces.dtype == torch.uint8:
        return torch.randint(0, 256, full_shape, dtype=torch.uint8, generator=generator).to(device)
    return torch.randn(full_shape, generator=generator).to(device)


def zero_actions(spaces: EnvSpaces, n: int, device: torch.device) -> Tensor:
    """Return n times the action 0, i64[n], or the action of zeros, f32[n, D], with continuous actions."""
    dtype = torch.float32 if spaces.is_continuous else torch.int64
    return torch.zeros((n, *spaces.action_shape), dtype=dtype, device=device)


def random_rows(agent: Agent, spaces: EnvSpaces, num_rows: int, device: torch.device) -> Iterator[StepResult]:
    """Yield rows of random observations, with the actions that the agent chooses. No episode ends.

    Args:
        agent: The agent.
        spaces: Shapes and types of observations and actions, and the number of environments.
        num_rows: Number of rows.
        device: Device of the agent.
    """
    n = spaces.num_envs
    carry = agent.initial_carry(n)
    false = torch.zeros(n, dtype=torch.bool, device=device)
    obs = random_observations(spaces, (num_rows, n), device)
    for i in range(num_rows):
        is_first = torch.full_like(false, i == 0)
        action, carry = agent.act(obs[i], is_first, carry, explore=True)
        reward = torch.ones(n, device=device)
        yield StepResult(obs[i], is_first, false, action, reward, false, false, num_active=n)
