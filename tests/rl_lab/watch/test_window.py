"""Tests of the window sink on a virtual display (Xvfb), with keys from xdotool."""

import os
import subprocess
import sys
import time
from typing import Any

import numpy as np
import pytest
from virtual_display import wait_until

from rl_lab.errors import LabError
from rl_lab.watch.controls import Controls
from rl_lab.watch.frame_rendering import FRAME_HEIGHT, FRAME_WIDTH
from rl_lab.watch.sinks.window import WindowSink

NO_STEP: Any = None


def test_window_raises_without_a_display(monkeypatch):
    if sys.platform in ("win32", "darwin"):
        pytest.skip("this platform always has a display")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(LabError, match="there is no display for a window .* --web, --terminal or --video"):
        WindowSink(Controls(), lambda: "")
    monkeypatch.setenv("DISPLAY", ":4321")
    with pytest.raises(LabError, match="no window can be opened"):
        WindowSink(Controls(), lambda: "")


def test_any_title_is_shown(monkeypatch):
    monkeypatch.setattr("rl_lab.watch.sinks.window.has_display", lambda: True)
    monkeypatch.setattr("rl_lab.watch.sinks.window.INVISIBLE_DRIVERS", ())
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    window = WindowSink(Controls(), lambda: "a\x1b[2J\0\ud800")
    try:
        window.show(np.zeros((FRAME_HEIGHT, FRAME_WIDTH, 3), np.uint8), NO_STEP)
        assert window.pygame.display.get_caption()[0] == r"a\x1b[2J\x00\ud800"
    finally:
        window.close()


@pytest.mark.parametrize(("desktop", "expected"), [((1024, 768), (1024, 372)), ((1920, 1080), (1760, 640))])
def test_two_agents_fit_the_desktop(monkeypatch, desktop, expected):
    monkeypatch.setattr("rl_lab.watch.sinks.window.has_display", lambda: True)
    monkeypatch.setattr("rl_lab.watch.sinks.window.INVISIBLE_DRIVERS", ())
    monkeypatch.setattr("pygame.display.get_desktop_sizes", lambda: [desktop])
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    window = WindowSink(Controls(), lambda: "", num_agents=2)
    try:
        frame = np.zeros((FRAME_HEIGHT, 2 * FRAME_WIDTH, 3), np.uint8)
        frame[:, FRAME_WIDTH:] = 200
        window.show(frame, NO_STEP)
        assert window.surface.get_size() == expected
        assert window.surface.get_at((expected[0] // 2 - 3, 5))[:3] == (0, 0, 0)
        assert window.surface.get_at((expected[0] - 3, 5))[:3] == (200, 200, 200)
    finally:
        window.close()


def test_window_shows_the_game_and_responds_to_keys(screen, tmp_path):
    display, read_pixels = screen
    env = {**os.environ, "DISPLAY": display}
    command = [sys.executable, "-m", "rl_lab", "watch", "demo", "--window"]
    process = subprocess.Popen(command, env=env, cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None

    def xdotool(*args: str) -> None:
        subprocess.run(["xdotool", *args], env=env, check=True, timeout=20)

    def is_moving() -> bool:
        before = read_pixels()
        time.sleep(0.5)
        return not np.array_equal(read_pixels(), before)

    def differs_from(pixels: np.ndarray) -> bool:
        return not np.array_equal(read_pixels(), pixels)

    try:
        first_line = process.stdout.readline()
        assert first_line.startswith("in a window; keys: space: pause or resume, .: play one step")
        wait_until(lambda: read_pixels().std() > 20)
        wait_until(is_moving)
        xdotool("mousemove", "500", "400")  # without a window manager, keys go to the window under the pointer
        xdotool("key", "space")
        wait_until(lambda: not is_moving())
        paused = read_pixels()
        xdotool("key", "period")
        wait_until(lambda: differs_from(paused))
        wait_until(lambda: not is_moving())
        without_saliency = read_pixels()
        xdotool("key", "s")
        wait_until(lambda: differs_from(without_saliency))
        change = read_pixels().astype(int) - without_saliency
        assert change[:, :, 0].sum() > abs(change[:, :, 1].sum()), "the heatmap is red"
        xdotool("key", "space")
        wait_until(is_moving)
        xdotool("key", "q")
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.communicate()
