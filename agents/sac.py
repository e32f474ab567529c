"""Soft actor-critic (SAC): Haarnoja et al. 2018, "Soft actor-critic algorithms and applications".

The algorithm (algorithm 1 of the paper). Q_1 and Q_2 are the critics, Q^_1 and Q^_2 the target critics, pi the policy,
alpha the temperature, gamma the discount, and tau the step size `target_tau`. A row is one time step of N environments.

    1. Initialise Q_1, Q_2 and pi with random weights.
    2. Initialise Q^_1 and Q^_2 with the weights of Q_1 and Q_2.
    3. Initialise the replay memory.
    In every row:
    4. Draw an action from pi(. | s) in each environment. During the first `learning_starts` agent steps, draw an action
       from the uniform distribution instead.
    5. Store the row in the replay memory.
    In every update:
    6. Sample a random batch of transitions (s, a, r, s') from the replay memory.
    7. Compute the targets y = r + gamma (min_i Q^_i(s', a') - alpha log pi(a' | s')), or y = r if s' is terminal. a' is
       drawn from pi(. | s') (equations 2 and 3).
    8. Take a gradient step on the mean of (Q_i(s, a) - y)^2 / 2 for both critics (equation 5).
    9. Take a gradient step of pi on the mean of alpha log pi(a | s) - min_i Q_i(s, a), where a is drawn from pi(. | s)
       and is a differentiable function of the weights of pi (equation 9).
    10. Take a gradient step of alpha on the mean of -alpha (log pi(a | s) + target entropy) (equation 18).
    11. Move the weights of Q^_i by tau times their distance to those of Q_i.

Steps 1 to 4, 7 and 8 are in agents/off_policy_actor_critic.py, because TD3 shares them. Steps 5 and 6 are those of
every agent with a replay memory (agents/off_policy_agent.py). This file holds the parts of steps 4 and 7 that are SAC's
own, and steps 9 to 11.

Options extend the algorithm: a fixed temperature, n-step returns, and prioritised sampling. An n-step target contains
one entropy, that of the state after n steps. The entropies of the states between are left out.

The values Q are sums of rewards and entropies. So they are not estimates of the discounted return alone.

In shapes, N is the number of environments, B the number of transitions in a batch, and D the number of entries of an
action.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from agents.configs.sac import SACConfig
from agents.core.optimizers import build_optimizer, clipped_gradient_step
from agents.core.squashed_gaussian import squashed_sample, squashed_std
from agents.core.types import EnvSpaces, Metrics
from agents.memory.replay import TransitionBatch
from agents.nn.actor_critics import GaussianActor
from agents.nn.pixel_convolutions import PreprocessedImages
from agents.off_policy_actor_critic import OffPolicyActorCritic


class SAC(OffPolicyActorCritic):
    """Soft actor-critic agent.

    The numbered comments refer to the steps of the algorithm in the module docstring. The policy is a squashed Gaussian
    (agents/core/squashed_gaussian.py). Its parameters are the means mu and the log sigmas, f32[2, N, D].

    Args:
        config: Settings.
        spaces: Shapes and types of observations and actions.
        seed: Seed of the initial weights, the actions and the sampling.
        device: Device of the networks and the replay memory.
        dtype: Dtype in which an image encoder computes, torch.float32 or torch.bfloat16. The weights are float32.

    Raises:
        ConfigError: The settings contradict each other.
    """

    config_class = SACConfig
    config: SACConfig

    def __init__(
        self,
        config: SACConfig,
        spaces: EnvSpaces,
        *,
        seed: int,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__(config, spaces, seed=seed, device=device, dtype=dtype)
        self.target_entropy = config.target_entropy_per_entry * spaces.action_dim
        # The logarithm is learned, so that the temperature stays positive.
        self.log_temperature = nn.Parameter(torch.tensor(math.log(config.temperature), device=device))
        self.temperature_optimizer = build_optimizer(config, [self.log_temperature], capturable=self.uses_cuda_graphs)
        if self.uses_cuda_graphs:
            self.capture_graphs()

    def build_actor(self, features: int) -> GaussianActor:
        """Return a new actor over this number of features."""
        return GaussianActor(features, self.spaces.action_dim, self.config)

    # --- Step 4: act --------------------------------------------------------------------------------------------------

    def exploring_action(self, parameters: Tensor) -> Tensor:
        """Return actions f32[N, D], drawn from the policy."""
        mean, log_std = parameters.unbind()
        action, _ = squashed_sample(mean, log_std, self.noise(len(mean)))
        return action

    def greedy_action(self, parameters: Tensor) -> Tensor:
        """Return tanh(mu), the median of each entry of the actions, f32[N, D]."""
        mean, _ = parameters.unbind()
        return torch.tanh(mean)

    def action_std(self, parameters: Tensor) -> Tensor:
        """Return the standard deviations of the actions to first order, f32[N, D]."""
        mean, log_std = parameters.unbind()
        return squashed_std(mean, log_std)

    # --- Steps 7 to 11: learn from a batch ----------------------------------------------------------------------------

    def next_value(self, next_obs: Tensor | PreprocessedImages, noise: Tensor) -> Tensor:
        """Return min_i Q^_i(s', a') - alpha log pi(a' | s') with a' drawn from pi(. | s'), f32[B].

        The arguments are those of `OffPolicyActorCritic.next_value`.
        """
        mean, log_std = self.actor(self.critics.features(next_obs)).unbind()
        next_action, log_prob = squashed_sample(mean, log_std, noise)
        next_q = self.target_critics(next_obs, next_action).amin(0)
        return next_q - self.log_temperature.exp() * log_prob

    def update_actor(self, batch: TransitionBatch) -> Metrics:
        """Update the actor, the temperature and the target critics."""
        metrics = self.actor_step(batch.obs, self.noise(len(batch.action)))
        # Step 11: Move the target critics.
        self.critics_average.step(self.config.target_tau)
        return metrics

    def actor_step(self, obs: Tensor, noise: Tensor) -> Metrics:
        """Take a gradient step of the actor, and one of the temperature if `learn_temperature` is true.

        Args:
            obs: Stacks of the states s, [B, k, *obs_shape].
            noise: Samples of the standard normal distribution, from which the actions follow, f32[B, D].

        Returns:
            The metrics f32[]. The entropy is a sample mean of -log pi(a | s), in nats.
        """
        # Step 9: Take a gradient step of the policy.
        features = self.actor_features(obs)
        mean, log_std = self.actor(features).unbind()
        action, log_prob = squashed_sample(mean, log_std, noise)
        temperature = self.log_temperature.detach().exp()
        policy_loss = (temperature * log_prob - self.critics.values(features, action).amin(0)).mean()
        clipped_gradient_step(self.actor_optimizer, policy_loss, grad_clip=self.config.grad_clip)

        # Step 10: Take a gradient step of the temperature.
        log_prob = log_prob.detach()
        if self.config.learn_temperature:
            temperature_loss = -(self.log_temperature.exp() * (log_prob + self.target_entropy)).mean()
            clipped_gradient_step(self.temperature_optimizer, temperature_loss, grad_clip=0)
        return {"policy_loss": policy_loss.detach(), "entropy": -log_prob.mean(), "temperature": temperature}

    # --- State --------------------------------------------------------------------------------------------------------

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Return the optimisers by name."""
        return {**super().optimizers(), "temperature_optimizer": self.temperature_optimizer}

    def state_dict(self) -> dict[str, Any]:
        """Return the full state: networks, temperature, optimisers, replay memory, random generator and counters."""
        return {**super().state_dict(), "log_temperature": self.log_temperature.detach()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state that `state_dict` returned. Raises ValueError or RuntimeError if shapes do not fit."""
        with torch.no_grad():
            self.log_temperature.copy_(state["log_temperature"])
        super().load_state_dict(state)
