"""The text beside the picture of the game in a terminal."""

import dataclasses
from itertools import islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from rl_lab import api
from rl_lab.experiment.factory import make_cpu_agent
from rl_lab.experiment.run import Run
from rl_lab.watch.controls import Controls
from rl_lab.watch.frame_rendering import render_frame, screen_part
from rl_lab.watch.player import Player, PlayerStep
from rl_lab.watch.rendered_env import RenderedEnv
from rl_lab.watch.text_panel import BLOCK, EMPTY, bar, panel_lines


@pytest.fixture(scope="module")
def pong_step() -> tuple[PlayerStep, Run]:
    """Return a step of the demo's first game."""
    run = Run.find("demo")
    env = RenderedEnv(run.env_spec)
    player = Player(make_cpu_agent(run.config, run.env_spec), run.config, env, epsilon=0.0, seed=1)
    (step,) = islice(player, 3, 4)
    env.close()
    return step, run


def test_the_panel_shows_game_values_actions_and_keys(pong_step: tuple[PlayerStep, Run]) -> None:
    step, run = pong_step
    lines = panel_lines(step, run.env_spec, "dqn, Pong, step 1", Controls(), 40)
    assert lines[0] == "dqn, Pong, step 1"
    assert "game 1, step 3, speed 1" in lines
    assert "observation 84 x 84, 4 stacked" in lines
    start = lines.index("Q of each action") + 1
    rows = lines[start : start + run.env_spec.num_actions]
    assert [float(row.split()[-1]) for row in rows] == pytest.approx(step.action_scores, abs=5e-4)
    assert [row[0] == ">" for row in rows] == [i == step.action for i in range(len(rows))]
    assert [row[1] == "*" for row in rows] == [i == np.argmax(step.action_scores) for i in range(len(rows))]
    keys = " ".join(lines)
    for key in ("space pause", ". one step", "+ faster", "- slower", "r restart", "s saliency", "q quit"):
        assert key in keys


def test_actions_that_are_not_allowed_have_neither_bar_nor_number() -> None:
    """In state 123 of Taxi, walls forbid nothing to the south, north and west; there is nobody to pick up or drop."""
    run = Run.find("demo:taxi")
    env = RenderedEnv(run.env_spec)
    (step,) = islice(Player(api.load_agent(run), run.config, env, epsilon=0.0, seed=2), 4, 5)
    env.close()
    lines = panel_lines(step, run.env_spec, "title", Controls(), 40)
    start = lines.index("Q of each action") + 1
    rows = lines[start : start + 6]
    not_allowed = [row.endswith(" not allowed") and BLOCK not in row for row in rows]
    assert not_allowed == [False, False, True, False, True, True]
    assert np.isneginf(step.action_scores).tolist() == not_allowed


def test_actions_of_several_parts_have_the_names_of_their_parts(pong_step: tuple[PlayerStep, Run]) -> None:
    """Values belong to the combinations of the parts (2, 3): number 4 is (1, 1), number 5 is (1, 2)."""
    step, run = pong_step
    spec = dataclasses.replace(run.env_spec, actions=("a", "b", "x", "y", "z"), action_parts=(2, 3))
    values = np.array([0, 1, 2, 3, 4, 5], np.float32)
    step = dataclasses.replace(step, action_scores=values, action=4, greedy_action=5, is_policy=False)
    lines = panel_lines(step, spec, "title", Controls(), 40)
    start = lines.index("Q of each action") + 1
    rows = lines[start : start + 6]
    assert [row[3:6] for row in rows] == ["a x", "a y", "a z", "b x", "b y", "b z"]
    assert [row[:2].strip() for row in rows] == ["", "", "", "", ">", "*"]


def test_each_part_of_a_policys_action_is_marked(pong_step: tuple[PlayerStep, Run]) -> None:
    """A policy has the probabilities of each part, one part after the other."""
    step, run = pong_step
    spec = dataclasses.replace(run.env_spec, actions=("a", "b", "x", "y", "z"), action_parts=(2, 3))
    probabilities = np.array([0.4, 0.6, 0.1, 0.2, 0.7], np.float32)
    step = dataclasses.replace(step, action_scores=probabilities, action=4, greedy_action=5, is_policy=True)
    lines = panel_lines(step, spec, "title", Controls(), 40)
    start = lines.index("probability of each action") + 1
    rows = lines[start : start + 5]
    assert [row[3] for row in rows] == ["a", "b", "x", "y", "z"]
    assert [row[:2].strip() for row in rows] == ["", ">*", "", ">", "*"]


def test_the_action_that_is_taken_is_among_the_shown_ones(pong_step: tuple[PlayerStep, Run]) -> None:
    step, run = pong_step
    spec = dataclasses.replace(run.env_spec, actions=tuple(f"a{i}" for i in range(30)))
    values = np.arange(30, dtype=np.float32)
    step = dataclasses.replace(step, action_scores=values, action=2, greedy_action=29, is_policy=False)
    lines = panel_lines(step, spec, "title", Controls(), 40)
    (start,) = [i for i, line in enumerate(lines) if line.startswith("Q of each action")]
    assert [line.split()[-3] for line in lines[start + 1 :] if line.startswith(">")] == ["a2"]


def test_pause_is_shown(pong_step: tuple[PlayerStep, Run]) -> None:
    step, run = pong_step
    controls = Controls()
    controls.press(" ")
    assert "game 1, step 3, paused" in panel_lines(step, run.env_spec, "title", controls, 40)


@pytest.mark.parametrize("width", [30, 40, 80])
def test_no_line_is_wider_than_the_panel(width: int, pong_step: tuple[PlayerStep, Run]) -> None:
    step, run = pong_step
    lines = panel_lines(step, run.env_spec, "a long title " * 10 + "界" * 60, Controls(), width)
    assert max(map(cell_len, lines)) <= width


def test_the_title_cannot_control_the_terminal(pong_step: tuple[PlayerStep, Run]) -> None:
    step, run = pong_step
    lines = panel_lines(step, run.env_spec, "a\x1b[2J\x1b]0;title\x07\n\ud800 z", Controls(), 60)
    assert lines[0] == r"a\x1b[2J\x1b]0;title\x07\n\ud800 z"


@given(
    low=st.floats(-100, 100),
    size=st.floats(0.01, 100),
    share=st.floats(0, 1),
    width=st.integers(1, 30),
)
def test_a_bar_reaches_from_zero_to_the_number(low: float, size: float, share: float, width: int) -> None:
    high = low + size
    number = low + share * size
    text = bar(number, low, high, width)
    assert len(text) == width
    filled = [i for i, char in enumerate(text) if char == BLOCK]
    assert filled == list(range(filled[0], filled[-1] + 1)), "the bar has no gaps"
    middles = low + (np.arange(width) + 0.5) / width * size
    between = {i for i, x in enumerate(middles) if min(0, number) + size / width < x < max(0, number) - size / width}
    assert between <= set(filled)


def test_a_bar_without_a_range_is_empty() -> None:
    assert bar(1.0, 0.0, 0.0, 4) == bar(float("nan"), 0.0, 1.0, 4) == EMPTY * 4


def test_screen_part_is_where_the_frame_shows_the_screen(pong_step: tuple[PlayerStep, Run]) -> None:
    """A screen of one colour fills that part of the frame, and nothing beside it at the left."""
    step, run = pong_step
    screen = np.full_like(step.screens[-1], 200)
    frame = render_frame(step, screen, run.env_spec, "title")
    rows, columns = screen_part(screen)
    assert (frame[rows, columns] == 200).all()
    assert not (frame[:, : columns.start] == 200).all(axis=2).any()
