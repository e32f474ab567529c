"""Settings that SAC and TD3 share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from agents.configs.shared import Init, NetworkConfig, OptimizerConfig, ReplayConfig, RewardConfig
from agents.core.settings import Count, CountOrZero, Fraction, NonNegative, Positive, Range


@dataclass(frozen=True)
class OffPolicyActorCriticConfig(NetworkConfig, OptimizerConfig, ReplayConfig, RewardConfig):
    """Settings of SAC and TD3. The actor and each critic have two hidden layers of `hidden` units.

    An agent step is one decision in one environment. An update is one gradient step of the critics.
    """

    gamma: Fraction = 0.99
    """Discount per agent step."""
    target_tau: Annotated[float, Range(0, 1, open_low=True)] = 0.005
    """Step size tau of Polyak averaging: each weight of a target network moves by tau times its distance to the weight
    of the online network."""

    hidden: Count = 256
    """Units of each fully connected hidden layer: two layers of the actor, two of each critic, and for images and
    planes one layer behind the convolutions."""
    init: Init = "torch"
    """Initialisation of the weights. "torch" is PyTorch's default, U(+-1/sqrt(fan_in))."""
    lr: Positive = 3e-4
    """Learning rate of the actor, of the critics, and of the temperature of SAC."""
    optimizer_eps: Positive = 1e-8
    """Epsilon in the denominator of the optimiser's step, against division by zero."""
    grad_clip: NonNegative = 0.0
    """Largest norm of the gradient of the actor, and of that of the critics (Pascanu et al. 2013). 0 disables
    clipping."""
    replay_size: Count = 1_000_000
    """Capacity in agent steps, over all environments."""
    learning_starts: CountOrZero = 5_000
    """Agent steps before the first update. Their actions are uniformly random."""
    batch_size: Count = 256
    """Transitions in the batch of an update."""
    replay_ratio: NonNegative = 256.0
    """Sampled transitions per agent step. One update of 256 per agent step is 256. 0 disables learning."""
