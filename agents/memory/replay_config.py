"""Settings of the replay memory."""

from __future__ import annotations

from dataclasses import dataclass

from agents.core.settings import Count, CountOrZero, Fraction, NonNegative


@dataclass(frozen=True)
class ReplayConfig:
    """Settings of the replay memory and of sampling from it."""

    replay_size: Count = 100_000
    """Capacity in agent steps, over all environments. A million Atari frames take 7.1 GB."""
    learning_starts: CountOrZero = 5_000
    """Agent steps before the first update."""
    batch_size: Count = 32
    """Transitions (DRQN: sequences) in the batch of an update."""
    replay_ratio: NonNegative = 8.0
    """Sampled transitions per agent step. A batch of 32 every 4 agent steps is 8. 0 disables learning."""
    n_step: Count = 1
    """Steps of the n-step return, without off-policy correction (Sutton 1988)."""
    priority_alpha: Fraction = 0.0
    """Exponent of prioritised sampling (Schaul et al. 2016). 0 samples uniformly."""
    priority_beta: Fraction = 0.4
    """Exponent of the importance-sampling weights at the first agent step."""
    priority_beta_steps: Count = 1_000_000
    """Agent steps over which priority_beta rises linearly to 1."""
