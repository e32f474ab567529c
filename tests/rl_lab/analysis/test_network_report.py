"""Tests of the images that the command `look` writes."""

import dataclasses
import re

import cv2
import numpy as np
import pytest

from rl_lab import api
from rl_lab.analysis.network_report import write_network_report
from rl_lab.analysis.report_page import ColorScale, ReportFigure, report_page
from rl_lab.analysis.saliency import available_saliency_methods
from rl_lab.errors import LabError
from rl_lab.watch.player import Player
from rl_lab.watch.rendered_env import RenderedEnv


def test_report_contains_all_images(demo, tmp_path):
    env_spec = dataclasses.replace(demo.env_spec, max_frames=800)
    player = Player(api.load_agent(demo), demo.config, RenderedEnv(env_spec), epsilon=0.0, seed=1)
    files = write_network_report(player, tmp_path / "look", step=100, units=2)
    page, *pictures = files
    assert page.name == "index.html"
    assert [path.name for path in pictures] == [
        *["filters.png", "maps-1.png", "maps-2.png", "maps-3.png", "units-1.png", "units-2.png", "units-3.png"],
        "cam.png",
    ]
    for path in pictures:
        assert np.asarray(cv2.imread(str(path))).std() > 5, path
    html = page.read_text()
    assert re.findall(r'<img src="(.*?)"', html) == [path.name for path in pictures]
    assert re.findall(r"<h2>(.*?)</h2>", html) == [files[path] for path in pictures]
    assert html.count("<figcaption>") == html.count("linear-gradient") == 8
    assert "game of 200 agent steps with score" in html  # of 800 frames
    assert "feature maps of convolution 1 at step 100" in html
    assert "Each tile is the output of one unit after its ReLU: 20 x 20 values" in html  # Nature's first convolution


def test_binary_view_is_drawn_in_black_and_white(train, tmp_path):
    run = train(env="Pong", view="binary", steps=300, eval_every=0, eval_episodes=1, replay_size=400)
    env_spec = dataclasses.replace(run.env_spec, max_frames=400)
    player = Player(api.load_agent(run), run.config, RenderedEnv(env_spec), epsilon=0.0, seed=1)
    files = write_network_report(player, tmp_path / "look", step=50, units=2)
    images = {path.name: np.asarray(cv2.imread(str(path))) for path in files if path.suffix == ".png"}
    assert images["units-3.png"].max() == 255
    assert images["cam.png"].max() == 255


def test_heatmaps_of_rendered_pictures_show_the_part_that_the_network_sees(train, tmp_path):
    run = train(env="CartPole-v1", view="pixels", steps=40, learning_starts=20, replay_size=200)
    player = Player(api.load_agent(run), run.config, RenderedEnv(run.env_spec), epsilon=0.0, seed=1)
    files = write_network_report(player, tmp_path / "look", step=2, units=1)
    (cam,) = [path for path in files if path.name == "cam.png"]
    height, width = np.asarray(cv2.imread(str(cam))).shape[:2]
    assert width > 600
    assert height % 200 != 0 or height < 400  # tiles of 200 rows with captions, not of 400


def test_report_refuses_colour_images(train, tmp_path):
    run = train(
        env="CartPole-v1", view="pixels", image="rgb", image_size=40, steps=40, learning_starts=20, replay_size=200
    )
    player = Player(api.load_agent(run), run.config, RenderedEnv(run.env_spec), epsilon=0, seed=1)
    with pytest.raises(LabError, match="look draws grey images only; the images of CartPole-v1 have 3 channels"):
        write_network_report(player, tmp_path, step=1, units=1)
    player.env.close()


def test_report_raises_for_a_network_without_convolutions(train, tmp_path):
    run = train(steps=300, eval_every=0, eval_episodes=1)
    player = Player(api.load_agent(run), run.config, RenderedEnv(run.env_spec), epsilon=0, seed=1)
    with pytest.raises(LabError, match="look needs a network with convolutions; DQN on CartPole-v1 has none"):
        write_network_report(player, tmp_path, step=1, units=1)


@pytest.mark.parametrize("baseline", [True, False])
def test_heatmaps_of_continuous_actions_need_values(baseline, train, tmp_path):
    run = train(
        "reinforce",
        env="Pendulum-v1",
        view="pixels",
        image_size=36,
        frame_stack=1,
        baseline=baseline,
        num_envs=1,
        steps=4,
        eval_every=0,
        eval_episodes=1,
        eval_max_steps=2,
        vectorization="sync",
    )
    agent = api.load_agent(run)
    assert ("grad-cam" in available_saliency_methods(agent, run.env_spec)) == baseline
    player = Player(agent, run.config, RenderedEnv(run.env_spec), epsilon=0, seed=1)
    if baseline:
        files = write_network_report(player, tmp_path / "look", step=1, units=1)
        assert files[tmp_path / "look" / "cam.png"] == "Grad-CAM heatmaps of the value of the state over the game"
        return
    with pytest.raises(LabError, match="Reinforce has learned no values of Pendulum-v1"):
        write_network_report(player, tmp_path, step=1, units=1)
    with pytest.raises(LabError, match="has no grad-cam map, which needs convolutions, and values if actions are"):
        api.show(run, video=str(tmp_path / "game.mp4"), saliency=True)
    player.env.close()


def test_names_on_the_page_are_texts():
    name = '</title><script>alert(1)</script>"&'
    scale = ColorScale(name, name, ((0, 0, 0), (255, 255, 255)), name)
    html = report_page(name, [name], [ReportFigure("a.png", name, name, scale)])
    assert "<script" not in html
    assert html.count("&lt;script&gt;alert(1)&lt;/script&gt;&quot;&amp;") == 10
    assert "linear-gradient(to right, rgb(0, 0, 0), rgb(255, 255, 255))" in html
