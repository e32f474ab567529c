"""A trained agent as a module that maps an observation and a state to an action: what ONNX and TorchScript hold."""

from __future__ import annotations

import json
from typing import NamedTuple

import torch
from torch import Tensor, nn

from agents.core.agent import Agent
from agents.core.types import Carry
from envs.spec import EnvSpec
from rl_lab.errors import LabError
from rl_lab.experiment.factory import OBSERVATION_DTYPES


class PolicyInputs(NamedTuple):
    """The inputs of a `PolicyModule`, for N environments."""

    obs: Tensor  # [N, *obs_shape], not stacked
    is_first: Tensor  # bool[N]
    state: Carry  # tensors [N, ...]


class PolicyModule(nn.Module):
    """The greedy policy of an agent.

    The state holds the stacked observations and the recurrent state, which is zero before the first call. Parts of the
    agent's carry that hold nothing are left out.

    Args:
        agent: The agent, on the CPU.
        env_spec: The environment that it was trained on.

    Raises:
        LabError: The agent is trained on packed observations.
    """

    def __init__(self, agent: Agent, env_spec: EnvSpec) -> None:
        super().__init__()
        if env_spec.packed is not None:
            raise LabError(
                f"{env_spec.name} has action masks or several kinds of observations, which lie in one row of bytes;"
                " such an agent cannot be exported"
            )
        self.agent = agent
        self.env_spec = env_spec
        self.network = agent.network.eval().requires_grad_(False)
        self._carry_sizes = [part[0].numel() for part in agent.initial_carry(1)]
        self._empty_shapes = [part.shape[1:] for part in agent.initial_carry(1)]

    @property
    def state_names(self) -> list[str]:
        """Return a name for each tensor of the state."""
        return [f"state{i}" for i in range(sum(size > 0 for size in self._carry_sizes))]

    def inputs(self, num_envs: int) -> PolicyInputs:
        """Return inputs at the beginning of an episode: observations and a state of zeros."""
        frame = self.env_spec.frame
        obs = torch.zeros((num_envs, *frame), dtype=OBSERVATION_DTYPES[self.env_spec.dtype])
        carry = self.agent.initial_carry(num_envs)
        state = tuple(part for part, size in zip(carry, self._carry_sizes, strict=True) if size)
        return PolicyInputs(obs, torch.ones(num_envs, dtype=torch.bool), state)

    def forward(self, obs: Tensor, is_first: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """Return the greedy action, the scores, the value and the next state.

        Args:
            obs: Observations [N, *obs_shape], not stacked.
            is_first: bool[N], True where an episode begins.
            state: The state, [N, ...] each.

        Returns:
            action i64[N] or f32[N, D] in [-1, 1]; scores f32[N, A] (`PolicyOutput`); value f32[N]; the next state.
        """
        output, next_carry = self.agent.policy_output(obs, is_first, self._carry(obs, state))
        action = output.action.clamp(-1, 1) if output.is_continuous else output.action
        next_state = [part for part, size in zip(next_carry, self._carry_sizes, strict=True) if size]
        return (action, output.scores, output.value, *next_state)

    def _carry(self, obs: Tensor, state: tuple[Tensor, ...]) -> Carry:
        """Return the state with the parts of the carry that hold nothing."""
        parts = iter(state)
        carry = []
        for shape, size in zip(self._empty_shapes, self._carry_sizes, strict=True):
            carry.append(next(parts) if size else obs.new_zeros((obs.shape[0], *shape)))
        return tuple(carry)


def describe(agent: str, env_spec: EnvSpec) -> dict[str, str]:
    """Return what a program needs to play with an exported agent, for the metadata of the file.

    Args:
        agent: Name of the agent.
        env_spec: Its environment.
    """
    return {
        "agent": agent,
        "env": env_spec.id,
        "observation": f"{env_spec.dtype}{list(env_spec.frame)}",
        "transformations": "; ".join(env_spec.transformations),
        "actions": ", ".join(env_spec.actions),
        "action_numbers": json.dumps(env_spec.action_numbers),
        "action_parts": json.dumps(env_spec.action_parts),
        "action_bounds": json.dumps(env_spec.action_bounds),
    }
