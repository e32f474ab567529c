"""Naive implementations for comparison in tests. They share no code with the implementations that they check."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from agents.core.types import StepResult

EpisodeKey = tuple[int, int]
"""Number of the environment, and number of the episode in this environment."""


@dataclass
class NaiveEpisode:
    """One episode of one environment, as lists by step. A finished episode has one more observation than actions."""

    obs: list[NDArray[np.float32]] = field(default_factory=list)
    action: list[int] = field(default_factory=list)
    reward: list[float] = field(default_factory=list)
    terminated: list[bool] = field(default_factory=list)
    truncated: list[bool] = field(default_factory=list)

    def stack(self, t: int, k: int) -> NDArray[np.float32]:
        """Return the observations t-k+1, ..., t, with zeros before the first one."""
        first = t - k + 1
        zeros = [np.zeros_like(self.obs[0])] * max(0, -first)
        return np.stack(zeros + self.obs[max(0, first) : t + 1])

    def n_step(self, t: int, n: int, gamma: float) -> tuple[float, float, int]:
        """Return the n-step return from step t, the discount of the bootstrap value, and the step to bootstrap from."""
        ret = 0.0
        discount = 1.0
        for i in range(t, t + n):
            ret += discount * self.reward[i]
            discount *= gamma
            if self.terminated[i]:
                return ret, 0.0, i + 1
            if self.truncated[i]:
                return ret, discount, i + 1
        return ret, discount, t + n


class EndProbabilities(NamedTuple):
    """Probabilities per step that an episode ends or loses a life."""

    terminate: float  # the episode terminates
    truncate: float  # the episode is truncated
    lose_life: float  # the row is `terminated`, but the episode goes on


class NaiveRow(NamedTuple):
    """One row of one environment, with the fields of `StepResult`."""

    obs: NDArray[np.float32]
    is_first: bool
    is_last: bool
    action: int
    reward: float
    terminated: bool
    truncated: bool


class RandomEnvironment:
    """An environment with random actions, rewards and ends. The observation is [environment, episode, step + 1]."""

    def __init__(self, number: int, rng: np.random.Generator, probabilities: EndProbabilities) -> None:
        self.number = number
        self.rng = rng
        self.probabilities = probabilities
        self.episodes: dict[EpisodeKey, NaiveEpisode] = {}
        self.episode = 0
        self.step = 0
        self.is_over = False  # True if the next row is the last one of its episode

    def next_row(self) -> NaiveRow:
        """Return the next row and record it in `episodes`."""
        episode = self.episodes.setdefault((self.number, self.episode), NaiveEpisode())
        obs = np.array([self.number, self.episode, self.step + 1], np.float32)
        episode.obs.append(obs)
        is_first = self.step == 0
        is_last = self.is_over
        action = int(self.rng.integers(4))
        reward = float(self.rng.normal())
        if is_last:
            self.episode += 1
            self.step = 0
            self.is_over = False
            return NaiveRow(obs, is_first, is_last, action, reward, terminated=False, truncated=False)
        truncated = bool(self.rng.random() < self.probabilities.truncate)
        ends = not truncated and bool(self.rng.random() < self.probabilities.terminate)
        loses_life = not truncated and not ends and bool(self.rng.random() < self.probabilities.lose_life)
        terminated = ends or loses_life
        episode.action.append(action)
        episode.reward.append(reward)
        episode.terminated.append(terminated)
        episode.truncated.append(truncated)
        self.step += 1
        self.is_over = ends or truncated
        return NaiveRow(obs, is_first, is_last, action, reward, terminated, truncated)


@dataclass
class RandomRows:
    """Rows of several random environments, and the episodes that they belong to."""

    steps: list[StepResult]
    episodes: dict[EpisodeKey, NaiveEpisode]

    @classmethod
    def make(
        cls,
        rng: np.random.Generator,
        num_envs: int,
        num_rows: int,
        p_terminate: float,
        p_truncate: float,
        p_lose_life: float,
    ) -> RandomRows:
        """Return rows with these probabilities per step; see `EndProbabilities`."""
        probabilities = EndProbabilities(p_terminate, p_truncate, p_lose_life)
        envs = [RandomEnvironment(number, rng, probabilities) for number in range(num_envs)]
        steps = []
        for _ in range(num_rows):
            rows = []
            for env in envs:
                row = env.next_row()
                rows.append(row)
            steps.append(_step_result(rows))
        episodes = {}
        for env in envs:
            episodes |= env.episodes
        return cls(steps, episodes)


def _step_result(rows: list[NaiveRow]) -> StepResult:
    """Return one row of all environments as tensors."""
    return StepResult(
        obs=torch.from_numpy(np.stack([row.obs for row in rows])),
        is_first=torch.tensor([row.is_first for row in rows]),
        is_last=torch.tensor([row.is_last for row in rows]),
        action=torch.tensor([row.action for row in rows]),
        reward=torch.tensor([row.reward for row in rows]),
        terminated=torch.tensor([row.terminated for row in rows]),
        truncated=torch.tensor([row.truncated for row in rows]),
        num_active=sum(not row.is_last for row in rows),
    )
