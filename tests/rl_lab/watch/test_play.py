"""The command `play`: keys of environments, the keyboard, games in a window, and the scores that are kept."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from virtual_display import wait_until

from envs.make import resolve
from envs.stream import spread_seeds
from rl_lab.cli.main import main
from rl_lab.errors import LabError
from rl_lab.watch import play_env, play_frame
from rl_lab.watch.frame_rendering import FRAME_HEIGHT, FRAME_WIDTH, SCREEN_WIDTH
from rl_lab.watch.play_frame import PlayState, render_play_frame
from rl_lab.watch.play_keys import NUMBER_KEYS, Keyboard, action_names, keys_of_env


def action_for(env_id: str, *pressed: str) -> str | None:
    """Return the name of the action that keys stand for."""
    env_spec = resolve(env_id)
    action = keys_of_env(env_spec).action(frozenset(pressed))
    return None if action is None else env_spec.actions[action]


@pytest.mark.parametrize(
    ("pressed", "expected"),
    [
        (("w",), "UP"),
        (("up",), "UP"),
        (("space",), "FIRE"),
        (("w", "d", "space"), "UPRIGHTFIRE"),
        (("up", "right"), "UPRIGHT"),
        (("w", "x"), "UP"),  # a key without a meaning changes nothing
        (("left", "right"), "RIGHT"),  # no combination has both: the first one in the order of the actions
        (("x",), None),
        ((), None),
    ],
)
def test_atari_games_have_the_keys_of_their_environment(pressed: tuple[str, ...], expected: str | None):
    assert action_for("Seaquest", *pressed) == expected


def test_every_action_of_pong_has_a_key_and_no_key_is_noop():
    env_spec = resolve("Pong")
    keys = keys_of_env(env_spec)
    for i, name in enumerate(env_spec.actions):
        assert keys.keys_of(i), name
    # The racket goes up with RIGHT, and down with LEFT (ALE's manual of the game).
    for pressed, name in (("up", "RIGHT"), ("w", "RIGHT"), ("right", "RIGHT"), ("down", "LEFT"), ("s", "LEFT")):
        action = keys.action(frozenset({pressed}))
        assert action is not None
        assert env_spec.actions[action] == name
    assert keys.keys_of(env_spec.actions.index("RIGHTFIRE")) == "space + up"
    assert env_spec.actions[keys.idle_action] == "NOOP"


def test_arrow_keys_of_environments_with_old_numbers_of_pygame():
    """MountainCar pushes to the left with action 0 and to the right with action 2; no key is action 1."""
    keys = keys_of_env(resolve("MountainCar-v0"))
    assert keys.action(frozenset({"left"})) == 0
    assert keys.action(frozenset({"right"})) == 2
    assert keys.action(frozenset({"left", "right"})) == 1
    assert keys.idle_action == 1


def test_other_environments_have_a_number_key_for_each_action():
    env_spec = resolve("CartPole-v1")
    keys = keys_of_env(env_spec)
    assert [keys.action(frozenset(key)) for key in "12"] == [0, 1]
    assert [keys.action(frozenset({key})) for key in ("left", "right")] == [0, 1]
    assert keys.idle_action == 0
    assert keys_of_env(env_spec, 1).idle_action == 1
    with pytest.raises(LabError, match="idle is 2; CartPole-v1 has the actions 0 to 1"):
        keys_of_env(env_spec, 2)


def test_actions_without_names_are_numbered_and_known_ones_are_named():
    assert action_names(replace(resolve("CartPole-v1"), id="Mine-v0")) == ["action 0", "action 1"]
    taxi = resolve("Taxi-v4")  # south 0, north 1, east 2, west 3 (Gymnasium's documentation)
    keys = keys_of_env(taxi)
    assert [keys.action(frozenset({key})) for key in ("down", "up", "right", "left", "5", "6")] == [0, 1, 2, 3, 4, 5]


def test_a_key_that_was_released_before_the_step_counts_once():
    keyboard = Keyboard()
    keyboard.press("w")
    keyboard.press("space")
    keyboard.release("space")
    assert keyboard.pressed == {"w", "space"}
    assert keyboard.take() == {"w", "space"}
    assert keyboard.take() == {"w"}
    keyboard.release("w")
    assert keyboard.take() == frozenset()


@pytest.mark.parametrize("num_actions", [2, 18, len(NUMBER_KEYS)])
def test_the_frame_lists_all_actions_inside_the_panel(monkeypatch: pytest.MonkeyPatch, num_actions: int):
    texts: list[tuple[str, int]] = []
    draw = play_frame.draw_text

    def record(image: Any, text: str, position: tuple[int, int], **style: Any) -> None:
        texts.append((text, position[1]))
        draw(image, text, position, **style)

    monkeypatch.setattr(play_frame, "draw_text", record)
    env_spec = replace(resolve("CartPole-v1"), id="Mine-v0", actions=tuple(f"name{i}" for i in range(num_actions)))
    monkeypatch.setattr("rl_lab.watch.play_keys._combinations_of_env", lambda _: {})
    keys = keys_of_env(env_spec)
    state = PlayState(2, 7, 3.5, 1, False, False, 1.0, False, [1.0, 2.0])
    frame = render_play_frame(state, np.full((200, 250, 3), 100, np.uint8), env_spec, keys)
    assert frame.shape == (FRAME_HEIGHT, FRAME_WIDTH, 3)
    assert (frame[:, :SCREEN_WIDTH] == 100).all(2).sum() == 400 * 500
    by_text = dict(texts)
    assert ("1 or no key" in by_text, "2" in by_text) == (True, True)
    rows = [by_text[f"name{i}"] for i in range(num_actions)]
    assert np.diff(rows).min() >= 8
    assert rows[-1] < by_text["scores: 1, 2"] < by_text["escape"] < max(y for _, y in texts) < FRAME_HEIGHT
    assert by_text["game 2   step 7   score 3.5"] == 48


class Script:
    """A person: presses keys at given frames of a window without a display."""

    def __init__(self, frames: dict[int, list[tuple[str, bool]]]) -> None:
        self.frames = frames
        self.num_shown = 0
        self.on_key: Any = None

    def open(self, controls: Any, title: Any, *, on_key: Any, instead: str) -> Script:
        self.on_key = on_key
        return self

    def show(self, frame: Any) -> None:
        assert frame.shape == (FRAME_HEIGHT, FRAME_WIDTH, 3)
        self.num_shown += 1
        for key, is_down in self.frames.get(self.num_shown, []):
            self.on_key(key, is_down=is_down)

    def poll(self) -> None:
        pass

    def close(self) -> None:
        pass


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Return a function that runs `play` with a script, as fast as possible, and returns the script."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("rl_lab.watch.controls.Controls.hold_frame", lambda *_: False)

    def run(args: list[str], frames: dict[int, list[tuple[str, bool]]]) -> Script:
        script = Script(frames)
        monkeypatch.setattr(play_env, "WindowSink", script.open)
        main(["play", *args])
        return script

    return run


def test_a_game_is_that_of_the_pressed_keys_and_its_score_is_kept(play: Any, tmp_path: Path, capsys: Any):
    """The same actions in Gymnasium's own CartPole give the same number of steps."""
    down, up = ("2", True), ("2", False)
    play(["CartPole-v1", "--seed", "5", "--episodes", "1"], {3: [down], 6: [up], 7: [down, up]})
    (line,) = (tmp_path / "runs" / "human" / "CartPole-v1.jsonl").read_text().splitlines()
    entry = json.loads(line)
    env = gymnasium.make("CartPole-v1")
    env.reset(seed=int(spread_seeds(5, 1)[0]))
    actions = [0, 0, 1, 1, 1, 0, 1]  # the key goes down at frame 3, up at frame 6, and is tapped at frame 7
    steps = 0
    is_over = False
    while not is_over:
        _, _, terminated, truncated, _ = env.step(actions[steps] if steps < len(actions) else 0)
        is_over = terminated or truncated
        steps += 1
    assert (entry["steps"], entry["score"]) == (steps, steps)
    assert f"game 1: score {steps}, {steps} steps (kept in runs/human/CartPole-v1.jsonl)" in capsys.readouterr().out


