"""Encoders: what their first layers see."""

from typing import get_args

import pytest
import torch
from torch import nn

from agents.core.optimizers import OptimizerName, build_optimizer
from agents.core.types import EnvSpaces
from agents.nn.encoders import FrameDifference, build_encoder, in_format

ATARI = EnvSpaces((84, 84), torch.uint8, 6, 8)


@pytest.mark.parametrize("k", [1, 4])
@pytest.mark.parametrize("pixels", ["frames", "differences"])
def test_the_first_layer_sees_what_its_name_says(pixels, k):
    first = build_encoder(ATARI, k, hidden=512, pixels=pixels).conv[0]
    obs = torch.randint(0, 256, (3, k, 84, 84), dtype=torch.uint8)
    seen = obs.double() / 255
    if pixels == "differences":
        newest = seen[:, -1:] - (255 * seen[:, -1:].mean((2, 3), keepdim=True)).round() / 255
        seen = torch.cat([10 * (seen[:, i + 1 : i + 2] - seen[:, i : i + 1]) for i in range(k - 1)] + [newest], 1)
    by_hand = nn.functional.conv2d(seen, first.weight.double(), first.bias.double(), 4)
    assert torch.allclose(first(obs).double(), by_hand, atol=1e-5)


def test_the_difference_of_two_frames():
    """uint8 frames whose difference is negative: no wrap around."""
    network = FrameDifference(4, 3)
    obs = torch.tensor([[[[1, 0], [1, 1]], [[0, 1], [1, 0]]]], dtype=torch.uint8)
    by_hand = network.hidden(torch.tensor([[-1.0, 1.0, 0.0, -1.0]])).relu()
    assert torch.equal(network(obs), by_hand)


@pytest.mark.parametrize("name", get_args(OptimizerName))
def test_a_parameter_in_another_format_follows_every_change_of_it(name):
    """By an optimiser, by moving towards another one, by loading a state."""
    layer, other = nn.Linear(3, 2), nn.Linear(3, 2)
    optimizer = build_optimizer(name, layer.parameters(), lr=0.1, eps=1e-3)

    def step():
        layer.weight.grad = torch.ones(2, 3)
        optimizer.step()

    def move():
        with torch.no_grad():
            torch._foreach_lerp_([layer.weight], [other.weight], 0.3)

    copies = [in_format(layer.weight, torch.bfloat16)]
    for change in (step, step, move, lambda: layer.load_state_dict(other.state_dict()), step):
        change()
        copies.append(in_format(layer.weight, torch.bfloat16))
        assert torch.equal(copies[-1], layer.weight.to(torch.bfloat16))
        assert not torch.equal(copies[-1], copies[-2])


def test_the_gradient_of_a_parameter_in_another_format_comes_back_in_its_own():
    weight = nn.Parameter(torch.randn(3))
    for _ in range(2):  # the second time the copy is there already
        (in_format(weight, torch.bfloat16) * torch.tensor([1.0, 2.0, 3.0], dtype=torch.bfloat16)).sum().backward()
    assert weight.grad is not None
    assert weight.grad.tolist() == [2.0, 4.0, 6.0]
    assert weight.grad.dtype == torch.float32


def test_vectors_are_computed_in_float32_whatever_images_are():
    network = build_encoder(EnvSpaces((4,), torch.float32, 2, 8), 1, hidden=8, dtype=torch.bfloat16)
    assert network(torch.randn(5, 1, 4)).dtype == torch.float32
