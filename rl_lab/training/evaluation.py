"""An honest score: whole games on environments of their own, raw rewards, a carry of their own, no learning."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from agents.core.agent import Agent
from agents.core.types import Carry, PolicyOutput
from envs.stream import Episode, Row, Stream
from rl_lab.system.device import on_device


@dataclass(frozen=True)
class Evaluation:
    """The games of one evaluation, in the order of environments and then of time."""

    returns: list[float]  # sums of raw rewards
    lengths: list[int]  # agent steps
    value: float  # mean over the states: what the agent expected to come, discounted
    realised: float  # and what came

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
    value_scaling: tuple[float, float],
    each_row: Callable[[], None] = lambda: None,
) -> Evaluation:
    """Play `episodes` whole games, a fixed share of them in each environment, so that short games are not favoured.

    Actions are the agent's greedy ones, or with probability `epsilon` uniformly random, from a generator of this
    evaluation's own: the agent's random numbers, and so its training, are the same with and without it. `each_row` is
    called after every row. `learned_with` is the agent's discount and the clip of its rewards (0 for none), for the comparison
    of its values with the returns that came.
    """
    n = stream.num_envs
    quota = np.full(n, episodes // n) + (np.arange(n) < episodes % n)
    games: list[list[Episode]] = [[] for _ in range(n)]
    rng = np.random.default_rng(seed)
    row, carry = stream.reset(seed), agent.initial_carry(n)
    values: list[Tensor] = []
    rows = [row]

    def policy_output() -> tuple[PolicyOutput, Carry]:
        with torch.no_grad():
            return agent.policy_output(on_device(row.obs, device), on_device(row.is_first, device), carry)

    while any(len(g) < q for g, q in zip(games, quota, strict=True)):
        thought, carry = policy_output()
        random = rng.random(n) < epsilon
        stream.send(np.where(random, rng.integers(stream.num_actions, size=n), thought.action.cpu().numpy()))
        row = stream.recv()
        values.append(thought.value)
        rows.append(row._replace(obs=np.empty(0)))  # a view of no pictures would keep them all
        each_row()
        for game in stream.pop_episodes():
            games[game.env].append(game)
    values.append(policy_output()[0].value)
    played = [game for g, q in zip(games, quota, strict=True) for game in g[:q]]
    value, realised = _expected_and_realised(torch.stack(values).cpu().numpy(), rows, *value_scaling)
    return Evaluation([g.score for g in played], [g.length for g in played], value, realised)


def _expected_and_realised(
    values: NDArray[np.float32], rows: list[Row], gamma: float, reward_clip: float
) -> tuple[float, float]:
    """The means of V(s_t) [T, N] and of r_t + gamma r_t+1 + ... over the rows of games that ended, but for dead ones.

    The return of a game that was truncated ends with the value of its last state.
    """
    limit = reward_clip or np.inf
    is_last = np.stack([row.is_last for row in rows])
    realised = np.zeros(values.shape)
    after = np.zeros(values.shape[1])
    for t in reversed(range(len(rows) - 1)):
        coming = rows[t + 1]
        after = np.where(coming.is_last, values[t + 1], after)
        after = coming.reward.clip(-limit, limit) + gamma * np.where(coming.terminated, 0.0, after)
        realised[t] = after
    counts = ~is_last & (is_last[::-1].cumsum(0)[::-1] > 0)
    return float(values[counts].mean()), float(realised[counts].mean())
