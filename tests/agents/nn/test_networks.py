"""Tests of Q-networks."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from agents.configs.shared import NetworkConfig, Norm
from agents.core.action_masks import ILLEGAL
from agents.core.types import EnvSpaces, PackedLayout
from agents.nn.encoders import build_encoder
from agents.nn.networks import QNetwork, distribution_of_action
from agents.nn.packed import mask_illegal

ATARI = EnvSpaces((84, 84), torch.uint8, 6, 8)
VECTOR = EnvSpaces((4,), torch.float32, 2, 8)
CONFIG = NetworkConfig(frame_stack=4)


def build_q_network(spaces: EnvSpaces, config: NetworkConfig = CONFIG) -> QNetwork:
    """Return a Q-network with a linear head."""
    encoder = build_encoder(spaces, config)
    return QNetwork(encoder, nn.Linear(encoder.features, spaces.num_actions))


def random_observations(spaces: EnvSpaces) -> torch.Tensor:
    """Return 8 stacks of 4 random observations."""
    high = 256 if spaces.is_image else 2
    return torch.randint(0, high, (8, 4, *spaces.obs_shape)).to(spaces.dtype)


def test_nature_cnn_has_as_many_parameters_as_in_the_paper():
    count = sum(parameter.numel() for parameter in build_q_network(ATARI).parameters())
    convolutions = (8 * 8 * 4 + 1) * 32 + (4 * 4 * 32 + 1) * 64 + (3 * 3 * 64 + 1) * 64
    assert count == convolutions + (7 * 7 * 64 + 1) * 512 + (512 + 1) * 6


@pytest.mark.parametrize("norm", ["none", "layer", "batch"])
@pytest.mark.parametrize("spaces", [ATARI, VECTOR], ids=["image", "vector"])
def test_every_parameter_has_a_gradient(spaces: EnvSpaces, norm: Norm):
    network = build_q_network(spaces, NetworkConfig(frame_stack=4, norm=norm, dropout=0.1))
    network(random_observations(spaces)).sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


@pytest.mark.parametrize("norm", ["none", "layer", "batch"])
@pytest.mark.parametrize("spaces", [ATARI, VECTOR], ids=["image", "vector"])
def test_normalisation_and_dropout_are_used(spaces: EnvSpaces, norm: Norm):
    network = build_q_network(spaces, NetworkConfig(frame_stack=4, norm=norm, dropout=0.1))
    for layer_class, expected in (
        (nn.LayerNorm, norm == "layer"),
        (nn.BatchNorm1d, norm == "batch"),
        (nn.Dropout, True),
    ):
        assert any(isinstance(layer, layer_class) for layer in network.modules()) == expected
    network.eval()
    obs = random_observations(spaces)
    assert torch.equal(network(obs), network(obs))


@pytest.mark.parametrize("spaces", [ATARI, VECTOR], ids=["image", "vector"])
def test_networks_can_share_preprocessed_observations(spaces: EnvSpaces):
    network, other = build_q_network(spaces), build_q_network(spaces)
    obs = random_observations(spaces)
    assert torch.equal(other(network.preprocess(obs)), other(obs))


def test_the_distribution_of_an_action_is_selected_with_its_gradient():
    distributions = torch.randn(5, 3, 7, requires_grad=True)  # 5 transitions, 3 actions, 7 numbers each
    actions = [2, 0, 1, 1, 2]
    selected = distribution_of_action(distributions, torch.tensor(actions))
    selected.sum().backward()
    assert distributions.grad is not None
    for transition, action in enumerate(actions):
        assert torch.equal(selected[transition], distributions[transition, action])
        expected = [[float(other == action)] * 7 for other in range(3)]
        assert distributions.grad[transition].tolist() == expected


def test_the_newest_observation_of_a_stack_decides_which_actions_are_legal():
    """An observation is one float32, a byte with the mask of three actions, and three bytes of padding."""
    layout = PackedLayout(vector=1, num_masked=3)
    older = [0, 0, 0, 0, 0b001, 0, 0, 0]
    newest = [0, 0, 0, 0, 0b110, 0, 0, 0]
    obs = torch.tensor([[older, newest]], dtype=torch.uint8)
    values = mask_illegal(torch.zeros(1, 3), obs, layout)
    assert (values == ILLEGAL).tolist() == [[True, False, False]]
