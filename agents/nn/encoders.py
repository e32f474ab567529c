"""Encoders: networks that turn a stack of observations into a vector of features.

`build_encoder` chooses the encoder. Its input is a batch of B stacks of k observations: images uint8[B, k, H, W] with
pixels from 0 to 255, which the first convolution scales, or vectors float32[B, k, D].

Image encoders compute in float32 or bfloat16, vector encoders always in float32. Parameters are float32
(agents/nn/mixed_precision.py).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from agents.core.types import EnvSpaces
from agents.nn.gradient_scale import ScaleGradient
from agents.nn.mixed_precision import Conv2d, LayerNorm, Linear
from agents.nn.network_config import NetworkConfig
from agents.nn.normalization import ObservationNormalization, build_normalization
from agents.nn.pixel_convolutions import DifferencesConv2d, FramesConv2d, PreprocessedImages


def build_encoder(
    spaces: EnvSpaces,
    config: NetworkConfig,
    *,
    hidden: int | None = None,
    include_last: bool = True,
    gradient_scale: float = 1.0,
    linear: type[nn.Linear] = Linear,
    dtype: torch.dtype = torch.float32,
) -> NatureCNN | MLP:
    """Return the encoder that fits the observations: a Nature CNN for images, an MLP with two layers for vectors.

    Args:
        spaces: Shapes and types of observations.
        config: Settings of the network.
        hidden: Units of each fully connected hidden layer. None means `config.hidden`.
        include_last: Include the last hidden layer. Without this layer, the features are those of the last convolution,
            or of the first hidden layer of the MLP.
        gradient_scale: Factor on the gradient of the features of the last convolution. It scales the gradients of all
            convolutions. An MLP ignores the factor.
        linear: Class of the fully connected layers.
        dtype: Dtype in which an image encoder computes, torch.float32 or torch.bfloat16.

    Raises:
        ConfigError: `normalize_obs` is true, and the observations are images.
    """
    if hidden is None:
        hidden = config.hidden
    normalization = build_normalization(spaces, config)
    if spaces.is_image:
        height, width = spaces.obs_shape
        features = hidden if include_last else None
        return NatureCNN(
            height, width, config, features=features, gradient_scale=gradient_scale, linear=linear, dtype=dtype
        )
    inputs = config.frame_stack * math.prod(spaces.obs_shape)
    layer_sizes = (hidden, hidden) if include_last else (hidden,)
    return MLP(inputs, layer_sizes, config, linear=linear, normalization=normalization)


class NatureCNN(nn.Module):
    """The image encoder of Mnih et al. 2015: three convolutions and a hidden layer, each followed by ReLU.

    The convolutions have F filters of 8x8 with stride 4, 2 F of 4x4 with stride 2, and 2 F of 3x3 with stride 1. F is
    `config.filters`, 32 in the paper. Batch normalisation comes before every ReLU, layer normalisation only before the
    ReLU of the hidden layer. Dropout follows the hidden layer.

    Args:
        height: Height of an image in pixels, at least 36.
        width: Width of an image in pixels, at least 36.
        config: Settings of the network.
        features: Units of the hidden layer. None leaves out the hidden layer.
        gradient_scale: Factor on the gradient of the features of the last convolution.
        linear: Class of the hidden layer.
        dtype: Dtype to compute in, torch.float32 or torch.bfloat16.
    """

    def __init__(
        self,
        height: int,
        width: int,
        config: NetworkConfig,
        *,
        features: int | None,
        gradient_scale: float,
        linear: type[nn.Linear],
        dtype: torch.dtype,
    ) -> None:
        super().__init__()
        filters = config.filters
        pixel_convolution = FramesConv2d if config.pixels == "frames" else DifferencesConv2d
        convolutions = [
            pixel_convolution(config.frame_stack, filters, kernel=8, stride=4, dtype=dtype),
            Conv2d(filters, 2 * filters, kernel_size=4, stride=2),
            Conv2d(2 * filters, 2 * filters, kernel_size=3, stride=1),
        ]
        layers: list[nn.Module] = []
        for convolution in convolutions:
            layers.append(convolution)
            if config.norm == "batch":
                layers.append(nn.BatchNorm2d(convolution.out_channels))
            layers.append(nn.ReLU())
            height = _output_size(height, convolution)
            width = _output_size(width, convolution)
        if gradient_scale != 1:
            layers.append(ScaleGradient(gradient_scale))
        layers.append(nn.Flatten())
        self.conv = nn.Sequential(*layers)
        self.features = 2 * filters * height * width
        self.hidden = nn.Sequential()
        if features is not None:
            self.hidden.extend(_hidden_layer(self.features, features, config, linear))
            self.features = features

    def preprocess(self, obs: Tensor) -> PreprocessedImages:
        """Convert images uint8[B, k, H, W] to the input of the first convolution.

        Encoders with the same settings can share the result.
        """
        first_convolution = self.conv[0]
        assert isinstance(first_convolution, FramesConv2d)
        return first_convolution.preprocess(obs)

    def forward(self, obs: Tensor | PreprocessedImages) -> Tensor:
        """Return features [B, features] of images uint8[B, k, H, W], or of preprocessed images."""
        return self.hidden(self.conv(obs))


class MLP(nn.Module):
    """The vector encoder: fully connected layers with ReLU over the flattened stack of observations.

    Args:
        inputs: Entries of a flattened stack, k * D.
        layer_sizes: Units of each layer. The last number is the number of features.
        config: Settings of the network.
        linear: Class of the fully connected layers.
        normalization: Layer that normalises the observations, or None.
    """

    def __init__(
        self,
        inputs: int,
        layer_sizes: tuple[int, ...],
        config: NetworkConfig,
        *,
        linear: type[nn.Linear] = Linear,
        normalization: ObservationNormalization | None = None,
    ) -> None:
        super().__init__()
        self.normalization = normalization
        layers: list[nn.Module] = []
        for outputs in layer_sizes:
            layers += _hidden_layer(inputs, outputs, config, linear)
            inputs = outputs
        self.layers = nn.Sequential(*layers)
        self.features = inputs

    def preprocess(self, obs: Tensor) -> Tensor:
        """Return the observations unchanged. Vectors need no preprocessing."""
        return obs

    def forward(self, obs: Tensor) -> Tensor:
        """Return features float32[B, features] of vectors [B, k, D]."""
        if self.normalization is not None:
            obs = self.normalization(obs)
        return self.layers(obs.flatten(1).float())


class FrameDifferenceEncoder(nn.Module):
    """The image encoder of Karpathy 2016: the newest frame minus the previous frame, flattened, and one hidden layer.

    Args:
        pixels: Pixels of a frame, H * W.
        features: Units of the hidden layer.
        dtype: Dtype to compute in, torch.float32 or torch.bfloat16.
    """

    def __init__(self, pixels: int, features: int, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.hidden = Linear(pixels, features)
        self.features = features
        self.compute_dtype = dtype

    def forward(self, obs: Tensor) -> Tensor:
        """Return features [B, features] of images uint8[B, 2, H, W], of which the second is the newest."""
        difference = obs[:, 1].to(self.compute_dtype) - obs[:, 0]
        return F.relu(self.hidden(difference.flatten(1)))


def _output_size(size: int, convolution: nn.Conv2d) -> int:
    """Return the height (or width) of the output of a square convolution, from the height (or width) of its input."""
    return (size - convolution.kernel_size[0]) // convolution.stride[0] + 1


def _hidden_layer(inputs: int, outputs: int, config: NetworkConfig, linear: type[nn.Linear]) -> list[nn.Module]:
    """Return a fully connected layer, its normalisation if any, ReLU, and dropout if any."""
    layers: list[nn.Module] = [linear(inputs, outputs)]
    if config.norm == "layer":
        layers.append(LayerNorm(outputs))
    elif config.norm == "batch":
        layers.append(nn.BatchNorm1d(outputs))
    layers.append(nn.ReLU())
    if config.dropout:
        layers.append(nn.Dropout(config.dropout))
    return layers
