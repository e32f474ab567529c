"""Heads: the last layers of a network, which turn features into action values."""

from __future__ import annotations

from torch import Tensor, nn


class DuelingHead(nn.Module):
    """The dueling head (Wang et al. 2015, equation 9).

        Q(s, a) = V(s) + A(s, a) - mean_a' A(s, a')

    The first half of the features is the stream of the value V, the second half the stream of the advantages A. For a
    distributional network the equation holds for each atom.

    Args:
        features: Number of features, both streams together.
        num_actions: Number of actions.
        atoms: Atoms of a distribution of returns. 1 stands for a plain value.
        linear: Class of the two layers.
    """

    def __init__(self, features: int, num_actions: int, *, atoms: int = 1, linear: type[nn.Linear] = nn.Linear) -> None:
        super().__init__()
        self.atoms = atoms
        self.value = linear(features // 2, atoms)
        self.advantage = linear(features - features // 2, num_actions * atoms)

    def forward(self, features: Tensor) -> Tensor:
        """Return f32[B, num_actions * atoms] of features f32[B, features]."""
        value_stream, advantage_stream = features.split([self.value.in_features, self.advantage.in_features], 1)
        advantage = self.advantage(advantage_stream).unflatten(1, (-1, self.atoms))
        value = self.value(value_stream)[:, None]
        return (value + advantage - advantage.mean(1, keepdim=True)).flatten(1)
