"""What agents see and answer with: encoders, heads, and the choices of initialisation and normalisation.

Images come in as the replay and the carry hold them, uint8[B, k, H, W], and are scaled here; vectors come in as
float32[B, k, D]. Everything after that is an ordinary feed-forward stack.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from agents.base import RowSpec

Init = Literal["torch", "orthogonal", "he", "xavier"]
Norm = Literal["none", "layer", "batch"]
Pixels = Literal["frames", "differences"]


def initialise(network: QNetwork, init: Init) -> QNetwork:
    """Initialise every convolution and linear layer: weights by `init`, biases 0; "torch" keeps torch's own.

    orthogonal: Saxe et al. 2013; he: He et al. 2015, N(0, 2 / fan_in); xavier: Glorot and Bengio 2010,
    U(+-sqrt(6 / (fan_in + fan_out))). Layers before a ReLU have the gain sqrt 2, the head, which is linear, 1.
    """
    if init == "torch":
        return network
    for part, gain in ((network.encoder, math.sqrt(2)), (network.head, 1.0)):
        for layer in part.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                if init == "orthogonal":
                    nn.init.orthogonal_(layer.weight, gain)
                elif init == "he":
                    nn.init.normal_(layer.weight, std=gain / math.sqrt(layer.weight[0].numel()))
                else:
                    nn.init.xavier_uniform_(layer.weight, gain)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
    return network


def hidden_layer(inputs: int, outputs: int, norm: Norm, dropout: float) -> list[nn.Module]:
    """Linear, then the normalisation (Ba et al. 2016; Ioffe and Szegedy 2015), ReLU, and dropout (Srivastava et al. 2014)."""
    layers: list[nn.Module] = [nn.Linear(inputs, outputs)]
    if norm == "layer":
        layers.append(nn.LayerNorm(outputs))
    elif norm == "batch":
        layers.append(nn.BatchNorm1d(outputs))
    layers.append(nn.ReLU())
    if dropout:
        layers.append(nn.Dropout(dropout))
    return layers


class Frames(nn.Conv2d):
    """The first convolution over a stack of k frames, uint8[B, k, H, W], each divided by 255 (Mnih et al. 2015)."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input.contiguous(memory_format=torch.channels_last) / 255)


class Differences(nn.Conv2d):
    """The first convolution over k-1 differences of successive frames and the newest frame less its mean, all over 255.

    The same information as `Frames` in a basis whose channels are centred and hardly correlated: gradient descent need not
    learn to cancel the background first (LeCun et al. 1998, "Efficient BackProp", section 4.3). Differences of the input
    are computed as differences of the weights, w . (x' - x) = w . x' - w . x, which costs nothing; the mean is taken off all
    frames, where it changes no difference and keeps bfloat16 exact enough.
    """

    def forward(self, input: Tensor) -> Tensor:
        mean = input[:, -1:].float().mean((2, 3), keepdim=True)
        x = input.contiguous(memory_format=torch.channels_last) - mean
        w, last = self.weight[:, :-1], self.weight[:, -1:]
        nothing = torch.zeros_like(last)
        by_frame = (torch.cat([nothing, w], 1) + torch.cat([-w, last], 1)) / 255
        return F.conv2d(x, by_frame.contiguous(memory_format=torch.channels_last), self.bias, self.stride)


class NatureCNN(nn.Module):
    """The encoder of Mnih et al. 2015: conv 32 8x8/4, 64 4x4/2, 64 3x3/1, each with ReLU, then a hidden layer.

    uint8[B, k, H, W] -> float[B, features]; H and W at least 36. Batch normalisation sits after every convolution too;
    layer normalisation only on the hidden layer, where it costs nothing.
    """

    def __init__(
        self, stack: int, height: int, width: int, features: int, *, pixels: Pixels, norm: Norm, dropout: float
    ) -> None:
        super().__init__()
        first = Frames if pixels == "frames" else Differences
        layers: list[nn.Module] = []
        channels = stack
        for conv, outputs, kernel, stride in ((first, 32, 8, 4), (nn.Conv2d, 64, 4, 2), (nn.Conv2d, 64, 3, 1)):
            layers.append(conv(channels, outputs, kernel, stride))
            if norm == "batch":
                layers.append(nn.BatchNorm2d(outputs))
            layers.append(nn.ReLU())
            channels, height, width = outputs, (height - kernel) // stride + 1, (width - kernel) // stride + 1
        self.conv = nn.Sequential(*layers, nn.Flatten())
        self.hidden = nn.Sequential(*hidden_layer(channels * height * width, features, norm, dropout))
        self.features = features

    def forward(self, obs: Tensor) -> Tensor:
        return self.hidden(self.conv(obs))


class MLP(nn.Module):
    """Fully connected layers with ReLU over a flattened observation: [B, k, D] -> float[B, features]."""

    def __init__(self, inputs: int, features: tuple[int, ...], norm: Norm, dropout: float) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for outputs in features:
            layers += hidden_layer(inputs, outputs, norm, dropout)
            inputs = outputs
        self.layers = nn.Sequential(*layers)
        self.features = inputs

    def forward(self, obs: Tensor) -> Tensor:
        return self.layers(obs.flatten(1).float())


def build_encoder(
    rows: RowSpec, stack: int, *, hidden: int, pixels: Pixels = "frames", norm: Norm = "none", dropout: float = 0.0
) -> NatureCNN | MLP:
    """The encoder that fits the rows: Nature CNN for images, two hidden layers for vectors; `hidden` features out."""
    if rows.is_image:
        height, width = rows.frame
        return NatureCNN(stack, height, width, hidden, pixels=pixels, norm=norm, dropout=dropout)
    return MLP(stack * math.prod(rows.frame), (hidden, hidden), norm, dropout)


class QNetwork(nn.Module):
    """An encoder and a head that gives one value an action: obs [B, k, *frame] -> float32[B, A].

    The head computes in float32 always: near 100 bfloat16 knows only steps of 0.5, which is more than actions differ by.
    """

    def __init__(self, encoder: NatureCNN | MLP, head: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head

    def forward(self, obs: Tensor) -> Tensor:
        features = self.encoder(obs)
        with torch.autocast(obs.device.type, enabled=False):
            return self.head(features.float())
