"""Tests of the encoders."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from agents.core.types import EnvSpaces
from agents.nn.encoders import FrameDifferenceEncoder, NatureCNN, build_encoder
from agents.nn.network_config import NetworkConfig, Pixels

ATARI = EnvSpaces((84, 84), torch.uint8, 6, 8)
VECTOR = EnvSpaces((4,), torch.float32, 2, 8)


@pytest.mark.parametrize("k", [1, 4])
@pytest.mark.parametrize("pixels", ["frames", "differences"])
def test_first_convolution_equals_convolution_over_its_channels(pixels: Pixels, k: int):
    encoder = build_encoder(ATARI, NetworkConfig(frame_stack=k, pixels=pixels))
    assert isinstance(encoder, NatureCNN)
    first = encoder.conv[0]
    assert isinstance(first, nn.Conv2d)
    assert first.bias is not None
    obs = torch.randint(0, 256, (3, k, 84, 84), dtype=torch.uint8)
    channels = obs.double() / 255
    if pixels == "differences":
        newest = channels[:, -1:]
        centred = newest - (255 * newest.mean((2, 3), keepdim=True)).round() / 255
        differences = [10 * (channels[:, i + 1 : i + 2] - channels[:, i : i + 1]) for i in range(k - 1)]
        channels = torch.cat([*differences, centred], 1)
    expected = nn.functional.conv2d(channels, first.weight.double(), first.bias.double(), 4)
    assert torch.allclose(first(obs).double(), expected, atol=1e-5)


def test_frame_difference_can_be_negative():
    """The difference of two uint8 frames must not wrap around."""
    encoder = FrameDifferenceEncoder(4, 3)
    obs = torch.tensor([[[[1, 0], [1, 1]], [[0, 1], [1, 0]]]], dtype=torch.uint8)
    expected = encoder.hidden(torch.tensor([[-1.0, 1.0, 0.0, -1.0]])).relu()
    assert torch.equal(encoder(obs), expected)


@pytest.mark.parametrize("spaces", [ATARI, VECTOR], ids=["image", "vector"])
def test_encoder_without_last_layer_has_one_layer_less(spaces: EnvSpaces):
    config = NetworkConfig(hidden=16, frame_stack=4)
    encoder = build_encoder(spaces, config, include_last=False)
    assert encoder.features == (7 * 7 * 64 if spaces.is_image else 16)
    num_linear = sum(isinstance(layer, nn.Linear) for layer in encoder.modules())
    assert num_linear == (0 if spaces.is_image else 1)


@pytest.mark.parametrize("spaces", [ATARI, VECTOR], ids=["image", "vector"])
def test_hidden_replaces_the_setting(spaces: EnvSpaces):
    assert build_encoder(spaces, NetworkConfig(hidden=16)).features == 16
    assert build_encoder(spaces, NetworkConfig(hidden=16), hidden=32).features == 32


def test_vectors_are_encoded_in_float32():
    encoder = build_encoder(VECTOR, NetworkConfig(hidden=8), dtype=torch.bfloat16)
    assert encoder(torch.randn(5, 1, 4)).dtype == torch.float32


def test_images_are_encoded_in_the_given_dtype():
    encoder = build_encoder(ATARI, NetworkConfig(hidden=8), dtype=torch.bfloat16)
    obs = torch.randint(0, 256, (2, 1, 84, 84), dtype=torch.uint8)
    assert encoder(obs).dtype == torch.bfloat16
