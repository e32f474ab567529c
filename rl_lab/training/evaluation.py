"""Evaluation: complete episodes with the epsilon-greedy policy, scored by their raw rewards."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from agents.core.types import Carry, PolicyOutput, ValueScaling
from envs.stream import Episode, Row, Stream
from rl_lab.system.device import on_device


class EvaluatedAgent(Protocol):
    """The part of the `Agent` protocol that an evaluation needs."""

    @property
    def value_scaling(self) -> ValueScaling:
        """Return the discount and the reward clip behind the agent's value estimates."""
        ...

    def initial_carry(self, n: int) -> Carry:
        """Return the carry of n environments before their first row."""
        ...

    def policy_output(self, obs: Tensor, is_first: Tensor, carry: Carry) -> tuple[PolicyOutput, Carry]:
        """Return the greedy actions with their values, and the carry for the next call."""
        ...


@dataclass(frozen=True)
class Evaluation:
    """The result of an evaluation. `returns` and `lengths` are ordered by environment, then by time."""

    returns: list[float]
    """Scores of the episodes: undiscounted sums of raw rewards."""
    lengths: list[int]
    """Lengths of the episodes in agent steps."""
    value: float
    """Mean of the agent's value estimates over the states of complete episodes, without their last states."""
    realised: float
    """Mean of the discounted returns that followed the same states, with rewards clipped as in training."""

    @property
    def mean(self) -> float:
        """Return the mean score."""
        return float(np.mean(self.returns))

    @property
    def std(self) -> float:
        """Return the standard deviation of the scores (not the standard error of their mean)."""
        return float(np.std(self.returns))

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain values, as `eval --json` prints it."""
        return {
            "mean": self.mean,
            "std": self.std,
            "returns": self.returns,
            "lengths": self.lengths,
            "episodes": len(self.returns),
        }

    def __str__(self) -> str:
        return (
            f"{self.mean:.2f} +- {self.std:.2f} (min {min(self.returns):g}, max {max(self.returns):g},"
            f" {len(self.returns)} games of {np.mean(self.lengths):.0f} steps)"
        )


def evaluate(
    agent: EvaluatedAgent,
    stream: Stream,
    *,
    episodes: int,
    epsilon: float,
    seed: int,
    device: torch.device,
    after_row: Callable[[], None] = lambda: None,
) -> Evaluation:
    """Run complete episodes, and return their scores and the mean value estimates.

    The episodes are divided evenly among the environments beforehand. If the first `episodes` episodes to end in any
    environment were counted instead, short episodes would be overrepresented.

    Args:
        agent: The agent. Its random generators are not used.
        stream: The environments. The evaluation resets them.
        episodes: Number of episodes over all environments.
        epsilon: Probability of a uniformly random action. Random actions come from a generator of the evaluation.
        seed: Seed of the environments and of the random actions.
        device: Device of the agent.
        after_row: Called after every row. If this function raises an exception, the evaluation ends with it.
    """
    num_envs = stream.num_envs
    # i64[N]: episodes to count in each environment. The first environments have one more if there is a remainder.
    quota = np.full(num_envs, episodes // num_envs) + (np.arange(num_envs) < episodes % num_envs)
    episodes_by_env: list[list[Episode]] = [[] for _ in range(num_envs)]  # all ended episodes, oldest first
    rng = np.random.default_rng(seed)
    row = stream.reset(seed)
    carry = agent.initial_carry(num_envs)
    rows = [row]
    values: list[Tensor] = []  # f32[N] for each row

    def is_unfinished() -> bool:
        return any(len(ended) < count for ended, count in zip(episodes_by_env, quota, strict=True))

    while is_unfinished():
        output, carry = _policy_output(agent, row, carry, device)
        is_random = rng.random(num_envs) < epsilon
        random_action = rng.integers(stream.num_actions, size=num_envs)
        stream.send(np.where(is_random, random_action, output.action.cpu().numpy()))
        row = stream.recv()
        values.append(output.value)
        rows.append(row._replace(obs=np.empty(0)))  # observations are not needed, and would fill the memory
        after_row()
        for episode in stream.pop_episodes():
            episodes_by_env[episode.env].append(episode)
    output, _ = _policy_output(agent, row, carry, device)  # the value of the last row
    values.append(output.value)

    counted: list[Episode] = []
    for ended, count in zip(episodes_by_env, quota, strict=True):
        counted += ended[:count]
    value, realised = _mean_values(torch.stack(values).cpu().numpy(), rows, agent.value_scaling)
    return Evaluation(
        returns=[episode.score for episode in counted],
        lengths=[episode.length for episode in counted],
        value=value,
        realised=realised,
    )


def _policy_output(agent: EvaluatedAgent, row: Row, carry: Carry, device: torch.device) -> tuple[PolicyOutput, Carry]:
    """Return the agent's output for a row, and the next carry."""
    with torch.no_grad():
        return agent.policy_output(on_device(row.obs, device), on_device(row.is_first, device), carry)


def _mean_values(values: NDArray[np.float32], rows: list[Row], scaling: ValueScaling) -> tuple[float, float]:
    """Return the mean value estimate, and the mean of the returns that the values estimate.

    The return G_t of state s_t has the clipped reward r_t and the discount gamma:

        G_t = r_t                          if the action at s_t terminates the episode
        G_t = r_t + gamma V(s_{t+1})       if the action at s_t truncates the episode
        G_t = r_t + gamma G_{t+1}          otherwise

    The means are over all states of the episodes that ended, except the last state of each episode, at which no action
    is taken.

    Args:
        values: Value estimates V(s_t), f32[T, N].
        rows: T rows. Row t + 1 holds the reward, the termination and the truncation that follow the action of row t.
        scaling: Discount and reward clip.
    """
    limit = scaling.reward_clip or np.inf
    is_last = np.stack([row.is_last for row in rows])
    returns = np.zeros(values.shape)
    next_return = np.zeros(values.shape[1])  # G_{t+1} [N]
    for t in reversed(range(len(rows) - 1)):
        next_row = rows[t + 1]
        next_return = np.where(next_row.is_last, values[t + 1], next_return)
        reward = next_row.reward.clip(-limit, limit)
        next_return = reward + scaling.gamma * np.where(next_row.terminated, 0.0, next_return)
        returns[t] = next_return
    # bool[T, N], True where an episode ends at row t or later.
    ends_later = is_last[::-1].cumsum(0)[::-1] > 0
    counted = ~is_last & ends_later
    return float(values[counted].mean()), float(returns[counted].mean())
