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
from envs.stream import Episode, Row, Stream, spread_seeds
from rl_lab.system.device import on_device

COMPACTED_ROWS = 1000
"""Rows after which the tensors of an evaluation are moved to the host, and joined into one array."""


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


class EvaluationProgress(NamedTuple):
    """How far an evaluation is."""

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
    """Mean of the agent's value estimates over the states of complete episodes, without their last states."""
    realised: float
    """Mean of the discounted returns that followed the same states, with rewards clipped as in training."""
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

    An episode that reaches `max_steps` is cut. It counts as truncated, with its score and length up to there. Its
    environment then goes on without being counted, because environments are only reset together: after the other
    environments have played their episodes, all of them are reset, and the environments that still owe episodes
    continue.

    Args:
        agent: The agent. Its random generators are not used.
        stream: The environments. The evaluation resets them.
        episodes: Number of episodes over all environments.
        epsilon: Probability of a uniformly random action. Random actions come from a generator of the evaluation.
        seed: Seed of the environments and of the random actions.
        device: Device of the agent.
        max_steps: Agent steps after which an episode is cut. None means no limit.
        after_row: Called after every row. If this function raises an exception, the evaluation ends with it.
    """
    num_envs = stream.num_envs
    # i64[N]: episodes to count in each environment. The first environments have one more if there is a remainder.
    quota = np.full(num_envs, episodes // num_envs) + (np.arange(num_envs) < episodes % num_envs)
    tally = _Tally(quota, max_steps)
    rng = np.random.default_rng(seed)
    rounds: list[_RoundRecord] = []
    num_rows = 0

    while tally.is_unfinished():
        # The first round has the seed of the evaluation. There is a second one only if episodes were cut.
        round_seed = int(spread_seeds([seed, len(rounds)], 1)[0]) if rounds else seed
        row = stream.reset(round_seed)
        carry = agent.initial_carry(num_envs)
        record = _RoundRecord(row)
        tally.begin_round()
        while tally.is_playing():
            output, carry = _policy_output(agent, row, carry, device)
            is_random = rng.random(num_envs) < epsilon
            random_action = rng.integers(stream.num_actions, size=num_envs)
            stream.send(np.where(is_random, random_action, output.action.cpu().numpy()))
            row = stream.recv()
            num_rows += 1
            newly_cut = tally.add(row, stream)
            record.add(output.value, row, newly_cut, tally.is_cut)
            after_row(EvaluationProgress(tally.num_done, episodes, num_rows))
        output, _ = _policy_output(agent, row, carry, device)  # the value of the last row
        record.finish(output.value)
        rounds.append(record)

    counted = tally.counted_episodes()
    value, realised = _mean_values(rounds, agent.value_scaling)
    return Evaluation(
        returns=[episode.score for episode in counted],
        lengths=[episode.length for episode in counted],
        value=value,
        realised=realised,
        num_cut=tally.num_cut,
    )


class _Tally:
    """The episodes of an evaluation that count."""

    def __init__(self, quota: NDArray[np.int64], max_steps: int | None) -> None:
        """Start without episodes.

        Args:
            quota: i64[N], number of episodes to count in each environment.
            max_steps: Agent steps after which an episode is cut, or None.
        """
        self.quota = quota
        self.max_steps = max_steps or np.inf
        self.num_cut = 0
        self.is_cut = np.zeros(len(quota), np.bool_)  # True from the cut of an episode to the end of the round
        self._episodes: list[list[Episode]] = [[] for _ in quota]  # counted episodes by environment, oldest first
        self._remaining = quota.copy()  # i64[N]
        self._length = np.zeros(len(quota), np.int64)  # of the running episodes

    @property
    def num_done(self) -> int:
        """Return the number of counted episodes."""
        return int((self.quota - self._remaining).sum())

    def is_unfinished(self) -> bool:
        """Return True if episodes are missing."""
        return bool(self._remaining.any())

    def is_playing(self) -> bool:
        """Return True if an environment of the present round still plays an episode that counts."""
        return bool((self._remaining * ~self.is_cut).any())

    def begin_round(self) -> None:
        """Begin new episodes in all environments."""
        self.is_cut[:] = False
        self._length[:] = 0

    def add(self, row: Row, stream: Stream) -> NDArray[np.bool_]:
        """Count the episodes that ended with a row, and cut those that have reached the maximum number of steps.

        Args:
            row: The present row of the stream.
            stream: The stream.

        Returns:
            bool[N], True for the environments whose episode was cut at this row.
        """
        self._length = np.where(row.is_first, 0, self._length + 1)
        for episode in stream.pop_episodes():
            if not self.is_cut[episode.env]:
                self._count(episode)
        newly_cut = (self._length >= self.max_steps) & ~row.is_last & ~self.is_cut & (self._remaining > 0)
        for i in np.flatnonzero(newly_cut):
            self._count(stream.running_episode(int(i)))
            self.num_cut += 1
        self.is_cut |= newly_cut
        return newly_cut

    def counted_episodes(self) -> list[Episode]:
        """Return the counted episodes, ordered by environment, then by time."""
        return [episode for episodes in self._episodes for episode in episodes]

    def _count(self, episode: Episode) -> None:
        """Count an episode, unless its environment has played its share."""
        if self._remaining[episode.env] > 0:
            self._remaining[episode.env] -= 1
            self._episodes[episode.env].append(episode)


class _RoundRecord:
    """What the value statistics need of the rows of a round, without observations, which would fill the memory."""

    def __init__(self, first_row: Row) -> None:
        self.values: list[NDArray[np.float32]] = []  # [T, N] in pieces
        self.is_last: list[NDArray[np.bool_]] = [first_row.is_last[None]]
        self.terminated: list[NDArray[np.bool_]] = [first_row.terminated[None]]
        self.reward: list[NDArray[np.float32]] = [first_row.reward[None]]
        self._new_values: list[Tensor] = []  # f32[N] on the agent's device, not yet in `values`
        self._new_rows: list[Row] = []

    def add(self, value: Tensor, next_row: Row, newly_cut: NDArray[np.bool_], is_cut: NDArray[np.bool_]) -> None:
        """Add the value of a row, and the next row.

        Args:
            value: f32[N], value estimates of the row before `next_row`.
            next_row: The row that followed.
            newly_cut: bool[N], True where `next_row` is the last row of an episode that was cut.
            is_cut: bool[N], True there and in all later rows of the round. What follows a cut does not count.
        """
        is_last = (next_row.is_last & ~is_cut) | newly_cut
        self._new_values.append(value)
        self._new_rows.append(next_row._replace(obs=np.empty(0), is_last=is_last))
        if len(self._new_rows) == COMPACTED_ROWS:
            self._compact()

    def finish(self, value: Tensor) -> None:
        """Add the value of the last row."""
        self._new_values.append(value)
        self._compact()

    def _compact(self) -> None:
        """Join what was added last into arrays on the host."""
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


def _mean_values(rounds: list[_RoundRecord], scaling: ValueScaling) -> tuple[float, float]:
    """Return the mean value estimate, and the mean of the returns that the values estimate, over all rounds."""
    values: list[NDArray[np.float32]] = []
    returns: list[NDArray[np.float64]] = []
    for record in rounds:
        round_values, round_returns = _values_and_returns(record, scaling)
        values.append(round_values)
        returns.append(round_returns)
    return float(np.concatenate(values).mean()), float(np.concatenate(returns).mean())


def _values_and_returns(record: _RoundRecord, scaling: ValueScaling) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Return the value estimates of a round, and the returns that they estimate.

    The return G_t of state s_t has the clipped reward r_t and the discount gamma:

        G_t = r_t                          if the action at s_t terminates the episode
        G_t = r_t + gamma V(s_{t+1})       if the action at s_t truncates the episode
        G_t = r_t + gamma G_{t+1}          otherwise

    Row t + 1 of the record holds the reward, the termination and the truncation that follow the action of row t.

    Returns:
        Values and returns of all states of the episodes that ended, except the last state of each episode, at which no
        action is taken.
    """
    limit = scaling.reward_clip or np.inf
    values = np.concatenate(record.values)
    is_last = np.concatenate(record.is_last)
    terminated = np.concatenate(record.terminated)
    reward = np.concatenate(record.reward).clip(-limit, limit)
    returns = np.zeros(values.shape)
    next_return = np.zeros(values.shape[1])  # G_{t+1} [N]
    for t in reversed(range(len(values) - 1)):
        next_return = np.where(is_last[t + 1], values[t + 1], next_return)
        next_return = reward[t + 1] + scaling.gamma * np.where(terminated[t + 1], 0.0, next_return)
        returns[t] = next_return
    # bool[T, N], True where an episode ends at row t or later.
    ends_later = is_last[::-1].cumsum(0)[::-1] > 0
    counted = ~is_last & ends_later
    return values[counted], returns[counted]
