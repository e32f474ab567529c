"""Distributions of actions, as policy gradients need them: categorical for discrete actions, Gaussian for continuous.

A network returns the parameters of pi(. | s) for each state, and these classes compute with them. They hold no tensors.

Discrete actions. The parameters are log pi(a | s) of all actions. An action with several parts (MultiDiscrete,
MultiBinary) is one number, which counts all combinations, the last part fastest. The parts are independent given the
state (Tavakoli et al. 2018, "Action branching architectures"):

    log pi(a | s) = sum_d log pi_d(a_d | s)
    H(pi) = sum_d H(pi_d)

Continuous actions. The parameters are the mean mu and the logarithm of the standard deviation sigma of each entry. The
entries are independent given the state:

    log pi(a | s) = -1/2 sum_d (((a_d - mu_d) / sigma_d)^2 + 2 log sigma_d + log(2 pi))
    H(pi) = sum_d (log sigma_d + 1/2 log(2 pi e))

In shapes, B is the number of states, A the number of actions, summed over parts, and D the number of entries of a
continuous action.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import numpy as np
import torch
from torch import Tensor

from agents.core.squashed_gaussian import log_tanh_slope, squashed_std
from agents.core.types import EnvSpaces

MAX_SQUASHED = 1 - 1e-6
"""Largest magnitude of an entry of a squashed action from which the number before tanh is computed back."""

QUADRATURE_POINTS = 16
"""Points of the Gauss-Hermite quadrature for the entropy of a squashed Gaussian."""


class ActionDistribution(ABC):
    """The arithmetic of pi(. | s)."""

    num_outputs: int
    """Outputs of the last layer of the policy."""
    is_continuous: bool

    @abstractmethod
    def parameters(self, outputs: Tensor) -> Tensor:
        """Return the parameters of pi(. | s) f32[B, P] from the outputs of the policy's layers f32[B, P]."""

    @abstractmethod
    def sample(self, parameters: Tensor, generator: torch.Generator) -> Tensor:
        """Return actions i64[B] or f32[B, D], drawn from pi."""

    @abstractmethod
    def mode(self, parameters: Tensor) -> Tensor:
        """Return the most probable actions i64[B], or the means f32[B, D]."""

    @abstractmethod
    def log_prob(self, parameters: Tensor, action: Tensor) -> Tensor:
        """Return log pi(a | s) f32[B] of actions i64[B] or f32[B, D]."""

    @abstractmethod
    def entropy(self, parameters: Tensor) -> Tensor:
        """Return H(pi) f32[B] in nats."""

    @abstractmethod
    def scores(self, parameters: Tensor) -> Tensor:
        """Return `PolicyOutput.scores`: probabilities f32[B, A], or the means f32[B, D]."""

    @abstractmethod
    def std(self, parameters: Tensor) -> Tensor | None:
        """Return the standard deviations f32[B, D] of continuous actions. None for discrete ones."""


def action_distribution(spaces: EnvSpaces, *, squashed: bool = False) -> ActionDistribution:
    """Return the distribution for the actions of an environment.

    Args:
        spaces: Shapes and types of observations and actions.
        squashed: With continuous actions, apply tanh to the Gaussian.
    """
    if not spaces.is_continuous:
        return CategoricalDistribution(spaces.num_actions, spaces.action_parts)
    if squashed:
        return SquashedGaussianDistribution(spaces.action_dim)
    return GaussianDistribution(spaces.action_dim)


class CategoricalDistribution(ActionDistribution):
    """The distribution of discrete actions. The parameters are log pi_d(. | s) of all parts, one after the other.

    Args:
        num_actions: Number of actions, or of all combinations.
        parts: Number of actions of each part. () means one part.
    """

    is_continuous = False

    def __init__(self, num_actions: int, parts: tuple[int, ...] = ()) -> None:
        self.parts = parts or (num_actions,)
        self.num_outputs = sum(self.parts)

    def parameters(self, outputs: Tensor) -> Tensor:
        """Return log pi f32[B, A] of logits f32[B, A]."""
        if len(self.parts) == 1:
            return outputs.log_softmax(1)
        return torch.cat([part.log_softmax(1) for part in outputs.split(self.parts, 1)], 1)

    def sample(self, parameters: Tensor, generator: torch.Generator) -> Tensor:
        """Return actions i64[B], drawn from pi."""
        draws = [
            torch.multinomial(part.exp(), 1, generator=generator).squeeze(1) for part in parameters.split(self.parts, 1)
        ]
        return self._number(draws)

    def mode(self, parameters: Tensor) -> Tensor:
        """Return the most probable actions i64[B]."""
        return self._number([part.argmax(1) for part in parameters.split(self.parts, 1)])

    def log_prob(self, parameters: Tensor, action: Tensor) -> Tensor:
        """Return log pi(a | s) f32[B] of actions i64[B]."""
        log_probs = []
        for part, part_action in zip(parameters.split(self.parts, 1), self._split(action), strict=True):
            log_probs.append(part.gather(1, part_action[:, None]).squeeze(1))
        return log_probs[0] if len(log_probs) == 1 else torch.stack(log_probs).sum(0)

    def entropy(self, parameters: Tensor) -> Tensor:
        """Return H(pi) f32[B] in nats."""
        return -(parameters.exp() * parameters).sum(1)

    def scores(self, parameters: Tensor) -> Tensor:
        """Return pi(. | s) f32[B, A]."""
        return parameters.exp()

    def std(self, parameters: Tensor) -> None:
        """Return None: discrete actions have no standard deviation."""

    def _number(self, parts: list[Tensor]) -> Tensor:
        """Return the numbers i64[B] of combinations, from the actions i64[B] of each part."""
        number = parts[0]
        for size, action in zip(self.parts[1:], parts[1:], strict=True):
            number = number * size + action
        return number

    def _split(self, number: Tensor) -> list[Tensor]:
        """Return the actions i64[B] of each part, from the numbers i64[B] of combinations."""
        actions = []
        for size in reversed(self.parts[1:]):
            actions.append(number % size)
            number = number // size
        return [number, *reversed(actions)]


