"""Settings of a network: frame stacking, sizes, initialisation and regularisation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from agents.core.settings import Count, Range

Init = Literal["torch", "orthogonal", "he", "xavier", "lecun"]
Norm = Literal["none", "layer", "batch"]
Pixels = Literal["frames", "differences"]
Codes = Literal["numbers", "embed"]


@dataclass(frozen=True)
class NetworkConfig:
    """Settings of the encoder, shared by all agents with a neural network."""

    frame_stack: Annotated[int, Range(1, 16)] = 1
    """Observations that the network receives: the latest ones of the episode, zeros before the first."""
    hidden: Count = 512
    """Units of each fully connected hidden layer."""
    filters: Count = 32
    """Filters of the first convolution. For images, the other two convolutions have twice as many."""
    init: Init = "orthogonal"
    """Initialisation of the weights. "torch" is PyTorch's default, U(+-1/sqrt(fan_in)), as in Mnih et al. 2015."""
    pixels: Pixels = "differences"
    """Input of the first convolution: the stacked "frames" (Mnih et al. 2015), or the newest frame and "differences" of
    successive frames."""
    codes: Codes = "numbers"
    """Input of whole numbers on a grid, such as MiniGrid's codes of objects: the "numbers" themselves, or "embed", a
    learned vector of 16 numbers for each code of each channel."""
    norm: Norm = "none"
    """Normalisation: "layer" (Ba et al. 2016) or "batch" (Ioffe and Szegedy 2015)."""
    normalize_obs: bool = False
    """Subtract the running mean from each entry of a vector observation, divide by the running standard deviation, and
    clip to [-10, 10]."""
    dropout: Annotated[float, Range(0, 0.99)] = 0.0
    """Dropout rate of the hidden layers in training (Srivastava et al. 2014)."""
