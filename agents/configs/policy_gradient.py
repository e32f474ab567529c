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
    """Factor on the initial weights of the policy layer. A small factor starts with nearly uniform probabilities, or
    means of continuous actions near 0."""
    initial_std: Positive = 1.0
    """Initial standard deviation of each entry of a continuous action, whose range is [-1, 1]."""
    squashed: bool = False
    """Apply tanh to the Gaussian of continuous actions. Otherwise the environment clips actions beyond [-1, 1]."""
