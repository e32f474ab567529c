"""Tests of saliency maps: both methods against their equations, and both on an agent that plays Pong."""

from itertools import islice

import numpy as np
import pytest
import torch
from torch import nn

from rl_lab import api
from rl_lab.analysis.saliency import (
    PATCH_SIZE,
    PATCH_STRIDE,
    SaliencyMethod,
    available_saliency_methods,
    grad_cam,
    occlusion,
    saliency_map,
)

IS_FIRST = torch.zeros(1, dtype=torch.bool)


def test_grad_cam_equals_its_equation(network_agent):
    """With feature maps of a 1 x 1 convolution and a linear head, dQ/dA_k is the weights of the head."""
    torch.manual_seed(0)
    convolution, head = nn.Conv2d(1, 3, 1), nn.Linear(3 * 400, 4)
    network = nn.Sequential(convolution, nn.ReLU(), nn.Flatten(), head)
    obs = torch.randint(0, 256, (1, 20, 20), dtype=torch.uint8)
    agent = network_agent(network)
    heatmap = grad_cam(agent, obs, IS_FIRST, agent.initial_carry(1)).numpy()
    assert convolution.bias is not None
    kernel = convolution.weight.detach().numpy().reshape(3, 1, 1)
    bias = convolution.bias.detach().numpy().reshape(3, 1, 1)
    maps = np.maximum(obs[0].numpy()[None] * kernel + bias, 0)
    q = head.weight.detach().numpy() @ maps.reshape(-1) + head.bias.detach().numpy()
    alpha = head.weight.detach().numpy()[q.argmax()].reshape(3, -1).mean(1)
    assert np.allclose(heatmap, np.maximum((alpha[:, None, None] * maps).sum(0), 0), atol=1e-4)
    assert heatmap.max() > 0
    assert all(parameter.grad is None for parameter in network.parameters())


def test_grad_cam_explains_all_parts_of_the_greedy_action(parts_network_agent):
    """The oracle is the gradient of a linear policy over the feature maps of a 1 x 1 convolution, summed over parts."""
    torch.manual_seed(5)
    convolution, head = nn.Conv2d(1, 3, 1), nn.Linear(3 * 400, 5)
    convolution.weight.data.abs_().div_(255)
    head.weight.data += torch.randn(5, 3).repeat_interleave(400, 1) / 100  # each map matters
    agent = parts_network_agent(nn.Sequential(convolution, nn.ReLU(), nn.Flatten(), head))
    obs = torch.randint(0, 256, (1, 20, 20), dtype=torch.uint8)
    heatmap = grad_cam(agent, obs, IS_FIRST, agent.initial_carry(1), (2, 3)).numpy()
    with torch.no_grad():
        maps = convolution(obs[:, None].float()).relu()[0].double().numpy()
    assert head.bias is not None
    weights = head.weight.detach().double().numpy()
    logits = weights @ maps.ravel() + head.bias.detach().double().numpy()
    gradient = np.zeros(3 * 400)
    for part in (slice(0, 2), slice(2, 5)):
        pi = np.exp(logits[part]) / np.exp(logits[part]).sum()
        gradient += weights[part][pi.argmax()] - pi @ weights[part]
    alpha = gradient.reshape(3, 400).mean(1)
    expected = np.maximum((alpha[:, None, None] * maps).sum(0), 0)
    assert expected.max() > 0
    assert heatmap == pytest.approx(expected, rel=1e-3, abs=1e-6)


