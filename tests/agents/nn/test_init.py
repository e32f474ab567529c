"""Tests of initial weights."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from agents.configs.shared import Init, NetworkConfig
from agents.core.types import EnvSpaces
from agents.nn.encoders import build_encoder
from agents.nn.init import build_seeded, initialize_weights
from agents.nn.networks import QNetwork

ATARI = EnvSpaces((84, 84), torch.uint8, 6, 8)


@pytest.mark.parametrize("init", ["orthogonal", "he", "xavier", "lecun"])
def test_initial_weights_have_the_scale_of_their_method(init: Init):
    torch.manual_seed(0)
    encoder = build_encoder(ATARI, NetworkConfig(frame_stack=4))
    network = initialize_weights(QNetwork(encoder, nn.Linear(encoder.features, 6)), init)
    hidden = encoder.get_parameter("hidden.0.weight").detach()
    if init == "orthogonal":
        assert torch.allclose(hidden @ hidden.T, 2 * torch.eye(512), atol=1e-4)
    elif init in ("he", "lecun"):
        gain = 2 if init == "he" else 1
        assert float(hidden.std()) == pytest.approx((gain / 3136) ** 0.5, rel=0.01)
    else:
        bound = 2**0.5 * (6 / (3136 + 512)) ** 0.5
        assert float(hidden.abs().max()) == pytest.approx(bound, rel=0.01)
    biases = [layer.bias for layer in network.modules() if isinstance(layer, nn.Linear)]
    assert all(float(bias.detach().abs().max()) == 0 for bias in biases)


def test_build_seeded_depends_on_seed_only():
    def weight(seed: int) -> torch.Tensor:
        return build_seeded(lambda: nn.Linear(3, 2), seed=seed, device=torch.device("cpu")).weight

    torch.manual_seed(0)
    state = torch.get_rng_state()
    first = weight(1)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(5)
    assert torch.equal(weight(1), first)
    assert not torch.equal(weight(2), first)
