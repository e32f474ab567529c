"""The frame: where heatmaps are drawn, vectors and states as bars and texts, and a layout that holds for all agents."""

from __future__ import annotations

import dataclasses
from typing import Any

import matplotlib
import numpy as np
import pytest
from numpy.typing import NDArray

from envs.make import resolve
from envs.options import EnvOptions
from envs.packing import pack
from envs.spec import EnvSpec, PackedObservation
from rl_lab.watch import frame_rendering
from rl_lab.watch.frame_rendering import (
    BAR,
    ENTRY_HEIGHT,
    FRAME_HEIGHT,
    HEADER_HEIGHT,
    NAME_WIDTH,
    PANEL_LEFT,
    PANEL_RIGHT,
    SCREEN_WIDTH,
    VALUE_WIDTH,
    observed_part_of_screen,
    render_frame,
)
from rl_lab.watch.images import TEXT
from rl_lab.watch.player import PlayerStep
from rl_lab.watch.vector_entries import entry_names, entry_ranges, spatial_part, vector_part

SCREEN = np.full((200, 250, 3), 100, np.uint8)
VECTOR_SPEC = resolve("CartPole-v1")


def make_step(stacked_obs: NDArray[Any], num_actions: int = 2, **changes: Any) -> PlayerStep:
    """Return a step with these observations [k, *obs_shape]."""
    step = PlayerStep(
        screens=[SCREEN],
        stacked_obs=stacked_obs,
        action_scores=np.linspace(-1, 1, num_actions, dtype=np.float32),
        is_policy=False,
        action=0,
        greedy_action=num_actions - 1,
        distribution=None,
        state_norm=None,
        obs_magnitudes=np.abs(stacked_obs[-1]).astype(np.float32),
        saliency=None,
        values=np.array([1, 2, 3], np.float32),
        returns=np.array([3, 2, 3], np.float32),
        score=1.0,
        step_number=3,
        game_number=1,
        is_last=False,
    )
    return dataclasses.replace(step, **changes)


def vector_spec(num_entries: int, num_actions: int = 2, **changes: Any) -> EnvSpec:
    actions = tuple(str(i) for i in range(num_actions))
    return dataclasses.replace(VECTOR_SPEC, id="Mine-v0", frame=(num_entries,), actions=actions, **changes)


@pytest.fixture
def texts(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, int]]:
    """Return a list that receives the texts that are drawn: (text, x, y)."""
    drawn: list[tuple[str, int, int]] = []
    original = frame_rendering.draw_text

    def record(image: Any, text: str, position: tuple[int, int], **style: Any) -> None:
        drawn.append((text, *position))
        original(image, text, position, **style)

    monkeypatch.setattr(frame_rendering, "draw_text", record)
    return drawn


def image_spec(**changes: Any) -> EnvSpec:
    values: dict[str, Any] = {
        "backend": "ale",
        "view": "grey",
        "frame": (84, 84),
        "dtype": "uint8",
        "obs_kind": "image",
    }
    return dataclasses.replace(VECTOR_SPEC, **(values | {"bounds": None, **changes}))


