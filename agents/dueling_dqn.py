"""Dueling DQN: Wang et al. 2015, "Dueling network architectures for deep reinforcement learning".

Two streams share the convolutions, one for the value of the state and one for the advantage of each action, so that what is
learned of a state serves all its actions.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from agents.dqn import DQN, DQNConfig
from agents.nn.networks import DuelingHead, QNetwork, initialise


@dataclass(frozen=True)
class DuelingDQNConfig(DQNConfig):
    """The settings of DQN, and one of the dueling network; `hidden` is the width of each stream."""

    rescale_gradient: bool = True
    """Whether the gradient that the two streams send into the last convolution is divided by sqrt 2."""


class DuelingDQN(DQN):
    """DQN with another network."""

    config_class = DuelingDQNConfig
    config: DuelingDQNConfig

    def build(self) -> nn.Module:
        """Q(s, a) = V(s) + A(s, a) - mean_a' A(s, a'), equation 9 of the paper."""
        c = self.config
        scale = 0.5**0.5 if c.rescale_gradient else 1.0
        encoder = self.build_encoder(2 * c.hidden, gradient_scale=scale)  # the streams side by side
        return initialise(QNetwork(encoder, DuelingHead(encoder.features, self.rows.num_actions)), c.init)
