"""QR-DQN: Dabney et al. 2018, "Distributional reinforcement learning with quantile regression".

DQN learns the mean of the return. QR-DQN learns its distribution, as N quantiles theta_1(s, a), ..., theta_N(s, a) with
the same weight 1/N. theta_i estimates the quantile at the midpoint tau_i = (2i - 1) / 2N, so the range of the returns
need not be known. One update (algorithm 1 of the paper):

    1. Choose the next action a* = argmax_a' Q(s', a'), where Q(s', a') = 1/N sum_j theta_j(s', a').
    2. Compute the N targets y_j = r + gamma theta_j(s', a*), or y_j = r if s' is terminal.
    3. Take a gradient step on sum_i 1/N sum_j rho(y_j - theta_i(s, a)), with the quantile Huber loss rho of tau_i.

The target network computes step 1 and step 2. With `double`, the online network computes step 1.

In shapes, N is the number of quantiles, A the number of actions, and B the number of transitions in a batch or, in
acting, the number of environments.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from agents.configs.dqn import QRDQNConfig
from agents.core.frame_stack import stack_frames
from agents.core.memory_needs import FLOAT_BYTES, MemoryNeed
from agents.core.types import Carry, EnvSpaces, PolicyOutput
from agents.dqn import DQN, check_targets
from agents.memory.replay import TransitionBatch
from agents.nn.encoders import build_encoder
from agents.nn.heads import DuelingHead
from agents.nn.init import initialize_weights
from agents.nn.networks import QuantileQNetwork, distribution_of_action

INTERVALS = 50
"""Intervals of returns in `PolicyOutput.distribution`."""

PAIR_COPIES = 4
"""Numbers that an update keeps for each pair of a quantile and a target: difference, Huber loss, weight, gradient."""


class QRDQN(DQN):
    """DQN with quantiles of the return."""

    config_class = QRDQNConfig
    size_settings = "hidden, num_quantiles, filters or frame_stack"
    config: QRDQNConfig
    online_network: QuantileQNetwork
    target_network: QuantileQNetwork
    policy_network: QuantileQNetwork

    def __init__(
        self,
        config: QRDQNConfig,
        spaces: EnvSpaces,
        *,
        seed: int,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        check_targets(config, agent="qr_dqn", has_own_targets=True)
        super().__init__(config, spaces, seed=seed, device=device, dtype=dtype)

    def build_network(self) -> nn.Module:
        """Return a new network with `num_quantiles` outputs for each action."""
        config = self.config
        # A dueling network has two streams of `hidden` units each, one for the value and one for the advantages.
        hidden = 2 * config.hidden if config.dueling else config.hidden
        num_actions = self.spaces.num_actions
        encoder = build_encoder(self.spaces, config, hidden=hidden, dtype=self.dtype)
        if config.dueling:
            head = DuelingHead(encoder.features, num_actions, atoms=config.num_quantiles)
        else:
            head = nn.Linear(encoder.features, num_actions * config.num_quantiles)
        return initialize_weights(QuantileQNetwork(encoder, head, num_quantiles=config.num_quantiles), config.init)

    def policy_output(self, obs: Tensor, is_first: Tensor, carry: Carry) -> tuple[PolicyOutput, Carry]:
        """Return the output of DQN, and the share of the quantiles in each of `INTERVALS` intervals of returns.

        The intervals have the same length. They reach from the lowest to the highest quantile of all actions in the
        state.
        """
        history, *repeated = carry
        stack, history = stack_frames(obs, is_first, history)
        quantiles = self.policy_network.eval().quantiles(stack)  # [B, A, N]
        q = self.policy_network.means(quantiles, stack)
        distribution = histogram(quantiles.detach(), INTERVALS)
        return PolicyOutput(q.argmax(1), q, q.amax(1), distribution=distribution), (history, *repeated)

    def td_loss(self, batch: TransitionBatch) -> tuple[Tensor, Tensor, Tensor]:
        """Compute the quantile Huber loss of each transition.

        Returns:
            The loss of each transition f32[B], differentiable; the TD errors f32[B] of the means, from which the new
            priorities follow; and Q(s, .) f32[B, A]. The priorities do not follow from the loss, because the loss of a
            random return stays above 0 when its quantiles are exact.
        """
        target = self.target_quantiles(batch)  # [B, N]
        all_quantiles = self.online_network.train().quantiles(batch.obs)  # [B, A, N]
        quantiles = distribution_of_action(all_quantiles, batch.action)  # [B, N]
        losses = quantile_huber_loss(quantiles, target, self.online_network.midpoints, self.config.kappa)
        td_error = (target.mean(1) - quantiles.mean(1)).detach()
        return losses, td_error, self.online_network.means(all_quantiles.detach(), batch.obs)

    @torch.no_grad()
    def target_quantiles(self, batch: TransitionBatch) -> Tensor:
        """Return the targets y_j = ret + discount * theta_j(s', a*) of each transition, f32[B, N].

        The action a* has the largest value Q(s', a) of the online network if `double` is true, else of the target
        network.
        """
        # Preprocessing uses no weights, so one call serves both networks. The target network is always in eval mode.
        preprocessed = self.online_network.preprocess(batch.next_obs)
        next_quantiles = self.target_network.quantiles(preprocessed)  # [B, A, N]
        if self.config.double:
            next_q = self.online_network.eval()(preprocessed)
        else:
            next_q = self.target_network.means(next_quantiles, preprocessed)
        next_quantiles = distribution_of_action(next_quantiles, next_q.argmax(1))  # [B, N]
        return batch.ret[:, None] + batch.discount[:, None] * next_quantiles

    def next_state_value(self, next_obs: Tensor) -> Tensor:
        """Raise NotImplementedError: the target is not a value but `target_quantiles`."""
        raise NotImplementedError("the target of QR-DQN is target_quantiles")

    @classmethod
    def memory_needs(cls, config: Any, spaces: EnvSpaces) -> list[MemoryNeed]:
        """Return the needs of DQN. A batch also has `num_quantiles` ^ 2 pairs of a quantile and a target."""
        pair_bytes = PAIR_COPIES * FLOAT_BYTES * config.batch_size * config.num_quantiles**2
        needs = []
        for need in super().memory_needs(config, spaces):
            if need.part == "a batch":
                need = need._replace(bytes=need.bytes + pair_bytes, advice=f"{need.advice} or num_quantiles")
            needs.append(need)
        return needs


def quantile_huber_loss(quantiles: Tensor, target: Tensor, midpoints: Tensor, kappa: float) -> Tensor:
    """Return the quantile Huber loss of each transition, f32[B] (Dabney et al. 2018, equations 9 and 10).

        loss = sum_i 1/N sum_j rho(y_j - theta_i)
        rho(u) = abs(tau_i - 1{u < 0}) L(u)
        L(u) = u^2 / 2 if abs(u) <= kappa, else kappa (abs(u) - kappa / 2)

    With kappa = 0, L(u) = abs(u), and rho is the loss of plain quantile regression (equation 8).

    Args:
        quantiles: theta_i(s, a), [B, N].
        target: y_j, [B, N]. No gradient flows through the targets.
        midpoints: tau_i, [N].
        kappa: Largest error whose loss is quadratic.
    """
    error = target[:, None, :] - quantiles[:, :, None]  # [B, i, j]
    weight = (midpoints[:, None] - (error.detach() < 0).float()).abs()
    return (weight * huber_loss(error, kappa)).mean(2).sum(1)


def huber_loss(error: Tensor, kappa: float) -> Tensor:
    """Return L(u) of each error u, as in `quantile_huber_loss`."""
    if kappa == 0:
        return error.abs()
    return F.huber_loss(error, torch.zeros_like(error), reduction="none", delta=kappa)


def histogram(quantiles: Tensor, intervals: int) -> Tensor:
    """Return the share of an action's quantiles in each interval, f32[B, A, intervals].

    Args:
        quantiles: Quantiles of all actions, [B, A, N].
        intervals: Number of equal intervals from the lowest to the highest quantile of all actions.
    """
    low = quantiles.amin((1, 2), keepdim=True)
    high = quantiles.amax((1, 2), keepdim=True)
    position = (quantiles - low) / (high - low).clamp(min=1e-9)  # from 0 to 1
    index = (position * intervals).long().clamp(max=intervals - 1)
    batch_size, num_actions, num_quantiles = quantiles.shape
    counts = quantiles.new_zeros(batch_size, num_actions, intervals)
    return counts.scatter_add_(2, index, torch.ones_like(quantiles)) / num_quantiles
