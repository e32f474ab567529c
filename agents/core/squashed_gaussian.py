"""The squashed Gaussian: actions a = tanh(u) of a Gaussian u (Haarnoja et al. 2018, appendix C).

    u = mu + sigma * noise,   noise ~ N(0, 1)
    log pi(a | s) = sum_d (log N(u_d; mu_d, sigma_d) - log(1 - tanh(u_d)^2))

The sum is over the D entries of an action, which are independent given the state. Every function takes the noise as an
argument, so that an action is a differentiable function of mu and sigma (the reparameterisation trick).

In shapes, B is the number of states.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def squashed_sample(mean: Tensor, log_std: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Return actions and their log-probability densities, both differentiable.

    Args:
        mean: mu, f32[B, D].
        log_std: log sigma, f32[B, D].
        noise: Samples of the standard normal distribution, f32[B, D].

    Returns:
        Actions f32[B, D], in [-1, 1], and log pi(a | s) f32[B].
    """
    u = mean + log_std.exp() * noise
    log_normal = -0.5 * noise.square() - log_std - 0.5 * math.log(2 * math.pi)
    return torch.tanh(u), (log_normal - log_tanh_slope(u)).sum(1)


def squashed_std(mean: Tensor, log_std: Tensor) -> Tensor:
    """Return the standard deviation of the actions to first order, sigma (1 - tanh(mu)^2), f32[B, D]."""
    return log_std.exp() * (1 - torch.tanh(mean).square())


def log_tanh_slope(u: Tensor) -> Tensor:
    """Return log(1 - tanh(u)^2) of each entry, computed as 2 (log 2 - u - softplus(-2 u)).

    The result is accurate even where tanh(u) rounds to 1.
    """
    return 2 * (math.log(2) - u - F.softplus(-2 * u))
