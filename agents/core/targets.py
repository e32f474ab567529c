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


def double_value(next_q: Tensor, target_q: Tensor) -> Tensor:
    """Q-(s', argmax_a Q(s', a)) of Double Q-learning (van Hasselt et al. 2015). Both f32[B, A] -> f32[B]."""
    return target_q.gather(1, next_q.argmax(1, keepdim=True)).squeeze(1)


def epsilon_greedy_value(next_q: Tensor, epsilon: float) -> Tensor:
    """sum_a pi(a|s') Q(s', a) for the epsilon-greedy pi of Expected Sarsa (van Seijen et al. 2009). f32[B, A] -> f32[B].

    = (1 - epsilon) max_a Q(s', a) + epsilon mean_a Q(s', a): a greedy action that ties with others has the same value.
    """
    return (1 - epsilon) * next_q.amax(1) + epsilon * next_q.mean(1)


def td_target(ret: Tensor, discount: Tensor, value: Tensor) -> Tensor:
    """y = R + discount * V(s'): all f32[B]. The discount already holds gamma^m and is 0 after a termination."""
    return ret + discount * value


def categorical_projection(ret: Tensor, discount: Tensor, probabilities: Tensor, support: Tensor) -> Tensor:
    """The distribution of R + discount * Z on the atoms of Z itself: equation 7 of Bellemare et al. 2017.

    Each atom's probability goes to the two atoms next to where it lands, in proportion to how near they are; beyond the ends
    it goes to the end. `ret` and `discount` f32[B], `probabilities` f32[B, atoms], `support` f32[atoms], evenly spaced
    -> f32[B, atoms].
    """
    low, high, atoms = support[0], support[-1], len(support)
    lands = (ret[:, None] + discount[:, None] * support).clamp(low, high)
    place = (lands - low) / (high - low) * (atoms - 1)  # in units of atoms
    near = 1 - (place[:, None, :] - torch.arange(atoms, device=support.device)[None, :, None]).abs()
    return (near.clamp(min=0) * probabilities[:, None, :]).sum(2)


def generalized_advantage(
    reward: Tensor, terminated: Tensor, truncated: Tensor, value: Tensor, gamma: float, decay: float
) -> Tensor:
    """The generalised advantage of Schulman et al. 2016, equation 16, cut where an episode ends.

        A_t = delta_t + gamma lambda A_{t+1},   delta_t = r_t + gamma V(s_{t+1}) - V(s_t)

    `reward`, `terminated`, `truncated` are [T, N], `value` is [T + 1, N], `decay` is lambda -> f32[T, N]. V(s_{t+1}) counts
    nothing after a termination; after a truncation it is the value of the dead row that follows, whose own advantage has no
    meaning. With lambda 1 and values of 0 it is the discounted return.
    """
    delta = reward + gamma * value[1:] * ~terminated - value[:-1]
    carry_on = gamma * decay * ~(terminated | truncated)
    advantage = torch.empty_like(delta)
    following = torch.zeros_like(delta[0])
    for t in reversed(range(len(delta))):
        following = delta[t] + carry_on[t] * following
        advantage[t] = following
    return advantage
