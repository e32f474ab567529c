"""Settings of PPO and of recurrent PPO."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from agents.configs.policy_gradient import PolicyGradientConfig
from agents.configs.rollout import EpochsConfig
from agents.configs.shared import Core
from agents.core.settings import Count, NonNegative, Positive

Standardize = Literal["none", "batch", "minibatch"]


@dataclass(frozen=True)
class PPOConfig(PolicyGradientConfig, EpochsConfig):
    """Settings of PPO. An agent step is one decision in one environment; an update is one gradient step."""

    ratio_clip: NonNegative = 0.2
    """Clip the probability ratio to [1 - ratio_clip, 1 + ratio_clip]. 0 disables clipping."""
    value_clip: NonNegative = 0.0
    """Clip the change of V(s) since the row was played to [-value_clip, value_clip] in the loss of the value. 0
    disables clipping."""
    target_kl: NonNegative = 0.0
    """Make no further pass over a batch if the KL divergence from the policy that played it to the current policy,
    averaged over the minibatches of a pass, exceeds this number. 0 disables the check."""
    standardize: Standardize = "batch"
    """Shift and scale the advantages to mean 0 and standard deviation 1, over each "batch" or each "minibatch". "none"
    leaves them as they are."""


@dataclass(frozen=True)
class RecurrentPPOConfig(PPOConfig):
    """Settings of recurrent PPO. A minibatch consists of whole sequences, at least one."""

    core: Core = "lstm"
    """Recurrent core, with `hidden` units."""
    unroll: Count = 16
    """Largest number of rows in a sequence. Gradients flow through the rows of a sequence, but not into the recurrent
    state before its first row, which is stored."""
    policy_scale: Positive = 1.0  # a small factor also makes the gradient of the policy in the core small