def test_restart_discards_the_game_and_escape_quits(play: Any, tmp_path: Path):
    script = play(["CartPole-v1"], {4: [("return", True)], 7: [("escape", True)]})
    assert script.num_shown == 7
    assert not (tmp_path / "runs").exists()


def test_games_of_turns_wait_for_a_key(play: Any, monkeypatch: pytest.MonkeyPatch):
    """FrozenLake's window shows the first state until a key is pressed; "2" is down, "3" is right."""
    polls = 0
    pressed = ["3", "escape"]

    def poll(script: Script) -> None:
        nonlocal polls
        polls += 1
        if polls % 3 == 0:
            script.on_key(pressed.pop(0), is_down=True)

    monkeypatch.setattr(Script, "poll", poll)
    monkeypatch.setattr("rl_lab.watch.play_keys.Keyboard.take", take_and_release)
    script = play(["FrozenLake-v1"], {})
    assert (script.num_shown, polls) == (2, 6)


def take_and_release(keyboard: Keyboard) -> frozenset[str]:
    """Return the pressed keys and forget them."""
    pressed = keyboard.pressed
    keyboard._held.clear()
    keyboard._tapped.clear()
    return pressed


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["Pendulum-v1"], "play needs discrete actions; those of Pendulum-v1 are continuous"),
        (["Pongg"], "unknown environment 'Pongg'"),
        (["CartPole-v1", "--protocol", "v5"], "protocol"),
        (["CartPole-v1"], "there is no display for a window (DISPLAY is not set): play needs a display"),
        ([], "an argument is missing"),
        (["CartPole-v1", "--speed", "3"], "speed is 3; it must be one of 0.1, 0.25, 0.5, 1, 2, 4, 8"),
    ],
)
def test_bad_input_is_one_line(args: list[str], message: str, capsys: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(SystemExit) as stop:
        main(["play", *args])
    assert stop.value.code == 2
    error = capsys.readouterr().err.strip()
    assert message in error
    assert error.count("\n") == 0


def test_keys_of_a_real_window_move_the_racket(screen: Any, tmp_path: Path):
    """On a virtual display, "w" moves Pong's green racket up, and "s" down."""
    display, read_pixels = screen
    env = {**os.environ, "DISPLAY": display}
    command = [sys.executable, "-m", "rl_lab", "play", "Pong", "--seed", "1", "--speed", "2"]
    process = subprocess.Popen(command, env=env, cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None

    def xdotool(*args: str) -> None:
        subprocess.run(["xdotool", *args], env=env, check=True, timeout=20)

    def racket_row() -> float:
        pixels = read_pixels().astype(int)
        green = (abs(pixels - (92, 186, 92)) < 12).all(2)
        rows, columns = np.nonzero(green)
        rows = rows[(columns > 350) & (rows > 170)]  # below the score
        return float(rows.mean()) if len(rows) else np.nan

    try:
        line = process.stdout.readline()
        assert line.startswith("in a window; keys: ")
        assert "escape: quit" in line
        wait_until(lambda: racket_row() > 0, 60)
        xdotool("mousemove", "500", "400")
        xdotool("keydown", "w")
        wait_until(lambda: racket_row() < 240, 60)
        xdotool("keyup", "w", "keydown", "s")
        wait_until(lambda: racket_row() > 520, 60)
        xdotool("keyup", "s", "key", "Escape")
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.communicate()
