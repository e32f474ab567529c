"""Naive counterparts that the tests compare with: they share no code with what they check."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch

from agents.core.types import StepResult


@dataclass
class NaiveEpisode:
    """One episode of one environment as plain lists; `obs` has one entry more than the others once it is over."""

    obs: list[np.ndarray] = field(default_factory=list)
    action: list[int] = field(default_factory=list)
    reward: list[float] = field(default_factory=list)
    terminated: list[bool] = field(default_factory=list)
    truncated: list[bool] = field(default_factory=list)

    def stack(self, t: int, k: int) -> np.ndarray:
        """The last k observations up to t, zeros before the first."""
        return np.stack([self.obs[i] if i >= 0 else np.zeros_like(self.obs[0]) for i in range(t - k + 1, t + 1)])

    def n_step(self, t: int, n: int, gamma: float) -> tuple[float, float, int]:
        """Return, discount and bootstrap step of the n-step target from t, one reward after another."""
        ret, factor = 0.0, 1.0
        for i in range(t, t + n):
            ret += factor * self.reward[i]
            factor *= gamma
            if self.terminated[i]:
                return ret, 0.0, i + 1
            if self.truncated[i]:
                return ret, factor, i + 1
        return ret, factor, t + n


@dataclass
class RandomRows:
    """Rows of environments that end, truncate and lose lives at random; each frame is [env, episode, step + 1]."""

    steps: list[StepResult]
    episodes: dict[tuple[int, int], NaiveEpisode]  # by (env, episode)

    @classmethod
    def make(
        cls, rng: np.random.Generator, num_envs: int, rows: int, p_terminate: float, p_truncate: float, p_life: float
    ) -> RandomRows:
        episodes: dict[tuple[int, int], NaiveEpisode] = {}
        number, step = [0] * num_envs, [0] * num_envs
        over = [False] * num_envs  # the row to come is the dead one
        out = []
        for _ in range(rows):
            columns: dict[str, list] = {name: [] for name in StepResult._fields[:-1]}
            for e in range(num_envs):
                episode = episodes.setdefault((e, number[e]), NaiveEpisode())
                frame = np.array([e, number[e], step[e] + 1], np.float32)
                episode.obs.append(frame)
                is_last = over[e]
                terminated = truncated = False
                action, reward = int(rng.integers(4)), float(rng.normal())
                if not is_last:
                    truncated = bool(rng.random() < p_truncate)
                    ends = not truncated and bool(rng.random() < p_terminate)
                    terminated = ends or (not truncated and bool(rng.random() < p_life))
                    episode.action.append(action)
                    episode.reward.append(reward)
                    episode.terminated.append(terminated)
                    episode.truncated.append(truncated)
                    over[e] = ends or truncated
                for name, value in (
                    ("obs", frame),
                    ("is_first", step[e] == 0),
                    ("is_last", is_last),
                    ("action", action),
                    ("reward", reward),
                    ("terminated", terminated),
                    ("truncated", truncated),
                ):
                    columns[name].append(value)
                if is_last:
                    number[e], step[e], over[e] = number[e] + 1, 0, False
                else:
                    step[e] += 1
            tensors = {name: torch.as_tensor(np.array(values)) for name, values in columns.items()}
            tensors["reward"] = tensors["reward"].float()
            out.append(StepResult(**tensors, num_active=int((~tensors["is_last"]).sum())))
        return cls(out, episodes)