def test_heatmaps_with_continuous_actions_are_of_the_value_and_of_the_action(continuous_network_agent):
    """The left half of the picture decides the value alone, the right half the action alone."""
    convolution, head = nn.Conv2d(1, 1, 1), nn.Linear(400, 3)
    assert convolution.bias is not None
    nn.init.ones_(convolution.weight)
    nn.init.zeros_(convolution.bias)
    is_left = torch.arange(20).repeat(20) < 10
    weight = torch.rand(3, 400, generator=torch.Generator().manual_seed(0))
    weight[:2, is_left] = 0
    weight[2, ~is_left] = 0
    head.weight.data = weight
    agent = continuous_network_agent(nn.Sequential(convolution, nn.ReLU(), nn.Flatten(), head))
    obs = torch.randint(1, 256, (1, 20, 20), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    heatmap = grad_cam(agent, obs, IS_FIRST, agent.initial_carry(1)).numpy()
    assert np.allclose(heatmap, weight[2].mean() * obs[0].numpy(), rtol=1e-4)
    hidden = occlusion(agent, obs, IS_FIRST, agent.initial_carry(1)).numpy()
    assert hidden[:, :5].max() < 1e-4, "no patch over these columns reaches the right half"
    assert hidden[:, 15:].min() > 1


def test_occlusion_equals_the_effect_of_one_patch_at_a_time(network_agent):
    torch.manual_seed(1)
    network = nn.Sequential(nn.Flatten(), nn.Linear(2 * 400, 3))
    agent = network_agent(network, stack=2)
    frames = torch.randint(0, 256, (1, 2, 20, 20), dtype=torch.uint8)
    heatmap = occlusion(agent, frames[:, 1], IS_FIRST, (frames[:, :1],)).numpy()
    background = int(np.sort(frames[0, 1].numpy().reshape(-1))[199])
    change, count = np.zeros((20, 20)), np.zeros((20, 20))
    with torch.no_grad():
        q = network(frames.float())[0].numpy()
        for y in range(0, 20 - PATCH_SIZE + 1, PATCH_STRIDE):
            for x in range(0, 20 - PATCH_SIZE + 1, PATCH_STRIDE):
                patch = (slice(y, y + PATCH_SIZE), slice(x, x + PATCH_SIZE))
                occluded = frames.clone()
                occluded[:, :, patch[0], patch[1]] = background
                occluded_q = network(occluded.float())[0].numpy()
                change[patch] += ((occluded_q - q) ** 2).sum() / 2
                count[patch] += 1
    assert np.allclose(heatmap, change / count, rtol=1e-3)


def test_heatmaps_of_colour_images(train):
    """The network's input is the stack of all channels, so the heatmaps are those of one wide grey stack."""
    run = train(
        env="CartPole-v1", view="pixels", image="rgb", image_size=40, steps=40, learning_starts=20, replay_size=200
    )
    agent = api.load_agent(run)
    assert available_saliency_methods(agent, run.env_spec) == ("off", "grad-cam", "occlusion")
    generator = torch.Generator().manual_seed(3)
    stack = torch.randint(0, 256, (1, 4, 3, 40, 40), dtype=torch.uint8, generator=generator)
    obs, carry = stack[:, -1], (stack[:, :-1], *agent.initial_carry(1)[1:])
    for method in ("grad-cam", "occlusion"):
        heatmap = saliency_map(method, agent, obs, IS_FIRST, carry)
        assert heatmap is not None
        assert heatmap.shape == (40, 40)
    patch = (slice(0, PATCH_SIZE), slice(0, PATCH_SIZE))
    hidden = stack.clone()
    hidden[:, :, :, patch[0], patch[1]] = int(obs.flatten().median())
    with torch.no_grad():
        q = agent.policy_output(obs, IS_FIRST, carry)[0].scores
        hidden_q = agent.policy_output(hidden[:, -1], IS_FIRST, (hidden[:, :-1], *carry[1:]))[0].scores
    expected = (hidden_q - q).square().sum() / 2
    # The first rows and columns lie in one patch only.
    assert torch.allclose(occlusion(agent, obs, IS_FIRST, carry)[0, 0], expected, rtol=1e-3)


def test_both_methods_agree_on_an_agent_that_plays_pong(demo_player):
    """The maps of a rally correlate. Computing them does not change the network."""
    agent, env_spec = demo_player.agent, demo_player.env.env_spec
    assert available_saliency_methods(agent, env_spec) == ("off", "grad-cam", "occlusion")
    weights_before = {name: weights.clone() for name, weights in agent.network.state_dict().items()}
    methods: tuple[SaliencyMethod, ...] = ("grad-cam", "occlusion")
    correlations = []
    for step in islice(demo_player, 90, 150, 10):
        obs = torch.from_numpy(step.stacked_obs[-1:])
        carry = (torch.from_numpy(step.stacked_obs[None, :-1]),)
        heatmaps = []
        for method in methods:
            heatmap = saliency_map(method, agent, obs, IS_FIRST, carry)
            assert heatmap is not None
            assert heatmap.shape == (84, 84)
            assert heatmap.min() >= 0
            assert heatmap.max() <= 1
            heatmaps.append(heatmap.reshape(-1))
        if heatmaps[0].max():  # Grad-CAM is zero everywhere if nothing increases the value, as after a lost point
            correlations.append(np.corrcoef(*heatmaps)[0, 1])
    assert len(correlations) >= 3
    assert np.mean(correlations) > 0.1
    assert all(torch.equal(weights_before[name], weights) for name, weights in agent.network.state_dict().items())
