"""Evaluation: complete episodes with the epsilon-greedy policy, scored by their raw rewards."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from agents.core.types import Carry, PolicyOutput, ValueScaling
from envs.global_random import global_generators_seeded
from envs.stream import Episode, Row, Stream, spread_seeds
from rl_lab.system.device import on_device
from rl_lab.training.overlapped_loop import check_finite

COMPACTED_ROWS = 1000
"""Rows after which the tensors of an evaluation are moved to the host, and joined into one array."""

EVALUATION_KEY = 1
"""Second number of the sequence from which `seed_unlike_training` derives a seed."""


class EvaluatedAgent(Protocol):
    """The part of the `Agent` protocol that an evaluation needs."""

    @property
    def value_scaling(self) -> ValueScaling:
        """Return the discount, the reward clip and the reward scale behind the agent's value estimates."""
        ...

    def initial_carry(self, n: int) -> Carry:
        """Return the carry of n environments before their first row."""
        ...

    def policy_output(self, obs: Tensor, is_first: Tensor, carry: Carry) -> tuple[PolicyOutput, Carry]:
        """Return the greedy actions with their values, and the carry for the next call."""
        ...


class EvaluationProgress(NamedTuple):
    """The progress of an evaluation."""

    episodes_done: int  # counted episodes that have ended
    episodes: int  # episodes to count
    rows: int  # steps of all environments together

    def __str__(self) -> str:
        return f"evaluating: {self.episodes_done}/{self.episodes} episodes, row {self.rows:,}"


