"""Tests of activation maximisation."""

import pytest
import torch

from rl_lab import api
from rl_lab.analysis.feature_maps import receptive_field, record_stack_feature_maps
from rl_lab.analysis.feature_visualization import maximize_activation


@pytest.mark.parametrize("layer", [0, 1, 2])
def test_maximized_activation_exceeds_that_of_random_inputs(demo, layer):
    """The input is placed at its receptive field in the mean frames, and compared with 100 random stacks."""
    agent = api.load_agent(demo)
    stacks = torch.randint(0, 256, (100, 4, 84, 84), dtype=torch.uint8)
    with torch.no_grad():
        features = record_stack_feature_maps(agent, stacks)
    maps = features.maps[layer]
    unit = int(maps.amax((0, 2, 3)).argmax())
    maximizing_input = maximize_activation(agent, stacks, layer, unit, 255)
    size, stride, _ = receptive_field(features.convolutions[: layer + 1])
    assert maximizing_input.shape == (4, size, size)
    y, x = maps.shape[2] // 2, maps.shape[3] // 2
    top, left = y * stride, x * stride
    stack = stacks.float().mean(0, keepdim=True).to(torch.uint8)
    stack[0, :, top : top + size, left : left + size] = maximizing_input
    with torch.no_grad():
        activation = record_stack_feature_maps(agent, stack).maps[layer][0, unit, y, x]
    assert activation > maps[:, unit].max()


def test_maximizing_input_of_a_binary_view_is_binary(train):
    run = train(env="Pong", view="binary", steps=300, eval_every=0, eval_episodes=1, replay_size=400)
    stacks = torch.randint(0, 2, (20, 4, 80, 80), dtype=torch.uint8)
    assert maximize_activation(api.load_agent(run), stacks, 0, 0, 1).unique().tolist() == [0, 1]
