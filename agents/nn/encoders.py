"""Encoders: what makes features of a stack of observations, with the choices of normalisation and dropout.

Images come in as the replay and the carry hold them, uint8[B, k, H, W], and are scaled here; vectors come in as
float32[B, k, D]. Everything after that is an ordinary feed-forward stack.

An encoder of images computes in float32 or in bfloat16: its first layer makes numbers of that format of the pixels, and every
layer computes in the format of what it is given, with weights that are float32 for the optimiser (`in_format`).
"""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from agents.core.types import EnvSpaces
from agents.nn.config import Norm, Pixels


class CachedCast(torch.autograd.Function):
    """`copy`, a copy of `weight` in another format, in its place; the gradient comes back in the weight's own format."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, copy: Tensor) -> Tensor:
        ctx.dtype = weight.dtype
        return copy

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        return gradient.to(ctx.dtype), None


def in_format(weight: Tensor, dtype: torch.dtype) -> Tensor:
    """A parameter in the format that is computed in.

    On a CPU, where a cast takes as long as a convolution, the copy is kept until the parameter's `_version` tells that it was changed
    in place (a change of `.data` it does not tell). On a GPU, where it takes no time, it is made at every use.
    """
    if weight.dtype == dtype:
        return weight
    if weight.device.type != "cpu":
        return weight.to(dtype)
    version, copy = getattr(weight, "cast", (None, None))
    if version != weight._version:
        copy = weight.detach().to(dtype)
        weight.cast = (weight._version, copy)  # type: ignore[attr-defined]
    return CachedCast.apply(weight, copy)  # type: ignore[return-value]


class Linear(nn.Linear):
    """A linear layer that computes in the format of its input."""

    def forward(self, input: Tensor) -> Tensor:
        return F.linear(input, in_format(self.weight, input.dtype), in_format(self.bias, input.dtype))


class Conv2d(nn.Conv2d):
    """A convolution that computes in the format of its input."""

    def forward(self, input: Tensor) -> Tensor:
        weight, bias = in_format(self.weight, input.dtype), in_format(self.bias, input.dtype)  # type: ignore[arg-type]
        return self._conv_forward(input, weight, bias)


class LayerNorm(nn.LayerNorm):
    """Layer normalisation (Ba et al. 2016), in float32 whatever the format of its input."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input.float())


def hidden_layer(
    inputs: int, outputs: int, norm: Norm, dropout: float, linear: type[nn.Linear] = Linear
) -> list[nn.Module]:
    """Linear, then the normalisation (Ba et al. 2016; Ioffe and Szegedy 2015), ReLU, and dropout (Srivastava et al. 2014)."""
    layers: list[nn.Module] = [linear(inputs, outputs)]
    if norm == "layer":
        layers.append(LayerNorm(outputs))
    elif norm == "batch":
        layers.append(nn.BatchNorm1d(outputs))
    layers.append(nn.ReLU())
    if dropout:
        layers.append(nn.Dropout(dropout))
    return layers


def channels_last(frames: Tensor) -> Tensor:
    """The frames [B, k, H, W] in memory as [B, H, W, k]: `contiguous(memory_format=...)`, which takes twice as long on a CPU."""
    return torch.stack(frames.unbind(1), -1).permute(0, 3, 1, 2)


class PreprocessedImages(NamedTuple):
    """A stack of images as the first convolution takes it: made once where several networks look at the same one."""

    pixels: Tensor  # [B, k, H, W], whole numbers in the format that is computed in


class Frames(nn.Conv2d):
    """The first convolution over a stack of k frames, uint8[B, k, H, W], each divided by 255 (Mnih et al. 2015).

    The weights are divided, which is the same and keeps the pixels whole numbers, of which bfloat16 knows 0 to 255 exactly.
    """

    def __init__(self, stack: int, filters: int, kernel: int, stride: int, dtype: torch.dtype) -> None:
        super().__init__(stack, filters, kernel, stride)
        self.computes_in = dtype

    def scaled(self) -> Tensor:
        """The weights of whole pixels, [filters, k, kernel, kernel]."""
        return self.weight / 255

    def preprocess(self, obs: Tensor) -> PreprocessedImages:
        """The pixels themselves."""
        return PreprocessedImages(channels_last(obs).to(self.computes_in))

    def forward(self, input: Tensor | PreprocessedImages) -> Tensor:
        x = (input if isinstance(input, PreprocessedImages) else self.preprocess(input)).pixels
        return self._conv_forward(x, self.scaled().to(x.dtype), self.bias.to(x.dtype))  # type: ignore[union-attr]


class Differences(Frames):
    """The first convolution over k-1 differences of successive frames and the newest frame less its mean, all over 255.

    The same information as `Frames` in a basis whose channels are centred, hardly correlated and, with the differences times
    `CONTRAST`, of like variance: gradient descent need not learn to cancel the background first, nor to see what moves
    (LeCun et al. 1998, "Efficient BackProp", section 4.3). Differences of the input are computed as differences of the
    weights, w . (x' - x) = w . x' - w . x, which costs nothing; the mean, to the nearest whole number, is taken off all frames,
    where it changes no difference, so that bfloat16 knows them exactly still.
    """

    CONTRAST = 10.0  # pixels of six games vary 7 to 21 times as much as their differences

    def __init__(self, stack: int, filters: int, kernel: int, stride: int, dtype: torch.dtype) -> None:
        super().__init__(stack, filters, kernel, stride, dtype)
        differences = self.CONTRAST * (torch.eye(stack).roll(1, 1) - torch.eye(stack))[:-1]
        by_frame = torch.cat([differences, torch.eye(stack)[-1:]]) / 255
        self.by_frame = nn.Buffer(by_frame, persistent=False)  # [channel of the weights, frame]

    def scaled(self) -> Tensor:
        """The weights of whole pixels, [filters, k, kernel, kernel]."""
        return (self.weight.permute(0, 2, 3, 1) @ self.by_frame).permute(0, 3, 1, 2)

    def preprocess(self, obs: Tensor) -> PreprocessedImages:
        """The pixels less the newest frame's mean."""
        seen = super().preprocess(obs)
        seen.pixels.sub_(obs[:, -1:].float().mean((2, 3), keepdim=True).round().to(self.computes_in))
        return seen


