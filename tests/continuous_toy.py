"""Toy environments with continuous actions, as rows for an agent, without Gymnasium."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from oracles import EpisodeKey, NaiveEpisode
from torch import Tensor

from agents.core.types import EnvSpaces, StepResult

CPU = torch.device("cpu")

LENGTHS = (3, -5, 1, -1, 8)
"""Lengths of successive episodes. A positive length ends with a termination, a negative one with a truncation."""


def target_reward(action: Tensor) -> float:
    """Return minus the squared distance of the action to (0.5, ..., 0.5)."""
    return -float((action - 0.5).square().sum())


class ContinuousToy:
    """N environments whose observation is [environment, episode, step + 1] / 10, and an agent that plays them.

    Args:
        agent: The agent. Its observations have 3 entries.
        reward: Function from an action f32[D] to its reward.
        lengths: Lengths of successive episodes, as `LENGTHS`.
        numbered: Observe environment, episode and step. False means observations of zeros.
    """

    def __init__(
        self,
        agent: Any,
        reward: Callable[[Tensor], float] = target_reward,
        lengths: tuple[int, ...] = LENGTHS,
        *,
        numbered: bool = True,
    ) -> None:
        self.agent = agent
        self.reward = reward
        self.lengths = lengths
        self.numbered = numbered
        self.num_envs = agent.spaces.num_envs
        self.carry = agent.initial_carry(self.num_envs)
        self.episode = [0] * self.num_envs
        self.step_number = [0] * self.num_envs
        self.episodes: dict[EpisodeKey, NaiveEpisode] = {}
        self.metrics: list[dict[str, Tensor]] = []

    def play(self, num_rows: int, *others: Any) -> None:
        """Let the agent act and observe. Other agents act and observe in the same rows; their actions do not count."""
        for _ in range(num_rows):
            obs = torch.tensor(
                [[i, self.episode[i], self.step_number[i] + 1] for i in range(self.num_envs)], dtype=torch.float32
            )
            obs = obs / 10 if self.numbered else torch.zeros_like(obs)
            is_first = torch.tensor([step == 0 for step in self.step_number])
            for other in others:
                other.act(obs, is_first, self.carry, explore=True)
            action, self.carry = self.agent.act(obs, is_first, self.carry, explore=True)
            row = self._row(obs, is_first, action)
            for agent in (self.agent, *others):
                metrics = agent.observe(row)
                if agent is self.agent and metrics is not None:
                    self.metrics.append(metrics)

    def _row(self, obs: Tensor, is_first: Tensor, action: Tensor) -> StepResult:
        """Return the row of these actions, record it in `episodes`, and step the environments."""
        is_last, reward, terminated, truncated = [], [], [], []
        for i in range(self.num_envs):
            length = self.lengths[self.episode[i] % len(self.lengths)]
            episode = self.episodes.setdefault((i, self.episode[i]), NaiveEpisode())
            episode.obs.append(obs[i].numpy())
            is_over = self.step_number[i] == abs(length)
            self.step_number[i] += 1
            ends = not is_over and self.step_number[i] == abs(length)
            is_last.append(is_over)
            reward.append(0.0 if is_over else self.reward(action[i]))
            terminated.append(ends and length > 0)
            truncated.append(ends and length < 0)
            if is_over:
                self.episode[i] += 1
                self.step_number[i] = 0
                continue
            episode.reward.append(reward[-1])
            episode.terminated.append(terminated[-1])
            episode.truncated.append(truncated[-1])
        return StepResult(
            obs=obs,
            is_first=is_first,
            is_last=torch.tensor(is_last),
            action=action,
            reward=torch.tensor(reward),
            terminated=torch.tensor(terminated),
            truncated=torch.tensor(truncated),
            num_active=is_last.count(False),
        )


def continuous_spaces(num_envs: int = 2, action_dim: int = 2) -> EnvSpaces:
    """Return the spaces of a `ContinuousToy`."""
    return EnvSpaces((3,), torch.float32, 0, num_envs, action_dim=action_dim)
