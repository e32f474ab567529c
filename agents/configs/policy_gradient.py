"""Settings that all policy gradients share."""

from __future__ import annotations

from dataclasses import dataclass

from agents.configs.rollout import RolloutConfig
from agents.core.settings import NonNegative, Positive


@dataclass(frozen=True)
class PolicyGradientConfig(RolloutConfig):
    """Settings of every policy gradient. An agent step is one decision in one environment."""

    value_weight: NonNegative = 0.5
    """Weight of the squared error of V(s) in the loss."""
    entropy_weight: NonNegative = 0.01
    """Weight of the policy's entropy, which the loss rewards (Williams and Peng 1991). The entropy is in nats."""
    policy_scale: Positive = 0.01
    """Factor on the initial weights of the policy layer. A small factor starts with nearly uniform probabilities."""
