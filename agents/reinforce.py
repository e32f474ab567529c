"""REINFORCE: the policy gradient of Williams 1992, as in Karpathy 2016, "Deep reinforcement learning: Pong from pixels"

    grad J = E[ sum_t grad log pi(a_t | s_t) A_t ]

J is the expected return of the policy pi. The advantage A_t is the discounted return or, with a learned baseline V(s),
the generalised advantage of Schulman et al. 2016. The algorithm, in which a row is one time step of N environments:

    In every row:
    1. Draw the action a_t from pi(. | s_t) in each environment. Record log pi(a_t | s_t) and V(s_t).
    2. Store the row in the rollout.
    When the rollout holds a batch:
    3. Take the batch from the rollout, with advantages A_t and returns R_t = A_t + V(s_t).
    4. Standardise the advantages.
    5. Take one gradient step on the loss of the batch.

Step 1 and the loss are those of every policy gradient (agents/policy_gradient.py). Steps 2 and 3 are those of every
agent with a rollout (agents/rollout_agent.py). PPO (agents/ppo.py) takes many gradient steps on a batch, with a clipped
probability ratio.
"""

from __future__ import annotations

import math

from torch import Tensor

from agents.configs.reinforce import ReinforceConfig
from agents.core.settings import ConfigError
from agents.core.types import Metrics
from agents.memory.rollout import Rollout, RolloutBatch
from agents.nn.encoders import FrameDifferenceEncoder, build_encoder
from agents.nn.networks import ActorCritic
from agents.policy_gradient import PolicyGradient, standardized


class Reinforce(PolicyGradient):
    """REINFORCE agent. The numbered comments refer to the steps of the algorithm in the module docstring."""

    config_class = ReinforceConfig
    config: ReinforceConfig

    def check_settings(self) -> None:
        """Raise ConfigError if settings contradict each other or the environment."""
        super().check_settings()
        config = self.config
        if config.convolutions:
            return
        if not self.spaces.is_image or config.frame_stack != 2:
            raise ConfigError("convolutions is false; this needs images and a frame_stack of 2")
        if config.norm != "none":
            raise ConfigError(f"norm is {config.norm}; without convolutions it must be none")
        if config.normalize_obs:
            raise ConfigError("normalize_obs is true; only vector observations can be normalised, not images")

    def build_rollout(self) -> Rollout:
        """Return an empty rollout."""
        config = self.config
        return Rollout(
            self.spaces,
            batch_size=config.batch_size,
            batch_games=config.batch_games,
            stack=config.frame_stack,
            gamma=config.gamma,
            trace_decay=config.trace_decay,
            baseline=config.baseline,
            points_end_returns=config.points_end_returns,
            generator=self.generator,
            device=self.device,
        )

    def build_network(self) -> ActorCritic:
        """Return a new network: an encoder with linear heads for pi(. | s) and, as a baseline, V(s)."""
        config = self.config
        if config.convolutions:
            encoder = build_encoder(self.spaces, config, dtype=self.dtype)
        else:
            encoder = FrameDifferenceEncoder(math.prod(self.spaces.obs_shape), config.hidden, self.dtype)
        network = ActorCritic(encoder, self.distribution, baseline=config.baseline, initial_std=config.initial_std)
        self.initialize_network(network)
        return network

    def learn(self, batch: RolloutBatch) -> Metrics | None:
        """Take one gradient step on the batch, and return its metrics."""
        # Step 4: Standardise the advantages.
        if self.config.standardize:
            batch = batch._replace(advantage=standardized(batch.advantage))
        # Step 5: Take one gradient step.
        return self.update(batch)

    def value_loss(self, value: Tensor, old_value: Tensor, ret: Tensor) -> Tensor:
        """Return mean_t (V(s_t) - R_t)^2, f32[], or 0 without a baseline."""
        if not self.config.baseline:
            return value.new_zeros(())
        return super().value_loss(value, old_value, ret)
