"""Encoders: networks that turn a stack of observations into a vector of features.

`build_encoder` chooses the encoder. Its input is a batch of B stacks of k observations:

    images     uint8[B, k, H, W] or uint8[B, k, C, H, W] with pixels from 0 to 255, which the first convolution scales
    planes     uint8[B, k, C, H, W] or f32[B, k, C, H, W], maps over a grid
    vectors    f32[B, k, D]
    packed     uint8[B, k, bytes], vectors with an image or planes, or any of them with an action mask

Image encoders compute in float32 or bfloat16, all others in float32. Parameters are float32
(agents/nn/mixed_precision.py).
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from agents.configs.shared import ImageEncoder, NetworkConfig
from agents.core.settings import ConfigError
from agents.core.types import EnvSpaces, PackedLayout
from agents.nn.gradient_scale import ScaleGradient
from agents.nn.mixed_precision import Conv2d, ConvolutionLayerNorm, LayerNorm, Linear
from agents.nn.normalization import ObservationNormalization, build_normalization
from agents.nn.packed import spatial_part, vector_part
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
) -> Encoder:
    """Return the encoder that fits the observations.

    It is a Nature CNN for images, one small convolution for planes, an MLP with two layers for vectors, and a
    combination of these for packed observations.

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
    _check_settings(spaces, config)
    features = hidden if include_last else None
    if spaces.obs_kind == "packed":
        return PackedEncoder(
            spaces, config, hidden=hidden, features=features, gradient_scale=gradient_scale, linear=linear
        )
    if spaces.is_image:
        return NatureCNN(
            spaces.obs_shape, config, features=features, gradient_scale=gradient_scale, linear=linear, dtype=dtype
        )
    if spaces.obs_kind == "planes":
        return PlanesCNN(spaces, config, features=features, gradient_scale=gradient_scale, linear=linear)
    return _build_mlp(spaces, config, (hidden, hidden) if include_last else (hidden,), linear)


def build_feature_encoder(spaces: EnvSpaces, config: NetworkConfig, *, dtype: torch.dtype) -> Encoder:
    """Return the encoder of networks whose heads have hidden layers of their own.

    For vectors it has no layers: the features are the flattened stack, normalised with `normalize_obs`. For all other
    observations it is that of `build_encoder`.

    Args:
        spaces: Shapes and types of observations.
        config: Settings of the network.
        dtype: Dtype in which an image encoder computes, torch.float32 or torch.bfloat16.

    Raises:
        ConfigError: `normalize_obs` is true, and the observations are images.
    """
    if spaces.obs_kind != "vector":
        return build_encoder(spaces, config, dtype=dtype)
    _check_settings(spaces, config)
    return _build_mlp(spaces, config, (), Linear)


def _build_mlp(spaces: EnvSpaces, config: NetworkConfig, layer_sizes: tuple[int, ...], linear: type[nn.Linear]) -> MLP:
    """Return the encoder of vectors."""
    inputs = config.frame_stack * math.prod(spaces.obs_shape)
    normalization = build_normalization(spaces, config)
    return MLP(inputs, layer_sizes, config, linear=linear, normalization=normalization)


def _check_settings(spaces: EnvSpaces, config: NetworkConfig) -> None:
    """Raise ConfigError if a setting needs another kind of observations."""
    packed = spaces.packed
    has_vectors = spaces.obs_kind == "vector" or (packed is not None and packed.vector > 0)
    if config.normalize_obs and not has_vectors:
        raise ConfigError("normalize_obs is true; only vector observations can be normalised, not images or planes")
    has_codes = spaces.obs_kind == "planes" and spaces.dtype == torch.uint8
    if packed is not None and packed.spatial and packed.spatial_kind == "planes":
        has_codes = packed.spatial_dtype == torch.uint8
    has_image = spaces.is_image or (packed is not None and packed.spatial != () and packed.spatial_kind == "image")
    if config.encoder != "nature" and not has_image:
        raise ConfigError(f"encoder is {config.encoder}; it is for images only, so leave it out")
    if config.codes == "embed" and not has_codes:
        raise ConfigError("codes is embed; this needs planes of whole numbers from 0 to 255, which are no images")


CONVOLUTIONS: dict[ImageEncoder, tuple[tuple[int, int], ...]] = {
    "nature": ((8, 4), (4, 2), (3, 1)),
    "data_efficient": ((5, 5), (5, 5)),
}
"""Setting `encoder` -> sides of the kernel and stride of each convolution of an image encoder."""


