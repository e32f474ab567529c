"""Tests of recorded feature maps and of receptive fields."""

import pytest
import torch
from torch import nn

from agents.nn.encoders import NatureCNN
from agents.nn.networks import QNetwork
from rl_lab import api
from rl_lab.analysis.feature_maps import receptive_field, record_feature_maps, record_stack_feature_maps
from rl_lab.analysis.saliency import grad_cam

IS_FIRST = torch.zeros(1, dtype=torch.bool)


def test_feature_maps_equal_those_of_the_network(demo):
    agent = api.load_agent(demo)
    assert isinstance(agent.network, QNetwork)
    assert isinstance(agent.network.encoder, NatureCNN)
    stacks = torch.randint(0, 256, (2, 4, 84, 84), dtype=torch.uint8)
    with torch.no_grad():
        maps = record_stack_feature_maps(agent, stacks).maps
        assert [tuple(layer_maps.shape) for layer_maps in maps] == [(2, 32, 20, 20), (2, 64, 9, 9), (2, 64, 7, 7)]
        assert torch.allclose(agent.network.encoder.conv(stacks), maps[-1].flatten(1))


def test_receptive_fields_of_the_nature_network(demo):
    convolutions = [layer for layer in api.load_agent(demo).network.modules() if isinstance(layer, nn.Conv2d)]
    fields = [receptive_field(convolutions[: i + 1]) for i in range(3)]
    assert fields == [(8, 4, 3.5), (20, 8, 9.5), (36, 8, 17.5)]


def test_receptive_field_contains_exactly_the_pixels_with_a_gradient():
    convolutions = [nn.Conv2d(1, 1, 5, 2, 2), nn.Conv2d(1, 1, 3, 3, 1)]
    for layer in convolutions:
        nn.init.constant_(layer.weight, 1.0)
    x = torch.zeros(1, 1, 40, 40, requires_grad=True)
    output = nn.Sequential(*convolutions)(x)
    output[0, 0, 3, 4].backward()
    assert x.grad is not None
    rows = x.grad[0, 0].any(1).nonzero().flatten()
    columns = x.grad[0, 0].any(0).nonzero().flatten()
    size, stride, center = receptive_field(convolutions)
    assert (len(rows), len(columns)) == (size, size)
    assert (rows.float().mean(), columns.float().mean()) == (center + 3 * stride, center + 4 * stride)


@pytest.mark.parametrize(
    ("agent_name", "settings"),
    [
        ("sb3_dqn", {"buffer_size": 100}),
        ("sb3_qrdqn", {"buffer_size": 100}),
        ("sb3_ppo", {"n_steps": 8, "batch_size": 64}),
        ("sb3_recurrent_ppo", {"n_steps": 8, "batch_size": 64}),
    ],
)
def test_only_the_convolutions_of_the_policy_are_recorded(train, agent_name, settings):
    """SB3's DQN also contains a target network, and its PPO could run the encoder a second time for the critic."""
    run = train(agent_name, env="Pong", steps=60, eval_every=0, eval_episodes=1, frame_stack=4, **settings)
    agent = api.load_agent(run)
    obs = torch.zeros(1, 84, 84, dtype=torch.uint8)
    obs[:, 30:40, 50:60] = 200
    carry = (obs[:, None].expand(1, 3, 84, 84), *agent.initial_carry(1)[1:])
    _, convolutions, maps = record_feature_maps(agent, obs, IS_FIRST, carry)
    assert receptive_field(convolutions) == (36, 8, 17.5)
    assert len(maps) == 3
    heatmap = grad_cam(agent, obs, IS_FIRST, carry)
    assert heatmap.shape == (84, 84)
    assert heatmap.std() > 0 or heatmap.max() == 0
