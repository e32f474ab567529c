"""Bootstrapped targets as pure functions over tensors, each with its equation and its paper."""

from __future__ import annotations

import torch
from torch import Tensor


def n_step_return(reward: Tensor, terminated: Tensor, truncated: Tensor, gamma: float) -> tuple[Tensor, Tensor, Tensor]:
    """The n-step return of rows t .. t+n-1, cut at the first row that terminates or truncates (Sutton 1988).

        R = sum_{k<m} gamma^k r_{t+k},   discount = gamma^m, or 0 if row t+m-1 terminated

    `reward` f32[B, n], `terminated` and `truncated` bool[B, n]. Returns R f32[B], discount f32[B] and the number of rows
    used m i64[B], 1 <= m <= n, so that the target is R + discount * V(row t+m). After a truncation row t+m is the dead
    row that holds the episode's last observation, which is what a truncated return has to bootstrap from.
    """
    stop = (terminated | truncated).long()
    alive = torch.cumsum(stop, 1) - stop == 0  # row t+k counts while no earlier row stopped
    gammas = gamma ** torch.arange(reward.shape[1], device=reward.device, dtype=torch.float32)
    ret = (reward * gammas * alive).sum(1)
    m = alive.sum(1)
    ends = (terminated & alive).any(1)
    return ret, torch.where(ends, 0.0, gamma ** m.float()), m


def max_value(next_q: Tensor) -> Tensor:
    """max_a Q-(s', a) of Q-learning (Watkins 1989) and DQN (Mnih et al. 2015). `next_q` f32[B, A] -> f32[B]."""
    return next_q.amax(1)


def td_target(ret: Tensor, discount: Tensor, value: Tensor) -> Tensor:
    """y = R + discount * V(s'): all f32[B]. The discount already holds gamma^m and is 0 after a termination."""
    return ret + discount * value
