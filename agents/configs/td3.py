"""Settings of TD3."""

from __future__ import annotations

from dataclasses import dataclass

from agents.configs.off_policy_actor_critic import OffPolicyActorCriticConfig
from agents.core.settings import Count, NonNegative, Positive


@dataclass(frozen=True)
class TD3Config(OffPolicyActorCriticConfig):
    """Settings of TD3."""

    lr: Positive = 1e-3
    """Learning rate of the actor and of the critics."""
    exploration_noise: NonNegative = 0.1
    """Standard deviation of the Gaussian noise on each entry of an action in training. Entries are from -1 to 1."""
    target_noise: NonNegative = 0.2
    """Standard deviation of the Gaussian noise on the actions of the target actor."""
    target_noise_clip: NonNegative = 0.5
    """Largest absolute value of the noise on the actions of the target actor."""
    actor_every: Count = 2
    """Updates of the critics between two updates of the actor and of the target networks."""
