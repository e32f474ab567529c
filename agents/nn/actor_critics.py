"""Networks of SAC and TD3: an encoder, two critics, and an actor.

The actor and each critic have two hidden layers of their own, over the features of one encoder. For vectors, the
encoder has no layers (`build_feature_encoder`), so that actor and critics share nothing. For images and planes, the
encoder has the convolutions. It belongs to the critics: their loss trains it, and that of the actor does not (Yarats et
al. 2021, "Improving sample efficiency in model-free reinforcement learning from images").

The policy gradients have another network, `agents.nn.networks.ActorCritic`, whose policy and value share all layers but
the last.

All layers behind the encoder compute in float32. In shapes, B is the number of states and D the number of entries of an
action.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from agents.configs.shared import NetworkConfig
from agents.nn.encoders import MLP, Encoder
from agents.nn.pixel_convolutions import PreprocessedImages

NUM_CRITICS = 2

LOG_STD_LOW = -20.0
"""Smallest log sigma of a `GaussianActor`."""

LOG_STD_HIGH = 2.0
"""Largest log sigma of a `GaussianActor`."""


class Critic(nn.Module):
    """Q(s, a): two hidden layers and a linear layer over the features of s and the action a.

    Args:
        features: Number of features of a state.
        action_dim: Number of entries of an action, D.
        config: Settings of the network.
    """

    def __init__(self, features: int, action_dim: int, config: NetworkConfig) -> None:
        super().__init__()
        self.hidden = _hidden_layers(features + action_dim, config)
        self.value = nn.Linear(config.hidden, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return Q(s, a) f32[B] of features and actions side by side, f32[B, features + D]."""
        return self.value(self.hidden(inputs)).squeeze(1)


class Critics(nn.Module):
    """The encoder, and two critics over its features.

    Args:
        encoder: Encoder of observations [B, k, *obs_shape].
        action_dim: Number of entries of an action, D.
        config: Settings of the network.
    """

    def __init__(self, encoder: Encoder, action_dim: int, config: NetworkConfig) -> None:
        super().__init__()
        self.encoder = encoder
        self.critics = nn.ModuleList(Critic(encoder.features, action_dim, config) for _ in range(NUM_CRITICS))

    def features(self, obs: Tensor | PreprocessedImages) -> Tensor:
        """Return features f32[B, features] of observations [B, k, *obs_shape], or of preprocessed ones."""
        return self.encoder(obs).float()

    def values(self, features: Tensor, action: Tensor) -> Tensor:
        """Return Q_1(s, a) and Q_2(s, a), f32[2, B], of features f32[B, features] and actions f32[B, D]."""
        inputs = torch.cat([features, action], 1)
        return torch.stack([critic(inputs) for critic in self.critics])

    def forward(self, obs: Tensor | PreprocessedImages, action: Tensor) -> Tensor:
        """Return Q_1(s, a) and Q_2(s, a), f32[2, B], of observations and actions f32[B, D]."""
        return self.values(self.features(obs), action)


class GaussianActor(nn.Module):
    """The actor of SAC: mean mu and log standard deviation of a Gaussian, before the actions are squashed.

    log sigma is bounded softly, to LOG_STD_LOW .. LOG_STD_HIGH (Chua et al. 2018, "Deep reinforcement learning in a
    handful of trials", appendix A.1). Between the bounds it is nearly unchanged. Beyond them it still has a gradient,
    which clipping would set to 0.

    Args:
        features: Number of features of a state.
        action_dim: Number of entries of an action, D.
        config: Settings of the network.
    """

    def __init__(self, features: int, action_dim: int, config: NetworkConfig) -> None:
        super().__init__()
        self.hidden = _hidden_layers(features, config)
        self.mean = nn.Linear(config.hidden, action_dim)
        self.log_std = nn.Linear(config.hidden, action_dim)

    def forward(self, features: Tensor) -> Tensor:
        """Return mu and log sigma, f32[2, B, D], of features f32[B, features]."""
        hidden = self.hidden(features)
        log_std = LOG_STD_HIGH - F.softplus(LOG_STD_HIGH - self.log_std(hidden))
        log_std = LOG_STD_LOW + F.softplus(log_std - LOG_STD_LOW)
        return torch.stack([self.mean(hidden), log_std])


class DeterministicActor(nn.Module):
    """The actor of TD3: the action itself, a tanh of a linear layer.

    Args:
        features: Number of features of a state.
        action_dim: Number of entries of an action, D.
        config: Settings of the network.
    """

    def __init__(self, features: int, action_dim: int, config: NetworkConfig) -> None:
        super().__init__()
        self.hidden = _hidden_layers(features, config)
        self.action = nn.Linear(config.hidden, action_dim)

    def forward(self, features: Tensor) -> Tensor:
        """Return the actions f32[B, D], in [-1, 1], of features f32[B, features]."""
        return torch.tanh(self.action(self.hidden(features)))


Actor = GaussianActor | DeterministicActor


class ActorAndCritics(nn.Module):
    """The network that plays, and the critics that estimate the values of its actions.

    Args:
        critics: The critics, with the encoder.
        actor: The actor, over the features of this encoder.
    """

    def __init__(self, critics: Critics, actor: Actor) -> None:
        super().__init__()
        self.critics = critics
        self.actor = actor


def _hidden_layers(inputs: int, config: NetworkConfig) -> MLP:
    """Return the two hidden layers of the actor or of a critic."""
    return MLP(inputs, (config.hidden, config.hidden), config)
