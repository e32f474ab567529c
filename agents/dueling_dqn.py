"""Dueling DQN: Wang et al. 2015, "Dueling network architectures for deep reinforcement learning".

The last hidden layer of the network has two streams: one for the value V(s), one for the advantages A(s, a). Every
transition from a state improves the estimate of V(s), which all actions share.
"""

from __future__ import annotations

from torch import nn

from agents.configs.dqn import DuelingDQNConfig
from agents.dqn import DQN
from agents.nn.encoders import build_encoder
from agents.nn.heads import DuelingHead
from agents.nn.init import initialize_weights
from agents.nn.networks import QNetwork


class DuelingDQN(DQN):
    """DQN with a dueling network."""

    config_class = DuelingDQNConfig
    config: DuelingDQNConfig

    def build_network(self) -> nn.Module:
        """Return a new network with Q(s, a) = V(s) + A(s, a) - mean_a' A(s, a'), equation 9 of the paper."""
        config = self.config
        gradient_scale = 0.5**0.5 if config.rescale_gradient else 1.0
        # One hidden layer of twice the width holds both streams.
        encoder = build_encoder(
            self.spaces, config, hidden=2 * config.hidden, gradient_scale=gradient_scale, dtype=self.dtype
        )
        head = DuelingHead(encoder.features, self.spaces.num_actions)
        return initialize_weights(QNetwork(encoder, head), config.init)
