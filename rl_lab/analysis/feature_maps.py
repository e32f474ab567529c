"""Record the feature maps of an agent's convolutions, and compute their receptive fields."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from agents.core.agent import Agent, SeparateCritics
from agents.core.types import Carry, PolicyOutput


class FeatureMaps(NamedTuple):
    """The convolutions that a forward pass used, and their outputs."""

    policy_output: PolicyOutput
    convolutions: list[nn.Conv2d]  # in the order of their use
    maps: list[Tensor]  # [N, C, h, w] of each convolution, after its ReLU


class ReceptiveField(NamedTuple):
    """The square of input pixels that one position of a feature map depends on."""

    size: int  # side of the square, in pixels
    stride: int  # distance between the squares of neighbouring positions, in pixels
    center: float  # center of the square of the first position, in pixels from the first one


def record_feature_maps(agent: Agent, obs: Tensor, is_first: Tensor, carry: Carry) -> FeatureMaps:
    """Return the policy output and the feature maps behind it. Differentiable.

    Forward hooks record the convolutions, because a network may contain others that the policy does not use, such as
    those of a target network. The arguments are those of `Agent.policy_output`.
    """
    convolutions: list[nn.Conv2d] = []
    maps: list[Tensor] = []

    def record(layer: nn.Module, inputs: Any, output: Any) -> None:
        if isinstance(layer, nn.Conv2d):
            convolutions.append(layer)
        elif output.dim() == 4:
            maps.append(output)

    network = agent.critic_network if isinstance(agent, SeparateCritics) else agent.network
    layers = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d | nn.ReLU)]
    hooks = [layer.register_forward_hook(record) for layer in layers]
    try:
        policy_output, _ = agent.policy_output(obs, is_first, carry)
    finally:
        for hook in hooks:
            hook.remove()
    return FeatureMaps(policy_output, convolutions, maps)


def record_stack_feature_maps(agent: Agent, stacks: Tensor) -> FeatureMaps:
    """Return the feature maps of stacked frames [N, k, H, W], oldest first. Differentiable."""
    num_stacks = len(stacks)
    other_carry = agent.initial_carry(num_stacks)[1:]
    carry = (stacks[:, :-1], *other_carry)
    is_first = torch.zeros(num_stacks, dtype=torch.bool)
    return record_feature_maps(agent, stacks[:, -1], is_first, carry)


def receptive_field(convolutions: Sequence[nn.Conv2d]) -> ReceptiveField:
    """Return the receptive field of the last of several successive convolutions.

    A layer with kernel size K, stride S and padding P changes the field as follows (Araujo et al. 2019, "Computing
    receptive fields of convolutional neural networks"):

        start' = start - P * stride
        size' = size + (K - 1) * stride
        stride' = stride * S
    """
    size, stride, start = 1, 1, 0
    for convolution in convolutions:
        start -= int(convolution.padding[0]) * stride
        size += (convolution.kernel_size[0] - 1) * stride
        stride *= convolution.stride[0]
    return ReceptiveField(size, stride, start + (size - 1) / 2)