@pytest.mark.parametrize(
    ("backend", "view", "expected"),
    [
        ("ale", "grey", True),
        ("ale", "binary", False),  # a part of Pong's screen
        ("gymnasium", "grey", False),  # CarRacing renders another picture than its observation
        ("gymnasium", "pixels", True),
    ],
)
def test_heatmap_is_on_the_screen_only_if_the_network_sees_the_screen(backend: str, view: str, expected: bool):
    env_spec = image_spec(backend=backend, view=view)
    assert (observed_part_of_screen(env_spec) is not None) == expected
    obs = np.zeros((4, 84, 84), np.uint8)
    plain = render_frame(make_step(obs), SCREEN, env_spec, "title")
    heated = render_frame(make_step(obs, saliency=np.ones((84, 84), np.float32)), SCREEN, env_spec, "title")
    changed = (plain != heated).any(2)
    assert changed[:, :SCREEN_WIDTH].any() == expected
    assert changed[:, SCREEN_WIDTH:].any(), "the heatmap is always on the newest observation"
    older = PANEL_LEFT + 3 * ((PANEL_RIGHT - PANEL_LEFT) // 4)
    assert not changed[:, SCREEN_WIDTH:older].any()


def test_heatmap_is_on_the_part_of_the_screen_that_the_network_sees():
    options = EnvOptions(pixels=True, crop="50:150,100:200")
    env_spec = image_spec(backend="gymnasium", view="pixels", options=options)
    obs = np.zeros((1, 84, 84), np.uint8)
    plain = render_frame(make_step(obs), SCREEN, env_spec, "title")
    heated = render_frame(make_step(obs, saliency=np.ones((84, 84), np.float32)), SCREEN, env_spec, "title")
    rows, columns = np.nonzero((plain != heated).any(2)[:, :SCREEN_WIDTH])
    top, scale = (FRAME_HEIGHT - 400) // 2, 2  # the screen of 200 x 250 pixels is drawn twice as large
    assert (rows.min(), rows.max() + 1) == (top + 50 * scale, top + 150 * scale)
    assert (columns.min(), columns.max() + 1) == (100 * scale, 200 * scale)
    assert (SCREEN == 100).all(), "the screen of the step is unchanged"


def test_entries_of_a_known_environment_have_names_values_and_masks(texts: list[tuple[str, int, int]]):
    obs = np.array([[0, 0, 0, 0], [0.5, 0, -0.25, 12345.678]], np.float32)
    env_spec = dataclasses.replace(VECTOR_SPEC, masked=(1,))
    render_frame(make_step(obs), SCREEN, env_spec, "title")
    by_row: dict[int, list[str]] = {}
    for text, _, y in texts:
        by_row.setdefault(y, []).append(text)
    rows = list(by_row.values())
    assert rows[2:7] == [
        ["newest observation of 2"],
        ["cart position", "0.500"],
        ["cart velocity", "masked"],
        ["pole angle", "-0.250"],
        ["pole velocity", "1.23e+04"],
    ]


def bar_columns(frame: NDArray[np.uint8], entry: int) -> NDArray[np.int64]:
    """Return the columns that the bar of an entry of a vector fills, relative to the left end of its range."""
    top = HEADER_HEIGHT + 18 + entry * ENTRY_HEIGHT
    line = frame[top + 4, PANEL_LEFT + NAME_WIDTH : PANEL_RIGHT - VALUE_WIDTH + 1]
    return np.nonzero((line == BAR).all(1))[0]


def test_bars_begin_at_zero_and_end_at_the_share_of_the_range():
    width = PANEL_RIGHT - VALUE_WIDTH - PANEL_LEFT - NAME_WIDTH
    obs = np.array([[1.0, -0.5, 30.0, 150.0]], np.float32)
    bounds = ((-2.0, 2.0), (-1.0, 3.0), (20.0, 40.0), (-1.0, 100.0))
    step = make_step(obs)
    frame = render_frame(step, SCREEN, vector_spec(4, bounds=bounds), "title")
    expected = [(0.5, 0.75), (0.125, 0.25), (0.0, 0.5), (1 / 101, 1.0)]  # beyond its bounds the last one ends there
    for entry, (first, last) in enumerate(expected):
        columns = bar_columns(frame, entry)
        assert columns[0] == pytest.approx(first * width, abs=2)
        assert columns[-1] == pytest.approx(last * width, abs=2)
    unbounded = render_frame(
        dataclasses.replace(step, obs_magnitudes=np.array([2, 2, 60, 150], np.float32)), SCREEN, vector_spec(4), "title"
    )
    assert bar_columns(unbounded, 0)[-1] == pytest.approx(0.75 * width, abs=2)
    assert bar_columns(unbounded, 2)[-1] == pytest.approx(0.75 * width, abs=2)
    assert bar_columns(unbounded, 3)[-1] == pytest.approx(width, abs=2)


def test_continuous_actions_have_bars_and_the_numbers_that_the_environment_receives(texts: list[tuple[str, int, int]]):
    env_spec = dataclasses.replace(vector_spec(1), actions=("0", "1"), action_bounds=((-2.0, 2.0), (0.0, 1.0)))
    action = np.array([0.5, -3.0], np.float32)  # the second entry is clipped to -1
    step = make_step(
        np.zeros((1, 1), np.float32),
        action=action,
        greedy_action=action,
        action_scores=np.array([0.5, 0.0], np.float32),
        action_std=np.array([0.25, 0.0], np.float32),
        is_policy=True,
    )
    frame = render_frame(step, SCREEN, env_spec, "title")
    drawn = [text for text, _, _ in texts]
    assert drawn[drawn.index("action and standard deviation") + 1 :][:4] == ["0", "1.000", "1", "0.000"]
    y = next(y for text, _, y in texts if text == "action and standard deviation")
    left, right = PANEL_LEFT + NAME_WIDTH, PANEL_RIGHT - VALUE_WIDTH
    line = frame[y + 8 + 6, left - 4 : right + 4]
    band = np.flatnonzero((line == frame_rendering.BAR).all(1)) - 4
    width = right - left
    assert (band[0], band[-1]) == (pytest.approx(0.625 * width, abs=2), pytest.approx(0.875 * width, abs=2))
    chosen = np.flatnonzero((line == frame_rendering.GREEDY).all(1)) - 4
    assert chosen.mean() == pytest.approx(0.75 * width, abs=1)
    second = frame[y + 8 + 22 + 6, left - 4 : right + 4]
    chosen = np.flatnonzero((second == frame_rendering.GREEDY).all(1)) - 4
    assert chosen.mean() == pytest.approx(0, abs=1), "the second entry is at its lower bound"


@pytest.mark.parametrize("num_actions", [2, 4, 18, 19, 500])
@pytest.mark.parametrize("num_entries", [1, 8, 128])
@pytest.mark.parametrize("has_extras", [False, True])
def test_layout_holds_for_all_agents(
    texts: list[tuple[str, int, int]], num_actions: int, num_entries: int, has_extras: bool
):
    """No text lies on another one, none is outside of the frame, and the curves can be read."""
    extras: dict[str, Any] = {}
    if has_extras:
        extras = {"state_norm": 1.0, "distribution": np.full((num_actions, 51), 1 / 51, np.float32)}
    step = make_step(np.ones((4, num_entries), np.float32), num_actions, **extras)
    frame = render_frame(step, SCREEN, vector_spec(num_entries, num_actions), "title")
    assert frame.shape == (FRAME_HEIGHT, 880, 3)
    left = sorted({y for _, x, y in texts if x == PANEL_LEFT})
    assert np.diff(left).min() >= 8
    curve_caption = next(y for text, _, y in texts if text.startswith("V = "))
    assert curve_caption == max(y for text, x, y in texts if x == PANEL_LEFT)
    assert FRAME_HEIGHT - curve_caption > 80
    counts = [text for text, *_ in texts if text.startswith("and ")]
    shown = sum(text.startswith("x") for text, x, _ in texts if x == PANEL_LEFT)
    expected = []
    if shown < num_entries:
        expected.append(f"and {num_entries - shown} more")
    if num_actions > 18:
        expected.append(f"and {num_actions - 18} more")
    assert counts == expected
    assert shown >= min(num_entries, 5)
    assert "0" in [text for text, *_ in texts], "the chosen action is always shown"


def test_states_of_several_parts_are_several_numbers(texts: list[tuple[str, int, int]]):
    obs = np.zeros((1, 10), np.float32)
    obs[0, [2, 3, 9]] = 1
    render_frame(make_step(obs), SCREEN, vector_spec(10, state_sizes=(3, 2, 5)), "title")
    assert texts[2][0] == "state 2, 0, 4 of 3 x 2 x 5"


@pytest.mark.parametrize(("state", "expected"), [(123, "state 123 of 500"), (None, "state hidden of 500")])
def test_discrete_states_are_numbers(texts: list[tuple[str, int, int]], state: int | None, expected: str):
    obs = np.zeros((2, 500), np.float32)
    obs[0, 7] = 1
    if state is not None:
        obs[1, state] = 1
    render_frame(make_step(obs), SCREEN, vector_spec(500, state_sizes=(500,)), "title")
    assert texts[2][0] == expected


@pytest.mark.parametrize(
    ("env_id", "num_entries", "expected"),
    [
        ("CartPole-v0", 4, "cart position"),
        ("CartPole-v1", 3, "x0"),  # a wrapper has changed the observation
        ("mymodule:CartPole-v1", 4, "x0"),
        ("LunarLander-v3", 8, "x"),
        ("Other-v1", 2, "x0"),
    ],
)
def test_names_of_entries_are_those_of_known_ids_only(env_id: str, num_entries: int, expected: str):
    names = entry_names(dataclasses.replace(VECTOR_SPEC, id=env_id), num_entries)
    assert len(names) == num_entries
    assert names[0] == expected


def test_ranges_are_moderate_bounds_or_magnitudes():
    bounds = ((-1.0, 2.0), (-1e6, 1e6), (3.0, 3.0))
    magnitudes = np.array([9, 5, 0], np.float32)
    ranges = entry_ranges(vector_spec(3, bounds=bounds), magnitudes)
    np.testing.assert_allclose(ranges, [[-1, 2], [-5, 5], [-1e-9, 1e-9]])
    assert (entry_ranges(vector_spec(3), magnitudes)[0] == [-9, 9]).all()


@pytest.mark.parametrize("kind", ["image", "planes"])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_packed_observations_are_shown_by_their_parts(texts: list[tuple[str, int, int]], kind: Any, dtype: Any):
    packed = PackedObservation(3, (2, 40, 50), kind, dtype, num_masked=5)
    vector = np.array([1.5, -2.5, 3.5], np.float32)
    spatial = np.random.default_rng(0).integers(0, 255, (2, 40, 50)).astype(dtype)
    obs = pack(packed, [vector], spatial, np.ones(5, np.bool_))
    env_spec = vector_spec(len(obs), 5, dtype="uint8", obs_kind="packed", packed=packed)
    np.testing.assert_array_equal(vector_part(env_spec, obs), vector)
    np.testing.assert_array_equal(spatial_part(env_spec, obs), spatial)
    if (kind, dtype) == ("image", "float32"):  # images are always uint8
        return
    step = make_step(obs[None], 5, obs_magnitudes=np.abs(vector))
    render_frame(step, SCREEN, env_spec, "title")
    drawn = [text for text, *_ in texts]
    assert drawn[drawn.index("x0") :][:6] == ["x0", "1.500", "x1", "-2.500", "x2", "3.500"]
    assert ("2 planes of 40 x 50" in drawn) == (kind == "planes")


def test_channels_of_a_minatar_game_are_one_picture_with_a_legend(texts: list[tuple[str, int, int]]):
    """The ball is on the trail, and the later channel counts. The picture has cells of 13 pixels."""
    planes = np.zeros((1, 4, 10, 10), np.uint8)
    planes[0, 0, 9, 3] = 1  # paddle
    planes[0, 1:3, 4, 4] = 1  # ball and trail
    planes[0, 3, 1] = 1  # bricks
    env_spec = image_spec(
        id="minatar:MinAtar/Breakout-v1", backend="gymnasium", frame=(4, 10, 10), obs_kind="planes", family="planes"
    )
    frame = render_frame(make_step(planes), SCREEN, env_spec, "title")
    drawn = [text for text, *_ in texts]
    start = drawn.index("paddle")
    assert drawn[start : start + 4] == ["paddle", "ball", "trail", "brick"]
    cubehelix = matplotlib.colormaps["cubehelix"]
    colors = [[round(255 * x) for x in cubehelix((i + 1) / 5)[:3]] for i in range(4)]

    def cell(row: int, column: int) -> list[int]:
        return frame[HEADER_HEIGHT + 13 * row + 6, PANEL_LEFT + 13 * column + 6].tolist()

    assert cell(0, 0) == [0, 0, 0]
    for place, channel in (((9, 3), 0), ((4, 4), 2), ((1, 0), 3), ((1, 9), 3)):
        np.testing.assert_allclose(cell(*place), colors[channel], atol=4)  # matplotlib has 256 steps
    for i, color in enumerate(colors):
        np.testing.assert_allclose(frame[HEADER_HEIGHT + 14 * i + 7, PANEL_LEFT + 146], color, atol=4)


@pytest.mark.parametrize("env_id", ["MinAtar/Asterix-v1", "other:Own/Breakout-v1", "Breakout-v1"])
def test_other_planes_have_no_legend(texts: list[tuple[str, int, int]], env_id: str):
    """A version of Asterix with seven channels is not the one whose names are known."""
    env_spec = image_spec(id=env_id, backend="gymnasium", frame=(7, 10, 10), obs_kind="planes", family="planes")
    render_frame(make_step(np.ones((1, 7, 10, 10), np.uint8)), SCREEN, env_spec, "title")
    assert "7 planes of 10 x 10" in [text for text, *_ in texts]


@pytest.mark.parametrize("shape", [(84, 84), (3, 84, 84), (1, 84, 84), (4, 60, 90), (35, 84, 84)])
@pytest.mark.parametrize("num_stacked", [1, 4])
def test_images_with_channels_are_drawn_in_the_panel(shape: tuple[int, ...], num_stacked: int):
    obs = np.full((num_stacked, *shape), 200, np.uint8)
    if shape[0] == 3:
        obs[:, 1:] = 0
    frame = render_frame(make_step(obs), SCREEN, image_spec(backend="gymnasium", frame=shape), "title")
    tile = frame[HEADER_HEIGHT : HEADER_HEIGHT + 80, PANEL_LEFT:PANEL_RIGHT]
    expected = [200, 0, 0] if shape[0] == 3 else [200, 200, 200]
    assert (tile == expected).all(2).sum() > 400


def test_actions_that_are_not_allowed_have_no_bar(texts: list[tuple[str, int, int]]):
    scores = np.array([-np.inf, 1.0, 3.0, -np.inf], np.float32)
    step = make_step(np.ones((1, 2), np.float32), 4, action_scores=scores, action=2, greedy_action=2)
    render_frame(step, SCREEN, vector_spec(2, 4), "title")
    drawn = [text for text, *_ in texts]
    assert drawn[drawn.index("0") :][:8] == ["0", "not allowed", "1", "1.000", "2", "3.000", "3", "not allowed"]


@pytest.mark.parametrize(
    ("is_policy", "labels", "chosen"),
    [
        (True, ["left", "right", "jump", "stay", "duck"], ["right", "stay"]),
        (False, [f"{a} {b}" for a in ("left", "right") for b in ("jump", "stay", "duck")], ["right stay"]),
    ],
)
def test_actions_with_several_parts_have_the_names_of_their_parts(
    monkeypatch: pytest.MonkeyPatch, is_policy: bool, labels: list[str], chosen: list[str]
):
    """A policy has a probability for each action of each part; other agents have a value for each combination."""
    drawn: list[tuple[str, Any]] = []
    monkeypatch.setattr(
        frame_rendering, "draw_text", lambda _, text, position, **style: drawn.append((text, style.get("color")))
    )
    names = ("left", "right", "jump", "stay", "duck")
    env_spec = dataclasses.replace(vector_spec(2), actions=names, action_parts=(2, 3))
    step = make_step(np.ones((1, 2), np.float32), len(labels), is_policy=is_policy, action=4)
    render_frame(step, SCREEN, env_spec, "title")
    texts = [text for text, _ in drawn]
    start = next(i for i, text in enumerate(texts) if text.startswith("action ")) + 1
    rows = drawn[start : start + 2 * len(labels) : 2]
    assert [text for text, _ in rows] == labels
    assert [text for text, color in rows if color == TEXT] == chosen


def filled_columns(frame: NDArray[np.uint8], y: int, color: Any) -> list[int]:
    """Return the columns of a row of the frame, relative to the left end of the bars, that have a colour."""
    line = frame[y, PANEL_LEFT + NAME_WIDTH : PANEL_RIGHT - VALUE_WIDTH + 1]
    return np.flatnonzero((line == color).all(1)).tolist()


def test_bars_of_values_begin_at_zero_and_the_best_action_is_marked(texts: list[tuple[str, int, int]]):
    width = PANEL_RIGHT - VALUE_WIDTH - PANEL_LEFT - NAME_WIDTH
    scores = np.array([-1.0, 3.0, 0.5], np.float32)
    step = make_step(np.ones((1, 2), np.float32), 3, action_scores=scores, action=2, greedy_action=1)
    frame = render_frame(step, SCREEN, vector_spec(2, 3), "title")
    caption_y = next(y for text, _, y in texts if text == "action values Q(s, a), the best by 2.5")
    rows = [caption_y + 8 + 22 * i for i in range(3)]
    bars = [(BAR, 0.0, 0.25), (BAR, 0.25, 1.0), (frame_rendering.EXPLORATORY, 0.25, 0.375)]
    for y, (color, first, last) in zip(rows, bars, strict=True):
        columns = filled_columns(frame, y + 4, color)
        assert columns[0] == pytest.approx(first * width, abs=2)
        assert columns[-1] == pytest.approx(last * width, abs=2)
    margin = slice(SCREEN_WIDTH, PANEL_LEFT - 2)
    marks = [(frame[y : y + 22, margin] == frame_rendering.GREEDY).all(2).any() for y in rows]
    assert marks == [False, True, False]
    last = render_frame(dataclasses.replace(step, is_last=True), SCREEN, vector_spec(2, 3), "title")
    assert not (last[:, margin] == frame_rendering.GREEDY).all(2).any()


def test_bars_of_probabilities_reach_to_one():
    width = PANEL_RIGHT - VALUE_WIDTH - PANEL_LEFT - NAME_WIDTH
    step = make_step(np.ones((1, 1), np.float32), action_scores=np.array([0.25, 0.75], np.float32), is_policy=True)
    frame = render_frame(step, SCREEN, vector_spec(1), "title")
    lengths = {len(filled_columns(frame, y, frame_rendering.BAR)) for y in range(140, 260)}
    assert max(lengths) == pytest.approx(0.75 * width, abs=2)


def test_bars_of_positive_values_begin_at_zero(texts: list[tuple[str, int, int]]):
    width = PANEL_RIGHT - VALUE_WIDTH - PANEL_LEFT - NAME_WIDTH
    step = make_step(np.ones((1, 1), np.float32), action_scores=np.array([2, 4], np.float32), action=1)
    frame = render_frame(step, SCREEN, vector_spec(1), "title")
    y = next(y for text, _, y in texts if text.startswith("action values"))
    assert len(filled_columns(frame, y + 12, BAR)) == pytest.approx(0.5 * width, abs=2)
