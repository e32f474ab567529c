"""Returns, bootstrapped targets and advantages, as pure functions of tensors.

B is the size of a batch, A the number of actions, and N the number of environments. Rewards and values are float32,
flags are bool. A row is one time step.
"""

from __future__ import annotations

import torch
from torch import Tensor

from agents.core.action_masks import mean_of_legal


def n_step_return(reward: Tensor, terminated: Tensor, truncated: Tensor, gamma: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return the n-step returns of rows t, ..., t+n-1 (Sutton 1988), cut after the first row that ends the return.

        R = sum_{k<m} gamma^k r_{t+k}
        discount = gamma^m, or 0 if row t+m-1 terminated

    A row ends the return if it terminated or truncated. m is the number of rows up to and including this row, or n if
    no row ends the return. The target is R + discount * V(s), where s is the state of row t+m. If row t+m-1 truncated,
    row t+m holds the last observation of the episode.

    Args:
        reward: Rewards of rows t, ..., t+n-1, [B, n].
        terminated: [B, n], True if bootstrapping stops after the row.
        truncated: [B, n], True if the episode was cut after the row.
        gamma: Discount per row.

    Returns:
        R f32[B], discount f32[B], and the number of rows m i64[B], with 1 <= m <= n.
    """
    ends = (terminated | truncated).long()
    counted = torch.cumsum(ends, 1) - ends == 0  # [B, n], True if no earlier row ended the return
    gammas = gamma ** torch.arange(reward.shape[1], device=reward.device, dtype=torch.float32)
    ret = (reward * gammas * counted).sum(1)
    m = counted.sum(1)
    has_terminated = (terminated & counted).any(1)
    discount = torch.where(has_terminated, 0.0, gamma ** m.float())
    return ret, discount, m


def max_value(next_q: Tensor) -> Tensor:
    """Return max_a Q(s', a), as in Q-learning (Watkins 1989) and DQN (Mnih et al. 2015).

    Args:
        next_q: Q(s', .) of the target network, [B, A].

    Returns:
        f32[B].
    """
    return next_q.amax(1)


def double_value(next_q: Tensor, target_q: Tensor) -> Tensor:
    """Return Q_target(s', argmax_a Q(s', a)), as in Double DQN (van Hasselt et al. 2015).

    Args:
        next_q: Q(s', .) of the online network, [B, A].
        target_q: Q(s', .) of the target network, [B, A].

    Returns:
        f32[B].
    """
    best = next_q.argmax(1, keepdim=True)
    return target_q.gather(1, best).squeeze(1)


def epsilon_greedy_value(next_q: Tensor, epsilon: float, *, has_masks: bool = False) -> Tensor:
    """Return sum_a pi(a | s') Q(s', a) for the epsilon-greedy policy pi of Expected Sarsa (van Seijen et al. 2009).

    The sum is (1 - epsilon) max_a Q(s', a) + epsilon mean_a Q(s', a), also if several actions are greedy.

    Args:
        next_q: Q(s', .), [B, A].
        epsilon: Probability of a random action.
        has_masks: True if Q(s', .) may hold illegal actions, which the mean leaves out.

    Returns:
        f32[B].
    """
    mean = mean_of_legal(next_q) if has_masks else next_q.mean(1)
    return (1 - epsilon) * next_q.amax(1) + epsilon * mean


def td_target(ret: Tensor, discount: Tensor, value: Tensor) -> Tensor:
    """Return the target y = R + discount * V(s'), f32[B].

    Args:
        ret: n-step return R, [B].
        discount: gamma^m, or 0 after a termination, [B].
        value: V(s') of the state s' that follows the return, [B].
    """
    return ret + discount * value


def action_gap(q: Tensor, action: Tensor) -> Tensor:
    """Return Q(s, a) - max_b Q(s, b), f32[B]. It is 0 for the best action and negative for the others.

    Advantage learning adds alpha times this gap to the target, so that the values of the actions differ by more
    (Baird 1999, "Reinforcement learning through gradient descent"; Bellemare et al. 2016, "Increasing the action gap"):

        y = R + discount * V(s') + alpha (Q(s, a) - max_b Q(s, b))

    Args:
        q: Q(s, .) of the target network, [B, A].
        action: a, i64[B].
    """
    return q.gather(1, action[:, None]).squeeze(1) - q.amax(1)


def soft_value(next_q: Tensor, temperature: float) -> Tensor:
    """Return the value of the softmax policy with its entropy, f32[B] (Vieillard et al. 2020, "Munchausen RL").

        sum_a pi(a | s') (Q(s', a) - tau log pi(a | s')) = tau log sum_a exp(Q(s', a) / tau)

    Args:
        next_q: Q(s', .) of the target network, [B, A].
        temperature: tau of the policy pi = softmax(Q / tau).
    """
    return temperature * (next_q / temperature).logsumexp(1)


def munchausen_bonus(q: Tensor, action: Tensor, *, alpha: float, temperature: float, low: float) -> Tensor:
    """Return the bonus alpha max(tau log pi(a | s), low), f32[B] (Vieillard et al. 2020, equation 2).

    Args:
        q: Q(s, .) of the target network, [B, A].
        action: a, i64[B].
        alpha: Weight of the log-policy, from 0 to 1.
        temperature: tau of the policy pi = softmax(Q / tau).
        low: Lower bound of tau log pi, l_0 of the paper.
    """
    log_pi = (q / temperature).log_softmax(1).gather(1, action[:, None]).squeeze(1)
    return alpha * (temperature * log_pi).clamp(min=low)


def categorical_projection(ret: Tensor, discount: Tensor, probabilities: Tensor, support: Tensor) -> Tensor:
    """Project the distribution of R + discount * Z onto the atoms of Z (Bellemare et al. 2017, equation 7).

    Z is the random return from the next state. An atom z of Z is shifted to R + discount * z, which usually lies
    between two atoms. Each of these two atoms receives a share of the probability of z, which falls linearly with its
    distance from the shifted atom. A shifted atom outside the support counts as the first or last atom of the support.

    Args:
        ret: n-step return R, [B].
        discount: gamma^m, or 0 after a termination, [B].
        probabilities: Probabilities of the atoms of Z, [B, atoms].
        support: Returns of the atoms, evenly spaced and ascending, [atoms].

    Returns:
        Probabilities of the atoms after the projection, f32[B, atoms].
    """
    low, high, atoms = support[0], support[-1], len(support)
    shifted = (ret[:, None] + discount[:, None] * support).clamp(low, high)
    position = (shifted - low) / (high - low) * (atoms - 1)  # [B, shifted atom], in distances between two atoms
    atom_index = torch.arange(atoms, device=support.device)
    share = 1 - (position[:, None, :] - atom_index[None, :, None]).abs()  # [B, atom, shifted atom]
    return (share.clamp(min=0) * probabilities[:, None, :]).sum(2)


def generalized_advantage(
    reward: Tensor, terminated: Tensor, truncated: Tensor, value: Tensor, gamma: float, trace_decay: float
) -> Tensor:
    """Return generalised advantages (Schulman et al. 2016, equation 16), cut where an episode ends.

        delta_t = r_t + gamma V(s_{t+1}) - V(s_t)
        A_t = delta_t + gamma lambda A_{t+1}

    If row t terminated, the terms with V(s_{t+1}) and A_{t+1} are left out. If row t truncated, or is the last of the T
    rows, only the term with A_{t+1} is left out. After a truncation, s_{t+1} is the last observation of the episode,
    and A_{t+1} has no meaning. With lambda = 1 and V = 0, A_t is the discounted return.

    Args:
        reward: Rewards of T rows of N environments, [T, N].
        terminated: [T, N], True if bootstrapping stops after the row.
        truncated: [T, N], True if the episode was cut after the row.
        value: V(s) of these rows and of the row after them, [T + 1, N].
        gamma: Discount per row.
        trace_decay: lambda.

    Returns:
        f32[T, N].
    """
    delta = reward + gamma * value[1:] * ~terminated - value[:-1]
    decay = gamma * trace_decay * ~(terminated | truncated)
    advantage = torch.empty_like(delta)
    next_advantage = torch.zeros_like(delta[0])
    for t in reversed(range(len(delta))):
        next_advantage = delta[t] + decay[t] * next_advantage
        advantage[t] = next_advantage
    return advantage
