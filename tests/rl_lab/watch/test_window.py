"""The window on a screen of the test's own (Xvfb), driven by keys as a person would press them."""

import os
import shutil
import struct
import subprocess
import sys
import time

import numpy as np
import pytest

from rl_lab.errors import LabError
from rl_lab.watch.controls import Controls
from rl_lab.watch.sinks.window import Window

TOOLS = [name for name in ("Xvfb", "xdotool") if shutil.which(name) is None]
WIDTH, HEIGHT = 1024, 768


def test_without_a_display_it_says_so(monkeypatch):
    if sys.platform in ("win32", "darwin"):
        pytest.skip("there is always a display here")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(LabError, match="there is no display for a window .* --web, --terminal or --video"):
        Window(Controls(), lambda: "")
    monkeypatch.setenv("DISPLAY", ":4321")
    with pytest.raises(LabError, match="no window can be opened"):
        Window(Controls(), lambda: "")


@pytest.fixture
def screen(tmp_path):
    """A display, and a function that takes a picture of it."""
    if TOOLS:
        pytest.skip(f"no {' and no '.join(TOOLS)} on this machine (Debian: apt-get install xvfb xdotool)")
    display = f":{90 + os.getpid() % 900}"
    command = ["Xvfb", display, "-screen", "0", f"{WIDTH}x{HEIGHT}x24", "-fbdir", str(tmp_path), "-nolisten", "tcp"]
    server = subprocess.Popen(command, stderr=subprocess.DEVNULL)

    def shot():
        data = (tmp_path / "Xvfb_screen0").read_bytes()
        header, colors = struct.unpack(">I", data[:4])[0], struct.unpack(">I", data[76:80])[0]
        pixels = np.frombuffer(data, np.uint8, WIDTH * HEIGHT * 4, header + 12 * colors)
        return pixels.reshape(HEIGHT, WIDTH, 4)[:, :, 2::-1].copy()

    deadline = time.monotonic() + 20
    while not (tmp_path / "Xvfb_screen0").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.3)
    yield display, shot
    server.terminate()
    server.wait(10)


def until(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.05)


def test_the_window_shows_the_game_and_obeys_its_keys(screen, tmp_path):
    """It moves; space stops it; a full stop makes one step; s changes the picture of the same moment; q closes."""
    display, shot = screen
    env = {**os.environ, "DISPLAY": display}
    command = [sys.executable, "-m", "rl_lab", "watch", "demo", "--window"]
    process = subprocess.Popen(command, env=env, cwd=tmp_path, stdout=subprocess.PIPE, text=True)

    def press(key):
        subprocess.run(["xdotool", "key", key], env=env, check=True, timeout=20)

    def moved(seconds=0.5):
        before = shot()
        time.sleep(seconds)
        return not np.array_equal(shot(), before)

    try:
        assert process.stdout.readline().startswith("in a window; keys: space: pause or go on, .: one step")
        until(lambda: shot().std() > 20)
        until(moved)
        subprocess.run(
            ["xdotool", "mousemove", "500", "400"], env=env, check=True, timeout=20
        )  # keys go to what is there
        press("space")
        until(lambda: not moved())
        still = shot()
        press("period")
        until(lambda: not np.array_equal(shot(), still))
        until(lambda: not moved())
        plain = shot()
        press("s")
        until(lambda: not np.array_equal(shot(), plain))
        warmer = shot().astype(int) - plain
        assert warmer[:, :, 0].sum() > abs(warmer[:, :, 1].sum()), "Grad-CAM is red"
        press("space")
        until(moved)
        press("q")
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.communicate()
