"""Normalisation of vector observations by their running mean and variance (`--normalize-obs`).

The statistics are buffers of the network. So they are part of the network's state dict. Whatever receives the weights
receives the statistics too: checkpoints, evaluations, viewers, collectors, the target network, and a run that starts
from another one.
"""

from __future__ import annotations

from torch import Tensor, nn

from agents.configs.shared import NetworkConfig
from agents.core.running_moments import RunningMoments
from agents.core.types import EnvSpaces

LIMIT = 10.0
"""Normalised observations are clipped to [-LIMIT, LIMIT]."""

EPSILON = 1e-8
"""Added to the variance, against division by zero."""


class ObservationNormalization(RunningMoments):
    """A layer that shifts and scales each entry of a vector by its running mean and standard deviation.

    The agent calls `update` once for every observation. `forward` changes no statistics, neither in training nor in
    evaluation mode.

    The zeros that stand in a stack for the observations before an episode are normalised like observations. The network
    cannot tell them from observations that are 0.
    """

    def forward(self, obs: Tensor) -> Tensor:
        """Return clip((x - mean) / sqrt(variance + EPSILON)), f32[B, k, *obs_shape], of stacks x of this shape."""
        scale = (self.variance + EPSILON).rsqrt().float()
        normalized = (obs.float() - self.mean.float()) * scale
        return normalized.clamp(-LIMIT, LIMIT)


def build_normalization(spaces: EnvSpaces, config: NetworkConfig) -> ObservationNormalization | None:
    """Return the layer that normalises vector observations, or None if `normalize_obs` is false."""
    if not config.normalize_obs:
        return None
    return ObservationNormalization(spaces.obs_shape)


def find_normalization(network: nn.Module) -> ObservationNormalization | None:
    """Return the layer of a network that normalises the observations, or None if the network has none."""
    for module in network.modules():
        if isinstance(module, ObservationNormalization):
            return module
    return None