class GaussianDistribution(ActionDistribution):
    """The distribution of continuous actions. The parameters f32[B, 2 D] are the means, then the log sigmas.

    Samples may lie outside of [-1, 1]. The environment clips them, but log pi(a | s) is that of the sample.

    Args:
        action_dim: Entries of an action, D.
    """

    is_continuous = True

    def __init__(self, action_dim: int) -> None:
        self.num_outputs = action_dim

    def parameters(self, outputs: Tensor) -> Tensor:
        """Return the outputs: means and log sigmas f32[B, 2 D]."""
        return outputs

    def sample(self, parameters: Tensor, generator: torch.Generator) -> Tensor:
        """Return actions f32[B, D], drawn from pi."""
        mean, log_std = parameters.chunk(2, 1)
        noise = torch.randn(mean.shape, generator=generator, device=mean.device)
        return mean + log_std.exp() * noise

    def mode(self, parameters: Tensor) -> Tensor:
        """Return the means f32[B, D]."""
        return parameters.chunk(2, 1)[0]

    def log_prob(self, parameters: Tensor, action: Tensor) -> Tensor:
        """Return log pi(a | s) f32[B] of actions f32[B, D]."""
        mean, log_std = parameters.chunk(2, 1)
        deviation = (action - mean) * (-log_std).exp()
        return -(0.5 * deviation.square() + log_std + 0.5 * math.log(2 * math.pi)).sum(1)

    def entropy(self, parameters: Tensor) -> Tensor:
        """Return H(pi) f32[B] in nats."""
        log_std = parameters.chunk(2, 1)[1]
        return (log_std + 0.5 * math.log(2 * math.pi * math.e)).sum(1)

    def scores(self, parameters: Tensor) -> Tensor:
        """Return the most probable actions f32[B, D]."""
        return self.mode(parameters)

    def std(self, parameters: Tensor) -> Tensor:
        """Return sigma f32[B, D]."""
        return parameters.chunk(2, 1)[1].exp()


class SquashedGaussianDistribution(GaussianDistribution):
    """A Gaussian u, squashed to an action a = tanh(u) in [-1, 1] (Haarnoja et al. 2018, appendix C).

    log pi(a | s) = log N(u; mu, sigma) - sum_d log(1 - tanh(u_d)^2)
    """

    def sample(self, parameters: Tensor, generator: torch.Generator) -> Tensor:
        """Return actions f32[B, D] in [-1, 1], drawn from pi."""
        return super().sample(parameters, generator).tanh()

    def mode(self, parameters: Tensor) -> Tensor:
        """Return tanh(mu) f32[B, D]."""
        return super().mode(parameters).tanh()

    def log_prob(self, parameters: Tensor, action: Tensor) -> Tensor:
        """Return log pi(a | s) f32[B] of actions f32[B, D]. Actions of magnitude 1 count as `MAX_SQUASHED`."""
        u = action.clamp(-MAX_SQUASHED, MAX_SQUASHED).atanh()
        return super().log_prob(parameters, u) - log_tanh_slope(u).sum(1)

    def entropy(self, parameters: Tensor) -> Tensor:
        """Return H(pi) f32[B] in nats: H(N) + sum_d E[log(1 - tanh(u_d)^2)], the expectation by quadrature."""
        mean, log_std = parameters.chunk(2, 1)
        std = log_std.exp()
        points, weights = np.polynomial.hermite_e.hermegauss(QUADRATURE_POINTS)
        log_slope = torch.zeros_like(mean)
        for point, weight in zip(points.tolist(), (weights / weights.sum()).tolist(), strict=True):
            log_slope = log_slope + weight * log_tanh_slope(mean + std * point)
        return super().entropy(parameters) + log_slope.sum(1)

    def std(self, parameters: Tensor) -> Tensor:
        """Return the standard deviation f32[B, D] of the action to first order."""
        mean, log_std = parameters.chunk(2, 1)
        return squashed_std(mean, log_std)
