"""Settings of PQN."""

from __future__ import annotations

from dataclasses import dataclass

from agents.configs.rollout import RolloutConfig
from agents.configs.shared import Norm, OptimizerName
from agents.core.settings import Count, CountOrZero, Fraction, NonNegative


@dataclass(frozen=True)
class PQNConfig(RolloutConfig):
    """Settings of PQN. An agent step is one decision in one environment; an update is one gradient step."""

    norm: Norm = "layers"
    optimizer: OptimizerName = "radam"
    grad_clip: NonNegative = 10.0
    trace_decay: Fraction = 0.65
    """lambda of the returns. With 0, they are the targets of Q-learning, with 1 the discounted rewards up to the end of
    the batch."""
    epochs: Count = 2
    """Passes over each batch."""
    minibatch_size: Count = 256
    """Agent steps in the minibatch of an update, rounded so that all minibatches of a batch are about equal."""
    epsilon_start: Fraction = 1.0
    """Probability of a random action at the first agent step."""
    epsilon_end: Fraction = 0.01
    """Probability of a random action from agent step epsilon_steps on."""
    epsilon_hold: CountOrZero = 0
    """Agent step at which epsilon begins to change linearly from epsilon_start to epsilon_end."""
    epsilon_steps: CountOrZero = 50_000
    """Agent step at which epsilon reaches epsilon_end."""
