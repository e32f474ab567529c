"""Settings of REINFORCE."""

from __future__ import annotations

from dataclasses import dataclass

from agents.configs.shared import NetworkConfig, OptimizerConfig, RewardConfig
from agents.core.settings import Count, CountOrZero, Fraction, NonNegative, Positive


@dataclass(frozen=True)
class ReinforceConfig(NetworkConfig, OptimizerConfig, RewardConfig):
    """Settings of REINFORCE. An agent step is one decision in one environment; an update is one gradient step."""

    lr: Positive = 2.5e-4
    lr_end: Positive = 2.5e-5
    optimizer_eps: Positive = 1e-5
    grad_clip: NonNegative = 0.5
    gamma: Fraction = 0.99
    """Discount per agent step."""
    baseline: bool = True
    """Learn the value V(s) as a baseline, which is subtracted from the returns. V(s) also replaces the rewards after
    the end of a batch and after a truncation."""
    trace_decay: Fraction = 0.95
    """lambda of the generalised advantage. With 1, the advantage is the return minus the baseline. Without a baseline,
    lambda is always 1."""
    batch_size: Count = 1024
    """Complete a batch after this many agent steps, or earlier because of batch_games."""
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
    value_weight: NonNegative = 0.5
    """Weight of the squared error of the baseline in the loss."""
    entropy_weight: NonNegative = 0.01
    """Weight of the policy's entropy, which the loss rewards (Williams and Peng 1991). The entropy is in nats."""
    convolutions: bool = True
    """Use the Nature CNN for images. False uses one hidden layer over the difference of the two newest frames, as
    Karpathy (2016) does."""
    policy_scale: Positive = 0.01
    """Factor on the initial weights of the policy layer. A small factor starts with nearly uniform probabilities."""
