"""Settings of PQN."""

from __future__ import annotations

from dataclasses import dataclass

from agents.configs.rollout import EpochsConfig, RolloutConfig
from agents.configs.shared import EpsilonGreedyConfig, Norm, OptimizerName
from agents.core.settings import Count, Fraction, NonNegative


@dataclass(frozen=True)
class PQNConfig(RolloutConfig, EpochsConfig, EpsilonGreedyConfig):
    """Settings of PQN. An agent step is one decision in one environment; an update is one gradient step."""

    norm: Norm = "layers"
    optimizer: OptimizerName = "radam"
    grad_clip: NonNegative = 10.0
    trace_decay: Fraction = 0.65
    """lambda of the returns. With 0, they are the targets of Q-learning, with 1 the discounted rewards up to the end of
    the batch."""
    epochs: Count = 2
