"""Noisy linear layers, which explore by noise on their parameters (Fortunato et al. 2018)."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from agents.nn.mixed_precision import Linear


class FactorisedNoise(NamedTuple):
    """The noise vectors of one layer."""

    inputs: Tensor  # f32[in_features]
    outputs: Tensor  # f32[out_features]


class NoisyLinear(Linear):
    """A linear layer with factorised Gaussian noise (Fortunato et al. 2018, equations 10 and 11).

        y = (W + S * n_out n_in^T) x + (b + s * n_out)

    W and b are the means, S (`weight_scale`) and s (`bias_scale`) the learned scales of the noise; * is element by
    element. `sample_noise` sets the noise n, `remove_noise` removes it. Without noise, as after construction, the layer
    is an ordinary linear layer.

    Args:
        inputs: Number of inputs, p in the paper.
        outputs: Number of outputs, q in the paper.
    """

    INITIAL_SCALE = 0.5  # sigma_0 of the paper

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs)
        scale = self.INITIAL_SCALE / math.sqrt(inputs)
        self.weight_scale = nn.Parameter(torch.full((outputs, inputs), scale))
        self.bias_scale = nn.Parameter(torch.full((outputs,), scale))
        self.noise: FactorisedNoise | None = None

    def forward(self, input: Tensor) -> Tensor:
        """Return the outputs [..., out_features] in the dtype of the input [..., in_features]."""
        if self.noise is None:
            return super().forward(input)
        weight = self.weight + self.weight_scale * torch.outer(self.noise.outputs, self.noise.inputs)
        bias = self.bias + self.bias_scale * self.noise.outputs
        return F.linear(input, weight.to(input.dtype), bias.to(input.dtype))


def sample_noise(network: nn.Module, generator: torch.Generator) -> None:
    """Draw new noise for every `NoisyLinear` of the network."""
    for layer in network.modules():
        if isinstance(layer, NoisyLinear):
            device = layer.weight.device
            inputs = torch.randn(layer.in_features, generator=generator, device=device)
            outputs = torch.randn(layer.out_features, generator=generator, device=device)
            layer.noise = FactorisedNoise(_signed_root(inputs), _signed_root(outputs))


def remove_noise(network: nn.Module) -> None:
    """Remove the noise from every `NoisyLinear` of the network."""
    for layer in network.modules():
        if isinstance(layer, NoisyLinear):
            layer.noise = None


def _signed_root(noise: Tensor) -> Tensor:
    """Return sign(x) sqrt(|x|) of each element, as in Fortunato et al. 2018."""
    return noise.sign() * noise.abs().sqrt()
