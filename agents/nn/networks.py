"""Networks of feed-forward agents: an encoder and one or two heads.

Heads compute in float32, also after a bfloat16 encoder: near 100, bfloat16 has steps of 0.5, which is more than the
difference between the values of two actions.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from agents.nn.encoders import MLP, FrameDifferenceEncoder, NatureCNN
from agents.nn.pixel_convolutions import PreprocessedImages


class QNetwork(nn.Module):
    """An encoder and a head with one value for each action.

    Args:
        encoder: Encoder of observations [B, k, *obs_shape].
        head: Layers from features float32[B, features] to values float32[B, A].
    """

    def __init__(self, encoder: NatureCNN | MLP, head: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head

    def preprocess(self, obs: Tensor) -> Tensor | PreprocessedImages:
        """Convert observations [B, k, *obs_shape] to the input of the first layer.

        Networks with the same settings can share the result.
        """
        return self.encoder.preprocess(obs)

    def forward(self, obs: Tensor | PreprocessedImages) -> Tensor:
        """Return Q(s, .) float32[B, A] of observations [B, k, *obs_shape], or of preprocessed observations."""
        return self.head(self.encoder(obs).float())


class DistributionalQNetwork(QNetwork):
    """A Q-network that predicts the distribution of the return over fixed atoms (C51: Bellemare et al. 2017).

    Args:
        encoder: Encoder of observations [B, k, *obs_shape].
        head: Layers from features float32[B, features] to logits float32[B, A * atoms].
        low: Return of the first atom.
        high: Return of the last atom.
        atoms: Number of atoms, evenly spaced from `low` to `high`.
    """

    support: Tensor

    def __init__(self, encoder: NatureCNN | MLP, head: nn.Module, *, low: float, high: float, atoms: int) -> None:
        super().__init__(encoder, head)
        self.register_buffer("support", torch.linspace(low, high, atoms))

    def log_probabilities(self, obs: Tensor | PreprocessedImages) -> Tensor:
        """Return log p(z | s, a) of each atom z, float32[B, A, atoms]."""
        logits = super().forward(obs).unflatten(1, (-1, len(self.support)))
        return logits.log_softmax(2)

    def means(self, log_probabilities: Tensor) -> Tensor:
        """Return E[Z(s, a)] float32[B, A], from log p(z | s, a) float32[B, A, atoms]."""
        return (log_probabilities.exp() * self.support).sum(2)

    def forward(self, obs: Tensor | PreprocessedImages) -> Tensor:
        """Return Q(s, a) = E[Z(s, a)], float32[B, A]."""
        return self.means(self.log_probabilities(obs))


class ActorCritic(nn.Module):
    """An encoder with two linear heads: the policy pi(. | s) and, optionally, the value V(s).

    Args:
        encoder: Encoder of observations [B, k, *obs_shape].
        num_actions: Number of actions.
        baseline: Include the head for V(s).
    """

    def __init__(self, encoder: NatureCNN | MLP | FrameDifferenceEncoder, num_actions: int, *, baseline: bool) -> None:
        super().__init__()
        self.encoder = encoder
        self.policy = nn.Linear(encoder.features, num_actions)
        self.value = nn.Linear(encoder.features, 1) if baseline else None

    def forward(self, obs: Tensor) -> tuple[Tensor, Tensor]:
        """Return log pi(. | s) float32[B, A], and V(s) float32[B]. V is 0 without a baseline."""
        features = self.encoder(obs).float()
        log_pi = self.policy(features).log_softmax(1)
        if self.value is None:
            return log_pi, features.new_zeros(len(features))
        return log_pi, self.value(features).squeeze(1)
