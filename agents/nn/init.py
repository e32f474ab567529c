"""Construction of networks with reproducible initial weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import nn

from agents.configs.shared import Init

NetworkT = TypeVar("NetworkT", bound=nn.Module)

RELU_MODULES = frozenset({"encoder", "hidden"})
"""Names of modules whose layers are all followed by ReLU."""


def build_seeded(build: Callable[[], NetworkT], *, seed: int, device: torch.device) -> NetworkT:
    """Build a network whose initial weights depend on the seed only, and move it to a device.

    PyTorch's global random generators are left unchanged. Convolutions get the memory format channels_last, in which
    they compute fastest.

    Args:
        build: Function without arguments that returns a new network.
        seed: Seed of the initial weights.
        device: Device of the network.
    """
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        network = build()
    network.to(device)
    network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]: absent from the type stubs
    return network


def initialize_weights(network: NetworkT, init: Init) -> NetworkT:
    """Initialise the convolutions and linear layers of a network in place, and return the network.

    Biases are 0. Weights follow `init`, with a gain g:

    - "torch": PyTorch's initialisation of weights and biases, unchanged
    - "orthogonal": g times an orthogonal matrix (Saxe et al. 2013)
    - "he": normal with variance g^2 / fan_in (He et al. 2015)
    - "xavier": uniform in +-g sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio 2010)
    - "lecun": normal with variance 1 / fan_in (LeCun et al. 1998)

    g is sqrt(2) for the layers of modules named `encoder` or `hidden`, which are followed by ReLU, and 1 for all other
    layers.
    """
    if init == "torch":
        return network
    for path, layer in network.named_modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            is_before_relu = not RELU_MODULES.isdisjoint(path.split("."))
            gain = math.sqrt(2) if is_before_relu and init != "lecun" else 1.0
            _initialize_layer(layer, init, gain)
    return network


def _initialize_layer(layer: nn.Conv2d | nn.Linear, init: Init, gain: float) -> None:
    """Initialise the weights and biases of one layer."""
    if init == "orthogonal":
        nn.init.orthogonal_(layer.weight, gain)
    elif init == "xavier":
        nn.init.xavier_uniform_(layer.weight, gain)
    else:
        fan_in = layer.weight[0].numel()
        nn.init.normal_(layer.weight, std=gain / math.sqrt(fan_in))
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
