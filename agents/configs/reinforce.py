"""Settings of REINFORCE."""

from __future__ import annotations

from dataclasses import dataclass

from agents.configs.policy_gradient import PolicyGradientConfig
from agents.core.settings import Count, CountOrZero, Fraction


@dataclass(frozen=True)
class ReinforceConfig(PolicyGradientConfig):
    """Settings of REINFORCE. An agent step is one decision in one environment; an update is one gradient step."""

    batch_size: Count = 256
    """Complete a batch after this many agent steps, in all environments together. A batch is one gradient step."""
    trace_decay: Fraction = 1.0
    """lambda of the generalised advantage (Schulman et al. 2016). With 1, the advantage is the return minus V(s)."""
    baseline: bool = True
    """Learn the value V(s) as a baseline, which is subtracted from the returns. V(s) also replaces the rewards after
    the end of a batch and after a truncation. Without a baseline, trace_decay is always 1."""
    batch_games: CountOrZero = 0
    """Complete a batch also after this many finished games. 0 means that only batch_size counts."""
    points_end_returns: bool = False
    """End the return at every reward that is not 0, as Karpathy (2016) does for the points of Pong."""
    standardize: bool = True
    """Shift and scale the advantages of a batch to mean 0 and standard deviation 1."""
    convolutions: bool = True
    """Use the Nature CNN for images. False uses one hidden layer over the difference of the two newest frames, as
    Karpathy (2016) does."""
