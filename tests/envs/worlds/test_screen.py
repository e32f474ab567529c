"""Tests of the screen as an environment: with a screen, a keyboard and a clock of the test, and with a real game."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from envs.errors import EnvError
from envs.make import resolve
from envs.options import EnvOptions
from envs.worlds import screen
from envs.worlds.screen import ScreenEnv

EXAMPLE = Path(__file__).parents[3] / "examples" / "screen_game"
MISSING_TOOLS = [name for name in ("Xvfb",) if shutil.which(name) is None]
WIDTH, HEIGHT = 320, 240


def never(picture: np.ndarray) -> bool:
    return False


def brightness(before: np.ndarray, after: np.ndarray) -> float:
    """Return by how much the first pixel has become brighter."""
    return float(after[0, 0, 0]) - float(before[0, 0, 0])


class Computer:
    """A screen whose grey value is set by the test, a keyboard that writes down its keys, and a clock."""

    def __init__(self) -> None:
        self.grey = 0
        self.events: list[str] = []
        self.now = 100.0
        self.monitors = [{"left": 0, "top": 0, "width": WIDTH, "height": HEIGHT}]

    def grab(self, region: dict[str, int]) -> np.ndarray:
        return np.full((region["height"], region["width"], 4), self.grey, np.uint8)

    def press(self, key: str) -> None:
        self.events.append(f"{key} down")

    def release(self, key: str) -> None:
        self.events.append(f"{key} up")

    def close(self) -> None:
        self.events.append("closed")

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def taken_events(self) -> list[str]:
        """Return the events since the last call."""
        events, self.events = self.events, []
        return events


@pytest.fixture
def computer(monkeypatch, tmp_path) -> Computer:
    """Replace screen, keyboard and clock."""
    computer = Computer()
    monkeypatch.setenv("DISPLAY", ":4321")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(screen, "import_extra", lambda *args: SimpleNamespace(MSS=lambda: computer))
    monkeypatch.setattr(screen, "open_keyboard", lambda env_name: computer)
    monkeypatch.setattr(screen, "time", computer)
    return computer


def make(**args: Any) -> ScreenEnv:
    defaults = {"region": [0, 0, 40, 20], "keys": ["left", "right+space"], "fps": 10, "size": (10, 10)}
    return ScreenEnv(**{**defaults, "reward": brightness, "done": never, **args})


def test_actions_hold_and_release_keys(computer):
    env = make()
    env.reset()
    computer.taken_events()
    expected = {0: [], 1: ["left down"], 2: ["left up", "right down", "space down"]}
    for action, events in expected.items():
        env.step(action)
        assert computer.taken_events() == events
    env.step(2)
    assert computer.taken_events() == []
    env.step(0)
    assert computer.taken_events() == ["right up", "space up"]
    env.step(1)
    env.close()
    assert computer.taken_events()[:2] == ["left down", "left up"]


def test_steps_are_evenly_spaced_whatever_the_agent_takes(computer):
    env = make()
    env.reset()
    start = computer.now
    for k in range(1, 6):
        computer.now += 0.01 * k  # the agent decides
        _, _, _, _, info = env.step(0)
        assert computer.now == pytest.approx(start + 0.1 * k)
        assert info["seconds"] == pytest.approx(0.1)
        assert not info["late"]
    computer.now += 0.17
    _, _, _, _, info = env.step(0)
    assert info["late"]
    assert info["seconds"] == pytest.approx(0.27)  # a late action gets its full time
    _, _, _, _, info = env.step(0)
    assert info["seconds"] == pytest.approx(0.1)
    timing = env.timing()
    seconds = [0.1] * 5 + [0.27, 0.1]
    assert timing == pytest.approx((7, 7 / sum(seconds), np.std(seconds), 0.27, 1 / 7))


def test_reward_compares_the_pictures_around_an_action(computer):
    env = make(done=lambda picture: picture[0, 0, 0] >= 100)
    env.reset()
    computer.grey = 30
    assert env.step(0)[1:4] == (30.0, False, False)
    computer.grey = 110
    assert env.step(0)[1:4] == (80.0, True, False)


def test_observation_is_the_region_in_grey(computer, monkeypatch):
    picture = np.random.default_rng(1).integers(0, 256, (20, 40, 4), np.uint8)
    monkeypatch.setattr(computer, "grab", lambda region: picture)
    env = make(size=(20, 10))
    obs, _ = env.reset()
    blue, green, red = (picture[:, :, k].astype(float) for k in range(3))
    grey = 0.299 * red + 0.587 * green + 0.114 * blue
    blocks = grey.reshape(10, 2, 20, 2).mean((1, 3))
    assert obs.shape == (10, 20, 1)
    assert obs[:, :, 0] == pytest.approx(blocks, abs=1.5)
    assert np.array_equal(env.pixels, picture[:, :, 2::-1])


def test_reset_taps_the_start_keys_until_the_game_runs(computer):
    taps = []

    def done(picture: np.ndarray) -> bool:
        taps.append(computer.events.count("space down"))
        return taps[-1] < 3

    env = make(start=["space"], done=done)
    env.reset()
    assert computer.events.count("space down") == 3


def test_reset_gives_up_if_the_game_does_not_start(computer):
    env = make(done=lambda picture: True)
    with pytest.raises(EnvError, match=r"the game is still over after 10 s \(see done and start\)"):
        env.reset()


def test_an_episode_is_truncated_if_another_environment_has_used_the_screen(computer):
    training, evaluation = make(), make()
    training.reset()
    training.step(1)
    evaluation.reset()
    assert computer.events[-3:] == ["left up", "right up", "space up"]  # a key may still be held
    assert not evaluation.step(2)[3]
    computer.grey = 50
    _, reward, terminated, truncated, _ = training.step(0)
    assert (reward, terminated, truncated) == (0.0, False, True)
    training.reset()
    assert not training.step(0)[3]


def test_environments_side_by_side_are_refused(computer):
    both = [make(), make()]

    def play() -> None:
        for env in both:
            env.reset()
        for _ in range(10):
            for env in both:
                if env.step(0)[3]:
                    env.reset()

    with pytest.raises(EnvError, match="several environments use the screen at once; Screen-v0 needs --num-envs 1"):
        play()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"region": [0, 0, 100]}, "region is [0, 0, 100]; it must be 4 whole numbers: left, top, width, height"),
        ({"region": [0, 0, 0, 9]}, "width of region is 0; it must be a whole number from 8 to 16384"),
        ({"keys": []}, "keys is []; it must name at least one key"),
        ({"keys": "left"}, "keys is 'left'; it must be a list of keys, such as [left, right]"),
        ({"fps": 0}, "fps is 0; it must be a number from 1 to 60"),
        ({"size": [4, 4]}, "width of size is 4; it must be a whole number from 8 to 256"),
        ({"reward": ""}, "reward is ''; it must be a function, or its name as module:function"),
        ({"done": 3}, "done is 3; it must be a function, or its name as module:function"),
        ({"done": "math:pi"}, "done is 'math:pi', which is no function"),
        (
            {"reward": "no_such_module:f"},
            "reward is 'no_such_module:f', which cannot be imported: No module named 'no_such_module'",
        ),
    ],
)
def test_wrong_arguments_are_refused_in_one_line(computer, args, message):
    with pytest.raises(EnvError) as refused:
        make(**args)
    assert str(refused.value) == message


def test_unknown_keys_and_a_region_beyond_the_screen_are_refused(computer):
    with pytest.raises(EnvError, match="keys has 'lft'; keys are a to z, 0 to 9, left, right, .*joined by"):
        make(keys=["lft"])
    env = make(region=[300, 0, 40, 20])
    with pytest.raises(EnvError, match=re.escape("region is [300, 0, 40, 20]; it must lie on the screen, which has")):
        env.reset()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # Xlib leaves its socket open
def test_without_a_screen_the_environment_is_refused(monkeypatch):
    if sys.platform in ("win32", "darwin"):
        pytest.skip("this platform always has a display")
    pytest.importorskip("mss")
    monkeypatch.delenv("DISPLAY", raising=False)
    with pytest.raises(EnvError, match="Screen-v0 needs a screen: the variable DISPLAY is not set"):
        make()
    pytest.importorskip("Xlib")
    monkeypatch.setenv("DISPLAY", ":4321")
    with pytest.raises(EnvError, match="Screen-v0 needs a screen: :4321 cannot be opened"):
        make().reset()


@pytest.fixture
def game(monkeypatch) -> Iterator[subprocess.Popen]:
    """Start a virtual screen and the game of examples/screen_game in it."""
    pytest.importorskip("mss")
    pytest.importorskip("Xlib")
    if MISSING_TOOLS:
        pytest.skip("Xvfb is not installed (Debian: apt-get install xvfb)")
    display = f":{1_000 + os.getpid() % 900}"
    command = ["Xvfb", display, "-screen", "0", f"{WIDTH}x{HEIGHT}x24", "-nolisten", "tcp"]
    server = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    monkeypatch.setenv("DISPLAY", display)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([*sys.path, str(EXAMPLE)]))
    monkeypatch.syspath_prepend(EXAMPLE)
    time.sleep(1)
    process = subprocess.Popen(
        [sys.executable, str(EXAMPLE / "catch_game.py")], stdout=subprocess.PIPE, text=True, stderr=subprocess.DEVNULL
    )
    try:
        wait_for_picture()
        yield process
    finally:
        process.kill()
        process.communicate(timeout=10)
        server.terminate()
        server.wait(10)


GAME_ARGS: dict[str, Any] = {
    "region": [0, 0, 160, 160],
    "keys": ["left", "right"],
    "fps": 20,
    "size": [20, 20],
    "reward": "catch_game:reward",
    "done": "catch_game:done",
}


def wait_for_picture() -> None:
    """Wait until the game has drawn its window."""
    env = ScreenEnv(**GAME_ARGS)
    deadline = time.monotonic() + 30
    try:
        while True:
            env.reset()
            if env.pixels.max() > 0:
                return
            assert time.monotonic() < deadline, "the game draws nothing"
            time.sleep(0.1)
    finally:
        env.close()


def towards_the_ball(pixels: np.ndarray) -> int:
    """Return the action that moves the middle of the paddle below the ball. Both are found by their colours."""
    ball = np.flatnonzero((pixels[:130] > 200).all(2).any(0))
    paddle = np.flatnonzero((pixels[136:148] == (120, 160, 240)).all(2).any(0))
    if not len(ball) or not len(paddle):
        return 0
    difference = ball.mean() - paddle.mean()
    return 0 if abs(difference) < 10 else 1 + int(difference > 0)


@pytest.mark.slow
def test_a_game_in_a_window_is_played_in_real_time(game, capsys):
    """The score agrees with the game's own count, and there are at least 15 decisions a second."""
    env = gymnasium.make("Screen-v0", render_mode="rgb_array", disable_env_checker=True, **{**GAME_ARGS, "fps": 30})
    world = env.unwrapped
    assert isinstance(world, ScreenEnv)
    check_env(world)
    results = []
    env.reset()
    for _ in range(600):
        _, reward, terminated, truncated, _ = env.step(towards_the_ball(world.pixels))
        if terminated or truncated:
            results.append(reward)
            env.reset()
    timing = world.timing()
    with capsys.disabled():
        print(f"\n{timing.rate:.1f} decisions/s, jitter {1_000 * timing.jitter:.1f} ms, {100 * timing.late:.0f}% late")
    picture = env.render()
    env.close()
    game.send_signal(signal.SIGINT)
    caught, balls = map(int, re.findall(r"\d+", game.communicate(timeout=10)[0]))
    assert isinstance(picture, np.ndarray)
    assert picture.shape == (400, 500, 3)
    assert set(results) <= {-1.0, 1.0}
    assert len(results) >= 10
    assert 0 <= balls - len(results) <= 6  # the checker and the reset have used some balls
    assert caught / balls > 0.8
    assert timing.rate >= 15


@pytest.mark.slow
def test_lab_says_that_resume_cannot_be_exact(game):
    env_spec = resolve("Screen-v0", options=EnvOptions(env_args=GAME_ARGS))
    assert not env_spec.reproducible
    (line,) = env_spec.warnings()
    assert line.endswith("two runs of one seed will differ, and a resumed run begins new episodes")
