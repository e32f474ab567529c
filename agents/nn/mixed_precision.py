"""Layers that compute in the dtype of their input, with float32 parameters.

Image encoders may compute in bfloat16. The optimiser needs float32 parameters, so each layer casts its parameters to
the dtype of the input when it is called.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_COPY_ATTRIBUTE = "cached_cast"  # attribute of a parameter: (version of the parameter, copy in another dtype)


def cast_parameter(parameter: Tensor, dtype: torch.dtype) -> Tensor:
    """Cast a parameter to a dtype. The result is differentiable.

    On a CPU, a cast takes as long as a convolution. So the copy is cached until the parameter changes in place, which
    increments the parameter's `_version`. Do not change a parameter through `.data`: this does not increment the
    version, so the cached copy would be outdated. On other devices the cast is cheap, and nothing is cached.
    """
    if parameter.dtype == dtype:
        return parameter
    if parameter.device.type != "cpu":
        return parameter.to(dtype)
    return _UseCachedCast.apply(parameter, _cached_copy(parameter, dtype))  # pyright: ignore[reportReturnType]


class Linear(nn.Linear):
    """A linear layer that computes in the dtype of its input."""

    def forward(self, input: Tensor) -> Tensor:
        """Return the outputs [..., out_features] in the dtype of the input [..., in_features]."""
        return F.linear(input, cast_parameter(self.weight, input.dtype), cast_parameter(self.bias, input.dtype))


class Conv2d(nn.Conv2d):
    """A convolution that computes in the dtype of its input."""

    def forward(self, input: Tensor) -> Tensor:
        """Return feature maps [B, out_channels, H', W'] in the dtype of the input [B, in_channels, H, W]."""
        weight = cast_parameter(self.weight, input.dtype)
        assert self.bias is not None
        bias = cast_parameter(self.bias, input.dtype)
        return self._conv_forward(input, weight, bias)


class LayerNorm(nn.LayerNorm):
    """Layer normalisation (Ba et al. 2016) that computes in float32, whatever the dtype of its input."""

    def forward(self, input: Tensor) -> Tensor:
        """Return the normalised input in float32."""
        return super().forward(input.float())


class ConvolutionLayerNorm(nn.GroupNorm):
    """Layer normalisation over the channels and the pixels of feature maps, with a scale and a shift for each channel.

    It computes in float32 and returns the dtype of its input.

    Args:
        channels: Channels of the feature maps.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(1, channels)

    def forward(self, input: Tensor) -> Tensor:
        """Return the normalised feature maps [B, channels, H, W]."""
        return super().forward(input.float()).to(input.dtype)


class _UseCachedCast(torch.autograd.Function):
    """Return the cached copy of a parameter. The backward pass casts the gradient to the dtype of the parameter."""

    @staticmethod
    def forward(ctx: Any, parameter: Tensor, copy: Tensor) -> Tensor:
        ctx.dtype = parameter.dtype
        return copy

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        return grad_outputs[0].to(ctx.dtype), None


def _cached_copy(parameter: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the cached copy of a parameter in another dtype. Renew the copy if the parameter has changed since.

    The copy is not renewed for another dtype, because a network computes in one dtype.
    """
    version, copy = getattr(parameter, _COPY_ATTRIBUTE, (None, None))
    if copy is None or version != parameter._version:
        copy = parameter.detach().to(dtype)
        setattr(parameter, _COPY_ATTRIBUTE, (parameter._version, copy))
    return copy
