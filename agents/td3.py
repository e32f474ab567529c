"""Twin delayed DDPG (TD3): Fujimoto et al. 2018, "Addressing function approximation error in actor-critic methods".

The algorithm is that of SAC (agents/sac.py) with a deterministic actor pi, which has a target actor pi^, and without
entropy. These steps differ (algorithm 1 of the paper):

    2. Initialise Q^_1, Q^_2 and pi^ with the weights of Q_1, Q_2 and pi.
    4. Choose the action pi(s) + epsilon, clipped to [-1, 1], with Gaussian noise epsilon of `exploration_noise`.
    7. Compute the targets y = r + gamma min_i Q^_i(s', a'), where a' is pi^(s') + epsilon, clipped to [-1, 1], and
       epsilon is Gaussian noise of `target_noise`, clipped to [-target_noise_clip, target_noise_clip].
    9. In every `actor_every`-th update: take a gradient step of pi on the mean of -Q_1(s, pi(s)).
    10. This step, the temperature, is left out.
    11. In every `actor_every`-th update: move the weights of Q^_i and pi^ by tau times their distance to those of Q_i
        and pi.

In shapes, N is the number of environments, B the number of transitions in a batch, D the number of entries of an
action, and k the number of observations in a stack.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor

from agents.configs.td3 import TD3Config
from agents.core.optimizers import clipped_gradient_step
from agents.core.polyak import PolyakAverage
from agents.core.types import EnvSpaces, Metrics
from agents.memory.replay import TransitionBatch
from agents.nn.actor_critics import DeterministicActor
from agents.nn.pixel_convolutions import PreprocessedImages
from agents.off_policy_actor_critic import OffPolicyActorCritic


class TD3(OffPolicyActorCritic):
    """Twin delayed deep deterministic policy gradient agent.

    The numbered comments refer to the steps of the algorithm in the module docstring. The parameters of the policy are
    the action itself, f32[N, D]. The arguments are those of `OffPolicyActorCritic`.
    """

    config_class = TD3Config
    config: TD3Config

    def __init__(
        self,
        config: TD3Config,
        spaces: EnvSpaces,
        *,
        seed: int,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__(config, spaces, seed=seed, device=device, dtype=dtype)
        # Step 2: Initialise the target actor with the weights of the actor.
        self.target_actor = copy.deepcopy(self.actor).requires_grad_(False)
        self.actor_average = PolyakAverage(self.target_actor, self.actor)
        self.policy_loss = torch.zeros((), device=device)  # of the newest update of the actor
        if self.uses_cuda_graphs:
            self.capture_graphs()

    def build_actor(self, features: int) -> DeterministicActor:
        """Return a new actor over this number of features."""
        return DeterministicActor(features, self.spaces.action_dim, self.config)

    def exploring_action(self, parameters: Tensor) -> Tensor:
        """Return the actions of the actor with Gaussian noise, f32[N, D] in [-1, 1]."""
        # Step 4: Add noise to the actions of the actor.
        noise = self.config.exploration_noise * self.noise(len(parameters))
        return (parameters + noise).clamp(-1, 1)

    def greedy_action(self, parameters: Tensor) -> Tensor:
        """Return the actions of the actor, f32[N, D]."""
        return parameters

    def next_value(self, next_obs: Tensor | PreprocessedImages, noise: Tensor) -> Tensor:
        """Return min_i Q^_i(s', a') of the smoothed action a' of the target actor, f32[B].

        The arguments are those of `OffPolicyActorCritic.next_value`.
        """
        # Step 7: Smooth the target with clipped noise.
        config = self.config
        features = self.target_critics.features(next_obs)
        action = self.target_actor(features)
        clipped_noise = (config.target_noise * noise).clamp(-config.target_noise_clip, config.target_noise_clip)
        next_action = (action + clipped_noise).clamp(-1, 1)
        return self.target_critics.values(features, next_action).amin(0)

    def update_actor(self, batch: TransitionBatch) -> Metrics:
        """Update the actor and the target networks in every `actor_every`-th update.

        Returns:
            The loss of the newest update of the actor.
        """
        if self.updates % self.config.actor_every == 0:
            self.policy_loss = self.actor_step(batch.obs)
            # Step 11: Move the target networks.
            self.critics_average.step(self.config.target_tau)
            self.actor_average.step(self.config.target_tau)
        return {"policy_loss": self.policy_loss}

    def actor_step(self, obs: Tensor) -> Tensor:
        """Take a gradient step of the actor on the mean of -Q_1(s, pi(s)), and return this loss f32[].

        Args:
            obs: Stacks of the states s, [B, k, *obs_shape].
        """
        # Step 9: Take a gradient step of the actor.
        features = self.actor_features(obs)
        policy_loss = -self.critics.values(features, self.actor(features))[0].mean()
        clipped_gradient_step(self.actor_optimizer, policy_loss, grad_clip=self.config.grad_clip)
        return policy_loss.detach()

    def start_from(self, weights: dict[str, Tensor]) -> None:
        """Load these weights into all networks. Raises RuntimeError if they do not fit."""
        super().start_from(weights)
        self.target_actor.load_state_dict(self.actor.state_dict())

    def state_dict(self) -> dict[str, Any]:
        """Return the full state: networks, optimisers, replay memory, random generator and counters."""
        return {
            **super().state_dict(),
            "target_actor": self.target_actor.state_dict(),
            "policy_loss": self.policy_loss,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state that `state_dict` returned. Raises ValueError or RuntimeError if shapes do not fit."""
        self.target_actor.load_state_dict(state["target_actor"])
        self.policy_loss = state["policy_loss"].to(self.device)
        super().load_state_dict(state)