class NatureCNN(nn.Module):
    """The image encoder of Mnih et al. 2015: three convolutions and a hidden layer, each followed by ReLU.

    The convolutions have F filters of 8x8 with stride 4, 2 F of 4x4 with stride 2, and 2 F of 3x3 with stride 1. F is
    `config.filters`, 32 in the paper. With `config.encoder` "data_efficient", there are two convolutions, F filters of
    5x5 with stride 5 and 2 F of 5x5 with stride 5 (van Hasselt et al. 2019, "When to use parametric models in
    reinforcement learning?", with F = 32 and 256 hidden units).

    With `config.norm` "batch" or "layers", batch or layer normalisation comes before every ReLU; with "layer", layer
    normalisation comes only before the ReLU of the hidden layer. Dropout follows the hidden layer.

    Args:
        shape: Shape [H, W] or [C, H, W] of an image, with sides of at least 36 pixels.
        config: Settings of the network.
        features: Units of the hidden layer. None leaves out the hidden layer.
        gradient_scale: Factor on the gradient of the features of the last convolution.
        linear: Class of the hidden layer.
        dtype: Dtype to compute in, torch.float32 or torch.bfloat16.
    """

    packed: PackedLayout | None = None

    def __init__(
        self,
        shape: tuple[int, ...],
        config: NetworkConfig,
        *,
        features: int | None,
        gradient_scale: float,
        linear: type[nn.Linear],
        dtype: torch.dtype,
    ) -> None:
        super().__init__()
        height, width = shape[-2:]
        colors = shape[0] if len(shape) == 3 else 1
        filters = config.filters
        pixel_convolution = FramesConv2d if config.pixels == "frames" else DifferencesConv2d
        (kernel, stride), *further_shapes = CONVOLUTIONS[config.encoder]
        convolutions: list[nn.Conv2d] = [
            pixel_convolution(config.frame_stack, filters, kernel=kernel, stride=stride, dtype=dtype, colors=colors)
        ]
        for kernel, stride in further_shapes:
            convolutions.append(Conv2d(convolutions[-1].out_channels, 2 * filters, kernel_size=kernel, stride=stride))
        layers: list[nn.Module] = []
        for convolution in convolutions:
            layers.append(convolution)
            layers += _convolution_norm(convolution.out_channels, config)
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
        """Convert images uint8[B, k, H, W] or uint8[B, k, C, H, W] to the input of the first convolution.

        Encoders with the same settings can share the result.
        """
        first_convolution = self.conv[0]
        assert isinstance(first_convolution, FramesConv2d)
        return first_convolution.preprocess(obs)

    def forward(self, obs: Tensor | PreprocessedImages) -> Tensor:
        """Return features [B, features] of images (`preprocess`), or of preprocessed images."""
        return self.hidden(self.conv(obs))


class PlanesCNN(nn.Module):
    """The encoder of planes: one convolution of 3x3 with padding, and a hidden layer, each followed by ReLU.

    Young and Tian 2019, "MinAtar", use such a network with 16 filters (`config.filters`) and 128 hidden units, but
    without padding. With padding, the features cover the border of the grid, and the grid may be small.

    With `config.codes` "embed", each of the 256 codes of each channel has a vector of 16 numbers, and the input of the
    convolution is the sum of these vectors over the channels. This equals a convolution of 1x1 over one-hot codes.

    Args:
        spaces: Shapes and types of the planes [C, H, W].
        config: Settings of the network.
        features: Units of the hidden layer. None leaves out the hidden layer.
        gradient_scale: Factor on the gradient of the features of the convolution.
        linear: Class of the hidden layer.
    """

    packed: PackedLayout | None = None

    def __init__(
        self,
        spaces: EnvSpaces,
        config: NetworkConfig,
        *,
        features: int | None,
        gradient_scale: float,
        linear: type[nn.Linear],
    ) -> None:
        super().__init__()
        channels, height, width = spaces.obs_shape
        self.embedding: CodeEmbedding | None = None
        if config.codes == "embed":
            self.embedding = CodeEmbedding(channels)
            channels = CodeEmbedding.SIZE
        layers: list[nn.Module] = [Conv2d(config.frame_stack * channels, config.filters, kernel_size=3, padding=1)]
        layers += _convolution_norm(config.filters, config)
        layers.append(nn.ReLU())
        if gradient_scale != 1:
            layers.append(ScaleGradient(gradient_scale))
        layers.append(nn.Flatten())
        self.conv = nn.Sequential(*layers)
        self.features = config.filters * height * width
        self.hidden = nn.Sequential()
        if features is not None:
            self.hidden.extend(_hidden_layer(self.features, features, config, linear))
            self.features = features

    def preprocess(self, obs: Tensor) -> Tensor:
        """Return the observations unchanged. Planes need no preprocessing."""
        return obs

    def forward(self, obs: Tensor) -> Tensor:
        """Return features f32[B, features] of planes [B, k, C, H, W]."""
        planes = obs.float() if self.embedding is None else self.embedding(obs)
        return self.hidden(self.conv(planes.flatten(1, 2)))


class CodeEmbedding(nn.Module):
    """Learned vectors for the codes of each channel, summed over the channels.

    Args:
        channels: Number of channels, C.
    """

    SIZE = 16  # entries of a vector
    NUM_CODES = 256  # values of the type uint8

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.vectors = nn.Embedding(channels * self.NUM_CODES, self.SIZE)
        # With this standard deviation, the sum over the channels has a variance of 1.
        nn.init.normal_(self.vectors.weight, std=channels**-0.5)
        self.first_code = nn.Buffer(torch.arange(channels) * self.NUM_CODES, persistent=False)  # of each channel

    def forward(self, codes: Tensor) -> Tensor:
        """Return f32[B, k, SIZE, H, W] of codes uint8[B, k, C, H, W]."""
        index = codes.long() + self.first_code[:, None, None]
        summed = self.vectors(index).sum(2)  # [B, k, H, W, SIZE]
        return summed.movedim(-1, 2)