class ScaledGradient(torch.autograd.Function):
    """The identity, whose gradient is multiplied by `scale` on its way back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: float) -> Tensor:
        ctx.scale = scale
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        return gradient * ctx.scale, None


class ScaleGradient(nn.Module):
    """`ScaledGradient` as a layer."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        return ScaledGradient.apply(x, self.scale)  # type: ignore[return-value]


class NatureCNN(nn.Module):
    """The encoder of Mnih et al. 2015: conv 32 8x8/4, 64 4x4/2, 64 3x3/1, each with ReLU, then a hidden layer.

    uint8[B, k, H, W] -> float[B, features]; H and W at least 36. `filters` stands for the first 32, and twice that for each 64.
    Batch normalisation sits after every convolution too; layer normalisation only on the hidden layer, where it costs nothing.
    """

    def __init__(
        self,
        stack: int,
        height: int,
        width: int,
        features: int,
        *,
        filters: int,
        pixels: Pixels,
        norm: Norm,
        dropout: float,
        gradient_scale: float,
        linear: type[nn.Linear],
        dtype: torch.dtype,
    ) -> None:
        super().__init__()
        first = functools.partial(Frames if pixels == "frames" else Differences, dtype=dtype)
        layers: list[nn.Module] = []
        channels = stack
        for conv, outputs, kernel, stride in (
            (first, filters, 8, 4),
            (Conv2d, 2 * filters, 4, 2),
            (Conv2d, 2 * filters, 3, 1),
        ):
            layers.append(conv(channels, outputs, kernel, stride))
            if norm == "batch":
                layers.append(nn.BatchNorm2d(outputs))
            layers.append(nn.ReLU())
            channels, height, width = outputs, (height - kernel) // stride + 1, (width - kernel) // stride + 1
        if gradient_scale != 1:
            layers.append(ScaleGradient(gradient_scale))
        self.conv = nn.Sequential(*layers, nn.Flatten())
        flat = channels * height * width
        self.hidden = nn.Sequential(*(hidden_layer(flat, features, norm, dropout, linear) if features else []))
        self.features = features or flat

    def preprocess(self, obs: Tensor) -> PreprocessedImages:
        """What this encoder, and any like it, takes in place of obs."""
        first = self.conv[0]
        assert isinstance(first, Frames)
        return first.preprocess(obs)

    def forward(self, obs: Tensor | PreprocessedImages) -> Tensor:
        return self.hidden(self.conv(obs))


class MLP(nn.Module):
    """Fully connected layers with ReLU over a flattened observation: [B, k, D] -> float[B, features]."""

    def __init__(
        self, inputs: int, features: tuple[int, ...], norm: Norm, dropout: float, linear: type[nn.Linear]
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for outputs in features:
            layers += hidden_layer(inputs, outputs, norm, dropout, linear)
            inputs = outputs
        self.layers = nn.Sequential(*layers)
        self.features = inputs

    def preprocess(self, obs: Tensor) -> Tensor:
        """The observations themselves."""
        return obs

    def forward(self, obs: Tensor) -> Tensor:
        return self.layers(obs.flatten(1).float())


class FrameDifference(nn.Module):
    """The newest frame less the one before it, flattened, and one hidden layer (Karpathy 2016): uint8[B, 2, H, W] -> float[B, features]."""

    def __init__(self, pixels: int, features: int, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.hidden = Linear(pixels, features)
        self.features, self.computes_in = features, dtype

    def forward(self, obs: Tensor) -> Tensor:
        return F.relu(self.hidden((obs[:, 1].to(self.computes_in) - obs[:, 0]).flatten(1)))


def build_encoder(
    rows: EnvSpaces,
    stack: int,
    *,
    hidden: int,
    last: bool = True,
    filters: int = 32,
    pixels: Pixels = "frames",
    norm: Norm = "none",
    dropout: float = 0.0,
    gradient_scale: float = 1.0,
    linear: type[nn.Linear] = Linear,
    dtype: torch.dtype = torch.float32,
) -> NatureCNN | MLP:
    """The encoder that fits the rows: Nature CNN for images, two hidden layers for vectors; `hidden` features out.

    Without its `last` layer it is the convolutions, or one hidden layer over vectors. `gradient_scale` multiplies the
    gradient that enters the last convolution; an MLP has none. `linear` makes the fully connected layers. `dtype` is what images
    are computed in, torch.float32 or torch.bfloat16; vectors are computed in float32.
    """
    if rows.is_image:
        height, width = rows.obs_shape
        options = {"norm": norm, "dropout": dropout, "gradient_scale": gradient_scale, "linear": linear, "dtype": dtype}
        return NatureCNN(stack, height, width, hidden if last else 0, filters=filters, pixels=pixels, **options)  # type: ignore[arg-type]
    return MLP(stack * math.prod(rows.obs_shape), (hidden, hidden) if last else (hidden,), norm, dropout, linear)
