"""Settings that agents without a replay memory share."""

from __future__ import annotations

from dataclasses import dataclass

from agents.configs.shared import NetworkConfig, OptimizerConfig, RewardConfig
from agents.core.settings import Count, Fraction, NonNegative, Positive


@dataclass(frozen=True)
class RolloutConfig(NetworkConfig, OptimizerConfig, RewardConfig):
    """Settings of every agent that learns from rollouts. An agent step is one decision in one environment."""

    lr: Positive = 2.5e-4
    lr_end: Positive = 2.5e-5
    optimizer_eps: Positive = 1e-5
    grad_clip: NonNegative = 0.5
    gamma: Fraction = 0.99
    """Discount per agent step."""
    trace_decay: Fraction = 0.95
    """lambda of the generalised advantage (Schulman et al. 2016). With 1, the advantage is the return minus V(s)."""
    batch_size: Count = 1024
    """Complete a batch after this many agent steps, in all environments together."""


@dataclass(frozen=True)
class EpochsConfig:
    """Settings of the agents that pass several times over each batch."""

    epochs: Count = 4
    """Passes over each batch."""
    minibatch_size: Count = 256
    """Agent steps in the minibatch of an update, rounded so that all minibatches of a batch are about equal."""