class PackedEncoder(nn.Module):
    """The encoder of packed observations.

    With one part beside the action mask, it is the encoder of this part. With vectors and an image (or planes), it is
    one hidden layer over the vectors, the convolutions over the image, and a hidden layer over the features of both.

    Args:
        spaces: Shapes and types of the observations.
        config: Settings of the network.
        hidden: Units of each hidden layer of an MLP.
        features: Units of the last hidden layer. None leaves out this layer.
        gradient_scale: Factor on the gradient of the features of the last convolution.
        linear: Class of the fully connected layers.
    """

    def __init__(
        self,
        spaces: EnvSpaces,
        config: NetworkConfig,
        *,
        hidden: int,
        features: int | None,
        gradient_scale: float,
        linear: type[nn.Linear],
    ) -> None:
        super().__init__()
        layout = spaces.packed
        assert layout is not None
        self.packed = layout
        self.vector: MLP | None = None
        self.spatial: NatureCNN | PlanesCNN | None = None
        self.hidden = nn.Sequential()
        self.features = 0
        is_joint = layout.vector > 0 and layout.num_spatial > 0
        part_features = None if is_joint else features
        vector_spaces = spaces.part("vector")
        if vector_spaces is not None:
            layer_sizes = (hidden,) if part_features is None else (hidden, part_features)
            self.vector = _build_mlp(vector_spaces, config, layer_sizes, linear)
            self.features += self.vector.features
        spatial_spaces = spaces.part(layout.spatial_kind)
        if spatial_spaces is not None:
            spatial = build_encoder(
                spatial_spaces,
                replace(config, normalize_obs=False),
                hidden=part_features,
                include_last=part_features is not None,
                gradient_scale=gradient_scale,
                linear=linear,
            )
            assert isinstance(spatial, NatureCNN | PlanesCNN)
            self.spatial = spatial
            self.features += spatial.features
        if is_joint and features is not None:
            self.hidden.extend(_hidden_layer(self.features, features, config, linear))
            self.features = features

    def preprocess(self, obs: Tensor) -> Tensor:
        """Return the observations unchanged."""
        return obs

    def forward(self, obs: Tensor) -> Tensor:
        """Return features f32[B, features] of packed observations uint8[B, k, bytes]."""
        features = []
        if self.vector is not None:
            features.append(self.vector(vector_part(obs, self.packed)))
        if self.spatial is not None:
            features.append(self.spatial(spatial_part(obs, self.packed)).float())
        return self.hidden(torch.cat(features, 1))


class MLP(nn.Module):
    """The vector encoder: fully connected layers with ReLU over the flattened stack of observations.

    Args:
        inputs: Entries of a flattened stack, k * D.
        layer_sizes: Units of each layer. The last number is the number of features. () means no layers: the features
            are the inputs.
        config: Settings of the network.
        linear: Class of the fully connected layers.
        normalization: Layer that normalises the observations, or None.
    """

    packed: PackedLayout | None = None

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
        """Return features f32[B, features] of vectors [B, k, D]."""
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

    packed: PackedLayout | None = None

    def __init__(self, pixels: int, features: int, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.hidden = Linear(pixels, features)
        self.features = features
        self.compute_dtype = dtype

    def forward(self, obs: Tensor) -> Tensor:
        """Return features [B, features] of images uint8[B, 2, H, W], of which the second is the newest."""
        difference = obs[:, 1].to(self.compute_dtype) - obs[:, 0]
        return F.relu(self.hidden(difference.flatten(1)))


Encoder = NatureCNN | PlanesCNN | MLP | PackedEncoder


def _output_size(size: int, convolution: nn.Conv2d) -> int:
    """Return the height (or width) of the output of a square convolution, from the height (or width) of its input."""
    return (size - convolution.kernel_size[0]) // convolution.stride[0] + 1


def _convolution_norm(channels: int, config: NetworkConfig) -> list[nn.Module]:
    """Return the normalisation after a convolution with this number of output channels, if any."""
    if config.norm == "batch":
        return [nn.BatchNorm2d(channels)]
    if config.norm == "layers":
        return [ConvolutionLayerNorm(channels)]
    return []


def _hidden_layer(inputs: int, outputs: int, config: NetworkConfig, linear: type[nn.Linear]) -> list[nn.Module]:
    """Return a fully connected layer, its normalisation if any, ReLU, and dropout if any."""
    layers: list[nn.Module] = [linear(inputs, outputs)]
    if config.norm in ("layer", "layers"):
        layers.append(LayerNorm(outputs))
    elif config.norm == "batch":
        layers.append(nn.BatchNorm1d(outputs))
    layers.append(nn.ReLU())
    if config.dropout:
        layers.append(nn.Dropout(config.dropout))
    return layers
