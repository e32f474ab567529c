"""Settings of REINFORCE."""

from __future__ import annotations

from dataclasses import dataclass

from agents.configs.policy_gradient import PolicyGradientConfig
from agents.core.settings import Count, CountOrZero, NonNegative


@dataclass(frozen=True)
class ReinforceConfig(PolicyGradientConfig):
    """Settings of REINFORCE. An agent step is one decision in one environment; an update is one gradient step."""

    baseline: bool = True
    """Learn the value V(s) as a baseline, which is subtracted from the returns. V(s) also replaces the rewards after
    the end of a batch and after a truncation. Without a baseline, trace_decay is always 1."""
    batch_games: CountOrZero = 0
    """Complete a batch also after this many finished games. 0 means that only batch_size counts."""
    points_end_returns: bool = False
    """End the return at every reward that is not 0, as Karpathy (2016) does for the points of Pong."""
    standardize: bool = True
    """Shift and scale the advantages of a batch to mean 0 and standard deviation 1."""
    epochs: Count = 1
    """Passes over each batch."""
    minibatch_size: CountOrZero = 256
    """Agent steps in the minibatch of an update, rounded so that all minibatches of a batch are about equal. 0 uses the
    whole batch."""
    ratio_clip: NonNegative = 0.2
    """Clip the probability ratio to [1 - ratio_clip, 1 + ratio_clip] (Schulman et al. 2017). 0 disables clipping."""
    convolutions: bool = True
    """Use the Nature CNN for images. False uses one hidden layer over the difference of the two newest frames, as
    Karpathy (2016) does."""
