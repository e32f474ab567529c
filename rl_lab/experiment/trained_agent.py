"""A trained agent with the environment that it was trained on: `predict`, from observations to actions of NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from agents.core.agent import Agent
from agents.core.exploration import epsilon_greedy
from agents.core.types import Carry, PolicyOutput, ValueScaling
from envs.single_env import SingleEnv
from envs.spec import EnvSpec
from rl_lab.errors import LabError

PredictState = tuple[NDArray[Any], ...]
"""State of `TrainedAgent.predict` from one call to the next: arrays [N, ...]."""


class TrainedAgent:
    """An agent of a run, for programs that step the environment themselves.

    `predict` has the arguments of Stable-Baselines3. All other attributes are those of the agent (`Agent`), which knows
    no environment.

    Args:
        agent: The agent, on the CPU.
        env_spec: The environment that it was trained on.
        epsilon: Probability of a random action, for predictions that are not deterministic.
    """

    def __init__(self, agent: Agent, env_spec: EnvSpec, *, epsilon: float) -> None:
        self.agent = agent
        self.env_spec = env_spec
        self.epsilon = epsilon
        self._single_env: SingleEnv | None = None  # made by the first prediction, because it makes an environment
        self._generator = torch.Generator().manual_seed(0)

    def predict(
        self,
        observation: Any,
        state: PredictState | None = None,
        episode_start: Any = None,
        deterministic: bool = True,
        action_masks: Any = None,
    ) -> tuple[Any, PredictState | None]:
        """Return the actions for one observation or for several.

        Args:
            observation: What the environment's `reset` or `step` returned, or N of them with a further first axis. Of
                Atari games, preprocessed images uint8[84, 84], without stacking.
            state: The state that the previous call returned. None at the first call. It holds the stacked observations
                and the recurrent state. The agent forgets earlier observations if it is left out.
            episode_start: True, or bool[N], where an episode begins. None means at the first call only.
            deterministic: Take the greedy actions. False draws actions from the policy of an agent that has one; other
                agents take a random action with probability `epsilon`.
            action_masks: bool[A] or bool[N, A]: legal actions, if the environment returns them beside its observations.

        Returns:
            The action in the environment's own form, or an array of N actions; and the state for the next call, which
            is None if the agent has neither stacks nor a recurrent state.

        Raises:
            EnvError: The shape of an argument is wrong, or the environment cannot be made.
            LabError: The state belongs to another agent or another number of observations.
        """
        env = self._environment()
        obs, is_batch = env.to_observations(observation, action_masks)
        count = len(obs)
        carry = self._carry(state, count)
        is_first = torch.full((count,), state is None)
        if episode_start is not None:
            is_first = torch.as_tensor(np.broadcast_to(np.asarray(episode_start, np.bool_), (count,)).copy())
        with torch.no_grad():
            action, carry = self._choose(torch.as_tensor(obs), is_first, carry, deterministic=deterministic)
        actions = env.to_actions(action.numpy())
        next_state = tuple(part.numpy() for part in carry)
        has_state = any(part.size for part in next_state)
        return actions if is_batch else actions[0], next_state if has_state else None

    @property
    def network(self) -> nn.Module:
        """Return the network that plays."""
        return self.agent.network

    @property
    def value_scaling(self) -> ValueScaling:
        """Return the discount, the reward clip and the reward scale behind the agent's value estimates."""
        return self.agent.value_scaling

    def initial_carry(self, n: int) -> Carry:
        """Return the carry of n environments before their first row."""
        return self.agent.initial_carry(n)

    def act(self, obs: Tensor, is_first: Tensor, carry: Carry, *, explore: bool) -> tuple[Tensor, Carry]:
        """Choose actions (`Agent.act`)."""
        return self.agent.act(obs, is_first, carry, explore=explore)

    def policy_output(self, obs: Tensor, is_first: Tensor, carry: Carry) -> tuple[PolicyOutput, Carry]:
        """Return the greedy actions with their values, and the carry for the next call (`Agent.policy_output`)."""
        return self.agent.policy_output(obs, is_first, carry)

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the agent."""
        if name == "agent":  # not yet set, while an object is copied
            raise AttributeError(name)
        return getattr(self.agent, name)

    def _environment(self) -> SingleEnv:
        """Return the converter of observations and actions."""
        if self._single_env is None:
            self._single_env = SingleEnv(self.env_spec)
        return self._single_env

    def _carry(self, state: PredictState | None, count: int) -> Carry:
        """Return the state as a carry of the agent. Raise LabError if it has other shapes."""
        initial = self.agent.initial_carry(count)
        if state is None:
            return initial
        expected = [tuple(part.shape) for part in initial]
        shapes = [np.shape(part) for part in state]
        if shapes != expected:
            raise LabError(f"state holds arrays of the shapes {shapes}; {count} observations need {expected}")
        return tuple(torch.as_tensor(part, dtype=like.dtype) for part, like in zip(state, initial, strict=True))

    def _choose(self, obs: Tensor, is_first: Tensor, carry: Carry, *, deterministic: bool) -> tuple[Tensor, Carry]:
        """Return actions i64[N] or f32[N, D], and the next carry."""
        output, next_carry = self.agent.policy_output(obs, is_first, carry)
        if deterministic:
            return output.action, next_carry
        if not output.is_policy:
            # A new agent would explore as at the beginning of its training, so its own epsilon is not used.
            action = epsilon_greedy(output.scores, self.epsilon, self._generator, has_masks=True)
            return action, next_carry
        action, next_carry = self.agent.act(obs, is_first, carry, explore=True)
        records = getattr(self.agent, "acting_records", None)
        if records:  # they are for learning
            records.pop()
        return action, next_carry
