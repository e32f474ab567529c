"""An honest score: whole games on environments of their own, raw rewards, a carry of their own, no learning."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from agents.base import Agent
from envs.stream import Episode, Stream


@dataclass(frozen=True)
class Evaluation:
    """The games of one evaluation, in the order of environments and then of time."""

    returns: list[float]  # sums of raw rewards
    lengths: list[int]  # agent steps

    @property
    def mean(self) -> float:
        return float(np.mean(self.returns))

    @property
    def std(self) -> float:
        """Standard deviation of the games themselves (not of their mean)."""
        return float(np.std(self.returns))

    def to_dict(self) -> dict[str, Any]:
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
    agent: Agent,
    stream: Stream,
    *,
    episodes: int,
    epsilon: float,
    seed: int,
    device: torch.device,
    each_row: Callable[[], None] = lambda: None,
) -> Evaluation:
    """Play `episodes` whole games, a fixed share of them in each environment, so that short games are not favoured.

    Actions are the agent's greedy ones, or with probability `epsilon` uniformly random, from a generator of this
    evaluation's own: the agent's random numbers, and so its training, are the same with and without it. `each_row` is
    called after every row.
    """
    n = stream.num_envs
    quota = np.full(n, episodes // n) + (np.arange(n) < episodes % n)
    games: list[list[Episode]] = [[] for _ in range(n)]
    rng = np.random.default_rng(seed)
    row, carry = stream.reset(seed), agent.initial_carry(n)
    while any(len(g) < q for g, q in zip(games, quota, strict=True)):
        obs, first = torch.as_tensor(row.obs, device=device), torch.as_tensor(row.first, device=device)
        action, carry = agent.act(obs, first, carry, explore=False)
        random = rng.random(n) < epsilon
        stream.send(np.where(random, rng.integers(stream.num_actions, size=n), action.cpu().numpy()))
        row = stream.recv()
        each_row()
        for game in stream.finished():
            games[game.env].append(game)
    played = [game for g, q in zip(games, quota, strict=True) for game in g[:q]]
    return Evaluation([g.score for g in played], [g.length for g in played])
