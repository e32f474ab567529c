"""The pictures of what a network has learned, against the network."""

import dataclasses

import cv2
import numpy as np
import pytest
import torch

from agents.dqn import DQN
from rl_lab import api
from rl_lab.analysis import feature_visualization
from rl_lab.analysis.saliency import receptive_field
from rl_lab.errors import LabError
from rl_lab.watch.game import Game
from rl_lab.watch.player import Player


def test_a_sample_of_a_sequence_lies_evenly_over_it():
    for length in (0, 1, 9, 10, 19, 20, 1000):
        thinned = feature_visualization.Thinned(10)
        for i in range(length):
            thinned.add(i)
        assert min(10, length) <= len(thinned.items) < 20
        assert len({b - a for a, b in zip(thinned.items[:-1], thinned.items[1:], strict=True)}) <= 1
        assert length < 20 or thinned.items[-1] >= 0.9 * length - thinned.every


def test_feature_maps_are_the_networks(demo):
    agent = api.load(demo)
    stack = torch.randint(0, 256, (2, 4, 84, 84), dtype=torch.uint8)
    maps = feature_visualization.feature_maps(agent, stack)
    assert [tuple(m.shape) for m in maps] == [(2, 32, 20, 20), (2, 64, 9, 9), (2, 64, 7, 7)]
    assert isinstance(agent, DQN)
    with torch.no_grad():
        assert torch.allclose(agent.network.encoder.conv(stack), maps[-1].flatten(1))


@pytest.mark.parametrize("layer", [0, 1, 2])
def test_what_is_made_to_excite_a_unit_does(demo, layer):
    """More than any of a hundred random inputs, put where its receptive field lies."""
    agent, frames = api.load(demo), torch.randint(0, 256, (100, 4, 84, 84), dtype=torch.uint8)
    maps = feature_visualization.feature_maps(agent, frames)[layer]
    unit = int(maps.amax((0, 2, 3)).argmax())
    made = feature_visualization.made_to_excite(agent, frames, layer, unit, 255)
    size, stride, _ = receptive_field(feature_visualization.convolutions(agent, frames)[: layer + 1])
    assert made.shape == (4, size, size)
    y, x = maps.shape[2] // 2, maps.shape[3] // 2
    stack = frames.float().mean(0, keepdim=True).to(torch.uint8)
    stack[0, :, y * stride : y * stride + size, x * stride : x * stride + size] = made
    assert feature_visualization.feature_maps(agent, stack)[layer][0, unit, y, x] > maps[:, unit].max()


def test_all_pictures_of_a_player_are_drawn(demo, tmp_path):
    agent = api.load(demo)
    env_spec = dataclasses.replace(demo.env_spec, max_frames=800)
    player = Player(agent, demo.config, Game(env_spec), epsilon=0.0, seed=1)
    files = feature_visualization.draw(player, tmp_path / "look", step=100, units=2)
    assert [path.name for path in files] == [
        *["filters.png", "maps-1.png", "maps-2.png", "maps-3.png", "units-1.png", "units-2.png", "units-3.png"],
        "cam.png",
    ]
    for path in files:
        assert np.asarray(cv2.imread(str(path))).std() > 5, path


def test_a_binary_view_is_drawn_in_black_and_white(train, tmp_path):
    """Its ones are white, and what is made to excite a unit lies between 0 and 1 too."""
    run = train(env="Pong", view="binary", steps=300, eval_every=0, eval_episodes=1, replay_size=400)
    agent, env_spec = api.load(run), dataclasses.replace(run.env_spec, max_frames=400)
    player = Player(agent, run.config, Game(env_spec), epsilon=0.0, seed=1)
    files = feature_visualization.draw(player, tmp_path / "look", step=50, units=2)
    pictures = {path.name: np.asarray(cv2.imread(str(path))) for path in files}
    assert all(picture.max() == 255 for picture in (pictures["units-3.png"], pictures["cam.png"]))
    frames = torch.randint(0, 2, (20, 4, 80, 80), dtype=torch.uint8)
    assert feature_visualization.made_to_excite(agent, frames, 0, 0, 1).unique().tolist() == [0, 1]


def test_what_has_no_convolution_is_refused(train, tmp_path):
    run = train(steps=300, eval_every=0, eval_episodes=1)
    player = Player(api.load(run), run.config, Game(run.env_spec), epsilon=0, seed=1)
    with pytest.raises(LabError, match="look draws what convolutions have learned, and DQN on CartPole-v1 has none"):
        feature_visualization.draw(player, tmp_path, step=1, units=1)
