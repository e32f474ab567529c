"""Grad-CAM against its formula written out, occlusion against one patch at a time, and both on an agent that plays."""

from itertools import islice

import numpy as np
import pytest
import torch
from torch import nn

from rl_lab import api
from rl_lab.analysis.saliency import (
    PATCH,
    STRIDE,
    grad_cam,
    occlusion,
    receptive_field,
    saliencies,
    saliency,
    with_feature_maps,
)

FIRST = torch.zeros(1, dtype=torch.bool)


def test_grad_cam_is_its_formula(planted):
    """Maps A_k of a 1 x 1 convolution and a linear head: dQ/dA_k is the head's weights."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 3, 1), nn.ReLU(), nn.Flatten(), nn.Linear(3 * 400, 4))
    obs = torch.randint(0, 256, (1, 20, 20), dtype=torch.uint8)
    agent = planted(network)
    heat = grad_cam(agent, obs, FIRST, agent.initial_carry(1)).numpy()
    conv, head = network[0], network[3]
    maps = np.maximum(
        obs[0].numpy()[None] * conv.weight.detach().numpy().reshape(3, 1, 1)
        + conv.bias.detach().numpy().reshape(3, 1, 1),
        0,
    )
    q = head.weight.detach().numpy() @ maps.reshape(-1) + head.bias.detach().numpy()
    alpha = head.weight.detach().numpy()[q.argmax()].reshape(3, -1).mean(1)
    assert np.allclose(heat, np.maximum((alpha[:, None, None] * maps).sum(0), 0), atol=1e-4)
    assert heat.max() > 0
    assert all(p.grad is None for p in network.parameters())


def test_a_map_lies_over_what_it_sees(demo):
    """The fields of the Nature network, and a pixel's gradient reaches just so far."""
    convs = [layer for layer in api.load(demo).network.modules() if isinstance(layer, nn.Conv2d)]
    assert [receptive_field(convs[: i + 1]) for i in range(3)] == [(8, 4, 3.5), (20, 8, 9.5), (36, 8, 17.5)]
    padded = nn.Sequential(nn.Conv2d(1, 1, 5, 2, 2), nn.Conv2d(1, 1, 3, 3, 1))
    for layer in padded:
        nn.init.constant_(layer.weight, 1.0)
    x = torch.zeros(1, 1, 40, 40, requires_grad=True)
    padded(x)[0, 0, 3, 4].backward()
    rows, columns = x.grad[0, 0].any(1).nonzero().flatten(), x.grad[0, 0].any(0).nonzero().flatten()
    size, stride, middle = receptive_field(padded)
    assert (len(rows), len(columns)) == (size, size)
    assert (rows.float().mean(), columns.float().mean()) == (middle + 3 * stride, middle + 4 * stride)


def test_occlusion_is_what_each_patch_would_change(planted):
    torch.manual_seed(1)
    network = nn.Sequential(nn.Flatten(), nn.Linear(2 * 400, 3))
    agent = planted(network, stack=2)
    frames = torch.randint(0, 256, (1, 2, 20, 20), dtype=torch.uint8)
    heat = occlusion(agent, frames[:, 1], FIRST, (frames[:, :1],)).numpy()
    background = int(np.sort(frames[0, 1].numpy().reshape(-1))[199])
    change, count = np.zeros((20, 20)), np.zeros((20, 20))
    with torch.no_grad():
        seen = network(frames.float())[0].numpy()
        for y in range(0, 20 - PATCH + 1, STRIDE):
            for x in range(0, 20 - PATCH + 1, STRIDE):
                hidden = frames.clone()
                hidden[:, :, y : y + PATCH, x : x + PATCH] = background
                unseen = network(hidden.float())[0].numpy()
                change[y : y + PATCH, x : x + PATCH] += ((unseen - seen) ** 2).sum() / 2
                count[y : y + PATCH, x : x + PATCH] += 1
    assert np.allclose(heat, change / count, rtol=1e-3)


def test_both_agree_where_a_player_of_pong_looks(demo_player):
    """They are other measures of the same: over a rally their maps correlate, and training notices nothing."""
    agent, env_spec = demo_player.agent, demo_player.game.env_spec
    assert saliencies(agent, env_spec) == ("off", "grad-cam", "occlusion")
    before = {name: x.clone() for name, x in agent.network.state_dict().items()}
    alike = []
    for moment in islice(demo_player, 90, 150, 10):
        obs = torch.from_numpy(moment.seen[-1:])
        carry = (torch.from_numpy(moment.seen[None, :-1]),)
        cam, hidden = (saliency(kind, agent, obs, FIRST, carry) for kind in ("grad-cam", "occlusion"))
        for heat in (cam, hidden):
            assert heat.shape == (84, 84)
            assert heat.min() >= 0
            assert heat.max() <= 1
        if cam.max():  # nothing raises the value of a lost point
            alike.append(np.corrcoef(cam.reshape(-1), hidden.reshape(-1))[0, 1])
    assert len(alike) >= 3
    assert np.mean(alike) > 0.1
    assert all(torch.equal(before[name], x) for name, x in agent.network.state_dict().items())


@pytest.mark.parametrize(
    ("agent", "small"), [("sb3_dqn", {"buffer_size": 100}), ("sb3_ppo", {"n_steps": 8, "batch_size": 64})]
)
def test_of_two_networks_or_passes_the_one_that_plays_counts(train, agent, small):
    """SB3's DQN holds its target network too; its PPO could look once for the policy and once for the critic."""
    run = train(agent, env="Pong", steps=60, eval_every=0, eval_episodes=1, frame_stack=4, **small)
    agent = api.load(run)
    obs = torch.zeros(1, 84, 84, dtype=torch.uint8)
    obs[:, 30:40, 50:60] = 200
    carry = (obs[:, None].expand(1, 3, 84, 84),)
    _, convs, maps = with_feature_maps(agent, obs, FIRST, carry)
    assert receptive_field(convs) == (36, 8, 17.5)
    assert len(maps) == 3
    heat = grad_cam(agent, obs, FIRST, carry)
    assert heat.shape == (84, 84)
    assert heat.std() > 0 or heat.max() == 0
