"""Settings of DQN and its variants."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from agents.configs.shared import Core, EpsilonGreedyConfig, NetworkConfig, OptimizerConfig, ReplayConfig, RewardConfig
from agents.core.settings import Count, CountOrZero, Fraction, NonNegative, Positive, Range


@dataclass(frozen=True)
class DQNConfig(NetworkConfig, OptimizerConfig, ReplayConfig, EpsilonGreedyConfig, RewardConfig):
    """Settings of DQN. An agent step is one decision in one environment; an update is one gradient step."""

    gamma: Fraction = 0.99
    """Discount per agent step."""
    target_every: Count = 1_000
    """Updates between two copies of the online network's weights to the target network."""
    target_tau: Fraction = 0.0
    """Step size tau of Polyak averaging: after every update, each weight of the target network moves by tau times its
    distance to the weight of the online network. The target network is then not copied every target_every updates, and
    it chooses the actions (Schwarzer et al. 2023). 0 disables averaging."""
    reset_every: CountOrZero = 0
    """Updates between two resets of the networks. A reset replaces all weights by new random ones, except for those of
    the convolutions, which keep a share (D'Oro et al. 2023; Schwarzer et al. 2023, with 40,000). 0 disables resets."""
    reset_share: Fraction = 0.5
    """Share of new random weights in the convolutions after a reset; the rest are the old weights: shrink and perturb
    (Ash and Adams 2020; Schwarzer et al. 2023, with 0.5)."""
    anneal_updates: CountOrZero = 0
    """Updates over which n-step returns and the discount change exponentially, from n_step_start to n_step and from
    gamma_start to gamma, after the first update and after every reset (Schwarzer et al. 2023, with 10,000). 0 keeps
    n_step and gamma."""
    n_step_start: CountOrZero = 0
    """Steps of the n-step return after a reset (Schwarzer et al. 2023, with 10). 0 keeps n_step."""
    gamma_start: Annotated[float, Range(0, 0.9999)] = 0.0
    """Discount per agent step after a reset (Schwarzer et al. 2023, with 0.97). 0 keeps gamma."""
    epsilon_zeta: Annotated[float, Range(0, 100)] = 0.0
    """Repeat a random action for n steps, drawn from the zeta distribution P(n) ~ n^-epsilon_zeta (Dabney et al. 2021,
    "Temporally-extended epsilon-greedy exploration", with an exponent of 2). 0 draws every action anew."""

    advantage_alpha: Fraction = 0.0
    """Weight of advantage learning: add advantage_alpha * (Q(s, a) - max_b Q(s, b)) of the target network to the target
    (Bellemare et al. 2016, with 0.9). 0 disables it."""
    advantage_persistent: bool = False
    """Use persistent advantage learning: the larger one of the gaps of s and s', both for the action a (Bellemare et
    al. 2016). After a termination, the gap is 0. It needs an advantage_alpha above 0."""
    munchausen_alpha: Fraction = 0.0
    """Weight of the log-policy in the target of Munchausen DQN, whose policy is the softmax of Q / munchausen_tau
    (Vieillard et al. 2020, with 0.9). The value of the next state is then that of this policy, with its entropy, for
    double_dqn too. 0 disables it."""
    munchausen_tau: Positive = 0.03
    """Temperature of Munchausen DQN, in units of the return."""


@dataclass(frozen=True)
class DuelingDQNConfig(DQNConfig):
    """Settings of dueling DQN. `hidden` is the number of units of each stream."""

    rescale_gradient: bool = True
    """Divide the gradient that enters the last convolution by sqrt(2), because it comes from two streams."""


@dataclass(frozen=True)
class DRQNConfig(DQNConfig):
    """Settings of DRQN. `batch_size` counts sequences."""

    core: Core = "lstm"
    """Recurrent core, with `hidden` units."""
    unroll: Count = 10
    """Number of rows in a sequence for which a loss is computed."""
    burn_in: CountOrZero = 0
    """Number of rows before the `unroll` rows. They update the state of the core and have no loss."""
    start_state: Literal["zero", "stored"] = "zero"
    """State of the core before the first row of a sequence: zeros, or the state that the acting network had there."""
    double: bool = False
    """Select the action of the target with the online network (van Hasselt et al. 2015)."""
    dueling: bool = False
    """Use a dueling head: one half of the core's units for V, the other half for the advantages (Wang et al. 2015)."""


@dataclass(frozen=True)
class RainbowConfig(DQNConfig):
    """Settings of Rainbow."""

    n_step: Count = 3
    """Steps of the n-step return, without off-policy correction (Sutton 1988)."""
    priority_alpha: Fraction = 0.5
    """Exponent of prioritised sampling (Schaul et al. 2016). 0 samples uniformly."""
    double: bool = True
    """Select the action of the target with the online network (van Hasselt et al. 2015)."""
    dueling: bool = True
    """Use a dueling network (Wang et al. 2015)."""
    noisy: bool = True
    """Explore by noise in the fully connected layers, in place of epsilon (Fortunato et al. 2018)."""
    distributional: bool = True
    """Learn the distribution of the return (C51: Bellemare et al. 2017)."""
    atoms: Annotated[int, Range(2)] = 51
    """Number of atoms, the returns to which a distribution gives probabilities. They are evenly spaced."""
    value_low: float = -10.0
    """Return of the lowest atom. Lower returns count as the lowest atom."""
    value_high: float = 10.0
    """Return of the highest atom. Higher returns count as the highest atom."""


@dataclass(frozen=True)
class QRDQNConfig(DQNConfig):
    """Settings of QR-DQN."""

    num_quantiles: Count = 200
    """Number of quantiles of the return of each action."""
    kappa: NonNegative = 1.0
    """Largest error whose loss is quadratic, in units of the return: kappa of the quantile Huber loss. 0 is the loss of
    plain quantile regression. Dabney et al. 2018 call the agent QR-DQN-kappa and report 0 and 1."""
    double: bool = False
    """Select the action of the target with the online network (van Hasselt et al. 2015)."""
    dueling: bool = False
    """Use a dueling network, for each quantile (Wang et al. 2015)."""
