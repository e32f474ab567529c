"""The base class of the policy gradients, with their acting and their loss.

    grad J = E[ sum_t grad log pi(a_t | s_t) A_t ]

J is the expected return of the policy pi, and A_t is the generalised advantage of Schulman et al. 2016. The loss of a
batch is written with the probability ratio r_t between the current policy and the policy that drew the action:

    r_t = pi(a_t | s_t) / pi_old(a_t | s_t)
    L = -mean_t r_t A_t
    loss = L - entropy_weight H(pi) + value_weight mean_t (V(s_t) - R_t)^2

At r_t = 1, the gradient of -L is the mean of grad log pi(a_t | s_t) A_t, an estimate of the policy gradient. The ratio
corrects for actions that were drawn before the last update. These are at least those of the first two rows of a batch,
because the agent acts on a row before it learns from the previous row. H(pi) is the entropy
-sum_a pi(a | s_t) log pi(a | s_t), averaged over the batch (Williams and Peng 1991). R_t = A_t + V(s_t) is the return.
With continuous actions, pi(. | s) is a Gaussian (agents/core/action_distribution.py).

A policy gradient overrides `learn`: how a batch is divided into gradient steps. It may override `policy_loss` and
`value_loss`. In shapes, N is the number of environments, B the number of agent steps in a batch or minibatch, and k the
number of observations in a stack.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from agents.configs.policy_gradient import PolicyGradientConfig
from agents.core.action_distribution import ActionDistribution, action_distribution
from agents.core.agent import Abilities
from agents.core.frame_stack import stack_frames
from agents.core.types import Carry, Metrics, PolicyOutput
from agents.memory.rollout import RolloutBatch
from agents.nn.encoders import build_encoder
from agents.nn.init import initialize_weights
from agents.nn.networks import ActorCritic
from agents.rollout_agent import RolloutAgent


class PolicyGradient(RolloutAgent):
    """Base class of the agents that learn a policy from whole rollouts. The arguments are those of `RolloutAgent`."""

    config_class = PolicyGradientConfig
    abilities = Abilities(packed_observations=True, continuous_actions=True)
    captured_methods = ("acting_policy_and_value", "gradient_step")
    network: ActorCritic

    def build_network(self) -> ActorCritic:
        """Return a new network: an encoder with linear heads for pi(. | s) and V(s)."""
        config = self.config
        encoder = build_encoder(self.spaces, config, dtype=self.dtype)
        network = ActorCritic(encoder, self.distribution, baseline=True, initial_std=config.initial_std)
        self.initialize_network(network)
        return network

    def initialize_network(self, network: ActorCritic) -> None:
        """Set the initial weights, by the settings `init` and `policy_scale`."""
        initialize_weights(network, self.config.init)
        with torch.no_grad():
            network.policy.weight *= self.config.policy_scale

    @property
    def distribution(self) -> ActionDistribution:
        """Return the distribution of the actions."""
        return action_distribution(self.spaces, squashed=self.config.squashed)

    # --- Acting -------------------------------------------------------------------------------------------------------

    def policy_and_value(self, obs: Tensor, is_first: Tensor, carry: Carry) -> tuple[Tensor, Tensor, Carry]:
        """Return the parameters of pi(. | s) f32[N, P] (`ActionDistribution`), V(s) f32[N], and the next carry.

        The arguments are those of `act`.
        """
        stack, history = stack_frames(obs, is_first, *carry)
        parameters, value = self.network.eval()(stack)
        return parameters, value, (history,)

    @torch.no_grad()
    def acting_policy_and_value(self, obs: Tensor, is_first: Tensor, carry: Carry) -> tuple[Tensor, Tensor, Carry]:
        """Return the results of `policy_and_value`, without gradients. `capture_graphs` may replace this method."""
        return self.policy_and_value(obs, is_first, carry)

    @torch.no_grad()
    def act(self, obs: Tensor, is_first: Tensor, carry: Carry, *, explore: bool) -> tuple[Tensor, Carry]:
        """Choose actions: drawn from pi(. | s), or the most probable ones (of a Gaussian, the mean).

        Args:
            obs: Observations [N, *obs_shape], without frame stacking.
            is_first: bool[N], True where an episode begins.
            carry: The carry that the previous call returned, or `initial_carry(N)`.
            explore: Draw the actions from pi(. | s), and record log pi(a | s) and V(s) for `observe`. False means the
                most probable actions.

        Returns:
            Actions i64[N], or f32[N, D] with continuous actions, and the carry for the next call.
        """
        # Step 1 of the algorithms: Draw the action. Record log pi(a | s) and V(s).
        parameters, value, carry = self.acting_policy_and_value(obs, is_first, carry)
        if not explore:
            return self.distribution.mode(parameters), carry
        action = self.distribution.sample(parameters, self.generator)
        self.acting_records.append((self.distribution.log_prob(parameters, action), value))
        return action, carry

    def policy_output(self, obs: Tensor, is_first: Tensor, carry: Carry) -> tuple[PolicyOutput, Carry]:
        """Return the most probable actions, pi(. | s), V(s), and the next carry. The arguments are those of `act`.

        Without a baseline (`Reinforce`), V(s) is 0.
        """
        parameters, value, carry = self.policy_and_value(obs, is_first, carry)
        output = PolicyOutput(
            action=self.distribution.mode(parameters),
            scores=self.distribution.scores(parameters),
            value=value,
            is_policy=True,
            action_std=self.distribution.std(parameters),
        )
        return output, carry

    # --- Learning -----------------------------------------------------------------------------------------------------

    def loss(self, batch: RolloutBatch) -> tuple[Tensor, Metrics]:
        """Compute the loss of a batch, as in the module docstring.

        Returns:
            The loss f32[], differentiable, and the metrics f32[]: the three parts of the loss before they are
            weighted, the mean of V(s), and the KL divergence between the policy that drew the actions and the current
            policy.
        """
        config = self.config
        parameters, value = self.network.train()(batch.obs)
        log_ratio = self.distribution.log_prob(parameters, batch.action) - batch.log_prob
        ratio = log_ratio.exp()
        policy_loss = self.policy_loss(ratio, batch.advantage)
        entropy = self.distribution.entropy(parameters).mean()
        value_loss = self.value_loss(value, batch.value, batch.ret)
        metrics = {
            "policy_loss": policy_loss,
            "value_loss": value_loss,
            "entropy": entropy,
            "v_mean": value.mean(),
            # KL(pi_old || pi) = E[-log r] = E[r - 1 - log r] over actions drawn from pi_old, because E[r] = 1. The mean
            # of the last form over a batch has less variance.
            "kl": (ratio - 1 - log_ratio).mean(),
        }
        return policy_loss + config.value_weight * value_loss - config.entropy_weight * entropy, metrics

    def policy_loss(self, ratio: Tensor, advantage: Tensor) -> Tensor:
        """Return L = -mean_t r_t A_t, f32[], of ratios r f32[B] and advantages A f32[B]."""
        return -(ratio * advantage).mean()

    def value_loss(self, value: Tensor, old_value: Tensor, ret: Tensor) -> Tensor:
        """Return mean_t (V(s_t) - R_t)^2, f32[], differentiable.

        Args:
            value: V(s_t) of the current network, f32[B].
            old_value: V(s_t) when the row was played, f32[B]. Only PPO's `value_clip` uses it.
            ret: The returns R_t, f32[B].
        """
        return F.mse_loss(value, ret)


def clipped_surrogate(ratio: Tensor, advantage: Tensor, clip: float) -> Tensor:
    """Return -mean_t min(r_t A_t, clip(r_t, 1 - c, 1 + c) A_t), f32[] (Schulman et al. 2017, equation 7, times -1).

    Args:
        ratio: r = pi(a | s) / pi_old(a | s), f32[B].
        advantage: A, f32[B].
        clip: c. 0 disables clipping.
    """
    gain = ratio * advantage
    if clip:
        gain = torch.minimum(gain, ratio.clamp(1 - clip, 1 + clip) * advantage)
    return -gain.mean()


def standardized(advantage: Tensor) -> Tensor:
    """Return the advantages f32[B] shifted and scaled to mean 0 and standard deviation 1.

    The standard deviation of a single advantage is undefined, so it stays as it is.
    """
    if len(advantage) < 2:
        return advantage
    return (advantage - advantage.mean()) / (advantage.std() + 1e-8)
