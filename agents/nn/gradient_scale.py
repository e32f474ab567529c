"""A layer that scales the gradient and leaves the values unchanged."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class ScaleGradient(nn.Module):
    """Return the input unchanged; multiply its gradient by `scale` in the backward pass."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        """Return x."""
        return _ScaleGradientFunction.apply(x, self.scale)  # pyright: ignore[reportReturnType]


class _ScaleGradientFunction(torch.autograd.Function):
    """The forward and the backward pass of `ScaleGradient`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: float) -> Tensor:
        ctx.scale = scale
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        return grad_outputs[0] * ctx.scale, None