@dataclass(frozen=True)
class Evaluation:
    """The result of an evaluation. `returns` and `lengths` are ordered by environment, then by time."""

    returns: list[float]
    """Scores of the episodes: undiscounted sums of raw rewards."""
    lengths: list[int]
    """Lengths of the episodes in agent steps."""
    value: float
    """Mean of the agent's value estimates over the states of the episodes above, without their last states."""
    realised: float
    """Mean of the discounted returns that followed the same states, with rewards scaled and clipped as in training."""
    num_cut: int = 0
    """Episodes that did not end by themselves: they were cut at the maximum number of steps."""

    @property
    def mean(self) -> float:
        """Return the mean score."""
        return float(np.mean(self.returns))

    @property
    def std(self) -> float:
        """Return the standard deviation of the scores (not the standard error of their mean)."""
        with np.errstate(invalid="ignore"):  # the deviation of an infinite score is nan
            return float(np.std(self.returns))

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain values, as `eval --json` prints it."""
        return {
            "mean": self.mean,
            "std": self.std,
            "returns": self.returns,
            "lengths": self.lengths,
            "episodes": len(self.returns),
            "cut": self.num_cut,
        }

    def __str__(self) -> str:
        cut = f", {self.num_cut} of them cut" if self.num_cut else ""
        return (
            f"{self.mean:.2f} +- {self.std:.2f} (min {min(self.returns):g}, max {max(self.returns):g},"
            f" {len(self.returns)} games of {np.mean(self.lengths):.0f} steps{cut})"
        )


def evaluate(
    agent: EvaluatedAgent,
    stream: Stream,
    *,
    episodes: int,
    epsilon: float,
    seed: int,
    device: torch.device,
    max_steps: int | None = None,
    after_row: Callable[[EvaluationProgress], None] = lambda _: None,
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
        max_steps: Agent steps after which an episode is cut, as if the environment had truncated it. None: no limit.
        after_row: Called after every row. If this function raises an exception, the evaluation ends with it.

    Raises:
        Fault: A continuous action is not finite.
    """
    # The environments seed the global generators, from which training may draw (Stable-Baselines3 does).
    with global_generators_seeded(seed):
        num_envs = stream.num_envs
        stream.max_steps = max_steps
        # i64[N]: episodes to count in each environment. The first environments have one more if there is a remainder.
        quota = np.full(num_envs, episodes // num_envs) + (np.arange(num_envs) < episodes % num_envs)
        counted: list[list[Episode]] = [[] for _ in range(num_envs)]  # episodes by environment, oldest first
        rng = np.random.default_rng(seed)
        row = stream.reset(seed)
        carry = agent.initial_carry(num_envs)
        record = _Record(row)
        num_done = 0
        num_rows = 0

        while num_done < episodes:
            output, carry = _policy_output(agent, row, carry, device)
            action = output.action.cpu().numpy()
            check_finite(action)
            is_random = rng.random(num_envs) < epsilon
            random_action = random_legal_actions(rng, stream, row)
            if stream.action_dim:
                is_random = is_random[:, None]
            stream.send(np.where(is_random, random_action, action))
            row = stream.recv()
            record.add(output.value, row)
            num_rows += 1
            for episode in stream.pop_episodes():
                if len(counted[episode.env]) < quota[episode.env]:
                    counted[episode.env].append(episode)
                    num_done += 1
            after_row(EvaluationProgress(num_done, episodes, num_rows))
        output, _ = _policy_output(agent, row, carry, device)  # the value of the last row
        record.finish(output.value)

        results = [episode for episodes_of_env in counted for episode in episodes_of_env]
        value, realised = _mean_values(record, agent.value_scaling, quota)
        return Evaluation(
            returns=[episode.score for episode in results],
            lengths=[episode.length for episode in results],
            value=value,
            realised=realised,
            num_cut=sum(episode.is_cut for episode in results),
        )


def seed_unlike_training(seed: int, training_seed: int) -> int:
    """Return a seed with which the environments begin other games than those of training.

    Training and an evaluation derive the seeds of their environments from one number each, in the same way. So the
    number `training_seed` is replaced by another one, derived from it. Every other seed is returned as it is.
    """
    if seed != training_seed:
        return seed
    return int(spread_seeds([seed, EVALUATION_KEY], 1)[0])


def random_legal_actions(rng: np.random.Generator, stream: Stream, row: Row) -> NDArray[Any]:
    """Return uniformly random legal actions for a row: i64[N], or continuous actions f32[N, D] in [-1, 1]."""
    if stream.action_dim:
        return rng.uniform(-1, 1, (stream.num_envs, stream.action_dim)).astype(np.float32)
    legal = stream.legal_actions(row)
    if legal is None:
        return rng.integers(stream.num_actions, size=stream.num_envs)
    return np.where(legal, rng.random(legal.shape), -1.0).argmax(1)


class _Record:
    """Values, rewards and ends of all rows, for the value statistics. Observations would fill the memory."""

    def __init__(self, first_row: Row) -> None:
        self.values: list[NDArray[np.float32]] = []  # [T, N] in pieces
        self.is_last: list[NDArray[np.bool_]] = [first_row.is_last[None]]
        self.terminated: list[NDArray[np.bool_]] = [first_row.terminated[None]]
        self.reward: list[NDArray[np.float32]] = [first_row.reward[None]]
        self._new_values: list[Tensor] = []  # f32[N] on the agent's device, not yet in `values`
        self._new_rows: list[Row] = []

    def add(self, value: Tensor, next_row: Row) -> None:
        """Add the value estimates f32[N] of a row, and the row that followed."""
        self._new_values.append(value)
        self._new_rows.append(next_row._replace(obs=np.empty(0)))
        if len(self._new_rows) == COMPACTED_ROWS:
            self._compact()

    def finish(self, value: Tensor) -> None:
        """Add the value estimates f32[N] of the last row."""
        self._new_values.append(value)
        self._compact()

    def _compact(self) -> None:
        """Copy the new values to the host, and join the new rows into arrays [T, N]."""
        self.values.append(torch.stack(self._new_values).cpu().numpy())
        self._new_values = []
        if self._new_rows:
            self.is_last.append(np.stack([row.is_last for row in self._new_rows]))
            self.terminated.append(np.stack([row.terminated for row in self._new_rows]))
            self.reward.append(np.stack([row.reward for row in self._new_rows]))
            self._new_rows = []


def _policy_output(agent: EvaluatedAgent, row: Row, carry: Carry, device: torch.device) -> tuple[PolicyOutput, Carry]:
    """Return the agent's output for a row, and the next carry."""
    with torch.no_grad():
        return agent.policy_output(on_device(row.obs, device), on_device(row.is_first, device), carry)


def _mean_values(record: _Record, scaling: ValueScaling, quota: NDArray[np.int64]) -> tuple[float, float]:
    """Return the mean value estimate, and the mean of the returns that the values estimate.

    The return G_t of state s_t has the scaled and clipped reward r_t and the discount gamma:

        G_t = r_t                          if the action at s_t terminates the episode
        G_t = r_t + gamma V(s_{t+1})       if the action at s_t truncates the episode
        G_t = r_t + gamma G_{t+1}          otherwise

    Row t + 1 of the record holds the reward, the termination and the truncation that follow the action of row t. The
    means are over all states of the first `quota` i64[N] episodes of each environment, whose scores count, except the
    last state of each episode, at which no action is taken. Short episodes would be overrepresented if the means were
    over all episodes that ended.
    """
    limit = scaling.reward_clip or np.inf
    values = np.concatenate(record.values)
    is_last = np.concatenate(record.is_last)
    terminated = np.concatenate(record.terminated)
    reward = (np.concatenate(record.reward) * scaling.reward_scale).clip(-limit, limit)
    returns = np.zeros(values.shape)
    next_return = np.zeros(values.shape[1])  # G_{t+1} [N]
    for t in reversed(range(len(values) - 1)):
        next_return = np.where(is_last[t + 1], values[t + 1], next_return)
        next_return = reward[t + 1] + scaling.gamma * np.where(terminated[t + 1], 0.0, next_return)
        returns[t] = next_return
    episodes_before = is_last.cumsum(0)  # i64[T, N]: episodes of the environment that have ended, up to row t
    counted = ~is_last & (episodes_before < quota)
    return float(values[counted].mean()), float(returns[counted].mean())
