"""Settings of A2C."""

from __future__ import annotations

from dataclasses import dataclass

from agents.configs.policy_gradient import PolicyGradientConfig
from agents.configs.shared import OptimizerName
from agents.core.settings import Count, Fraction, Positive


@dataclass(frozen=True)
class A2CConfig(PolicyGradientConfig):
    """Settings of A2C. An agent step is one decision in one environment; an update is one gradient step."""

    lr: Positive = 7e-4
    lr_end: Positive = 7e-5
    optimizer: OptimizerName = "rmsprop"
    batch_size: Count = 80
    """Agent steps of a batch, in all environments together: 5 rows of 16 environments."""
    trace_decay: Fraction = 1.0
    """lambda of the generalised advantage (Schulman et al. 2016). With 1, the return of a row is the discounted sum of
    the rewards up to the end of the batch, and V(s) of the row after it, as in the paper."""
