"""Networks of feed-forward agents: an encoder and one or two heads.

Heads compute in float32, also after a bfloat16 encoder: near 100, bfloat16 has steps of 0.5, which is more than the
difference between the values of two actions.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from agents.core.action_distribution import ActionDistribution
from agents.nn.encoders import Encoder, FrameDifferenceEncoder
from agents.nn.packed import mask_illegal
from agents.nn.pixel_convolutions import PreprocessedImages


class QNetwork(nn.Module):
    """An encoder and a head with one value for each action.

    Illegal actions have the value `agents.core.action_masks.ILLEGAL`.

    Args:
        encoder: Encoder of observations [B, k, *obs_shape].
        head: Layers from features f32[B, features] to values f32[B, A].
    """

    def __init__(self, encoder: Encoder, head: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head
        self.packed = encoder.packed  # the layout of packed observations, which may hold action masks

    def preprocess(self, obs: Tensor) -> Tensor | PreprocessedImages:
        """Convert observations [B, k, *obs_shape] to the input of the first layer.

        Networks with the same settings can share the result.
        """
        return self.encoder.preprocess(obs)

    def forward(self, obs: Tensor | PreprocessedImages) -> Tensor:
        """Return Q(s, .) f32[B, A] of observations [B, k, *obs_shape], or of preprocessed observations."""
        return self.masked(self.head(self.encoder(obs).float()), obs)

    def masked(self, values: Tensor, obs: Tensor | PreprocessedImages) -> Tensor:
        """Return the values f32[B, A] of observations, with `ILLEGAL` for illegal actions."""
        if isinstance(obs, PreprocessedImages):  # images without a mask
            return values
        return mask_illegal(values, obs, self.packed)


class DistributionalQNetwork(QNetwork):
    """A Q-network that predicts the distribution of the return over fixed atoms (C51: Bellemare et al. 2017).

    Args:
        encoder: Encoder of observations [B, k, *obs_shape].
        head: Layers from features f32[B, features] to logits f32[B, A * atoms].
        low: Return of the first atom.
        high: Return of the last atom.
        atoms: Number of atoms, evenly spaced from `low` to `high`.
    """

    support: Tensor

    def __init__(self, encoder: Encoder, head: nn.Module, *, low: float, high: float, atoms: int) -> None:
        super().__init__(encoder, head)
        self.register_buffer("support", torch.linspace(low, high, atoms))

    def log_probabilities(self, obs: Tensor | PreprocessedImages) -> Tensor:
        """Return log p(z | s, a) of each atom z, f32[B, A, atoms]."""
        logits = self.head(self.encoder(obs).float()).unflatten(1, (-1, len(self.support)))
        return logits.log_softmax(2)

    def means(self, log_probabilities: Tensor, obs: Tensor | PreprocessedImages) -> Tensor:
        """Return E[Z(s, a)] f32[B, A], from log p(z | s, a) f32[B, A, atoms] of observations."""
        return self.masked((log_probabilities.exp() * self.support).sum(2), obs)

    def forward(self, obs: Tensor | PreprocessedImages) -> Tensor:
        """Return Q(s, a) = E[Z(s, a)], f32[B, A]."""
        return self.means(self.log_probabilities(obs), obs)


class QuantileQNetwork(QNetwork):
    """A Q-network that predicts quantiles of the return (QR-DQN: Dabney et al. 2018).

    Args:
        encoder: Encoder of observations [B, k, *obs_shape].
        head: Layers from features f32[B, features] to quantiles f32[B, A * num_quantiles].
        num_quantiles: Number of quantiles of each action, N.
    """

    midpoints: Tensor  # f32[N]: tau_i = (2i - 1) / 2N, the probabilities of the quantiles

    def __init__(self, encoder: Encoder, head: nn.Module, *, num_quantiles: int) -> None:
        super().__init__(encoder, head)
        edge = 0.5 / num_quantiles
        self.register_buffer("midpoints", torch.linspace(edge, 1 - edge, num_quantiles))

    def quantiles(self, obs: Tensor | PreprocessedImages) -> Tensor:
        """Return the quantiles theta_i(s, a), f32[B, A, N]."""
        return self.head(self.encoder(obs).float()).unflatten(1, (-1, len(self.midpoints)))

    def means(self, quantiles: Tensor, obs: Tensor | PreprocessedImages) -> Tensor:
        """Return the mean 1/N sum_i theta_i(s, a), f32[B, A], of quantiles f32[B, A, N] of observations."""
        return self.masked(quantiles.mean(2), obs)

    def forward(self, obs: Tensor | PreprocessedImages) -> Tensor:
        """Return Q(s, a), the mean of the quantiles, f32[B, A]."""
        return self.means(self.quantiles(obs), obs)


def distribution_of_action(distributions: Tensor, action: Tensor) -> Tensor:
    """Return the distribution of one action of each transition, [B, K].

    Args:
        distributions: K numbers for each action, log-probabilities of atoms or quantiles, [B, A, K].
        action: i64[B].
    """
    index = action[:, None, None].expand(-1, 1, distributions.shape[2])
    return distributions.gather(1, index).squeeze(1)


class ActorCritic(nn.Module):
    """An encoder with two linear heads: the policy pi(. | s) and, optionally, the value V(s).

    With continuous actions, the standard deviations of the policy are parameters of their own. They do not depend on
    the state, as in Schulman et al. 2017.

    Args:
        encoder: Encoder of observations [B, k, *obs_shape].
        distribution: Distribution of the actions.
        baseline: Include the head for V(s).
        features: Inputs of both heads. None means the features of the encoder.
        initial_std: Initial standard deviation of each entry of a continuous action.
    """

    def __init__(
        self,
        encoder: Encoder | FrameDifferenceEncoder,
        distribution: ActionDistribution,
        *,
        baseline: bool,
        features: int | None = None,
        initial_std: float = 1.0,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.packed = encoder.packed  # the layout of packed observations, which may hold action masks
        self.distribution = distribution
        if features is None:
            features = encoder.features
        self.policy = nn.Linear(features, distribution.num_outputs)
        self.value = nn.Linear(features, 1) if baseline else None
        self.log_std: nn.Parameter | None = None  # f32[D], with continuous actions
        if distribution.is_continuous:
            self.log_std = nn.Parameter(torch.full((distribution.num_outputs,), math.log(initial_std)))

    def forward(self, obs: Tensor) -> tuple[Tensor, Tensor]:
        """Return the parameters of pi(. | s) f32[B, P] (`ActionDistribution`), and V(s) f32[B].

        V is 0 without a baseline.
        """
        return self.heads(self.encoder(obs).float(), obs)

    def heads(self, features: Tensor, obs: Tensor) -> tuple[Tensor, Tensor]:
        """Return the results of `forward`, from features f32[B, features] of observations.

        The observations are needed for their action masks only.
        """
        outputs = self.policy(features)
        if self.log_std is not None:
            outputs = torch.cat([outputs, self.log_std.expand_as(outputs)], 1)
        else:
            outputs = mask_illegal(outputs, obs, self.packed)
        parameters = self.distribution.parameters(outputs)
        if self.value is None:
            return parameters, features.new_zeros(len(features))
        return parameters, self.value(features).squeeze(1)
