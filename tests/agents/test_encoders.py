"""Encoders: what their first layers see."""

import pytest
import torch
from torch import nn

from agents.base import RowSpec
from agents.encoders import FrameDifference, build_encoder

ATARI = RowSpec((84, 84), torch.uint8, 6, 8)


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
