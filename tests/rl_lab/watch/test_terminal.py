"""Two pixels to a character, and the whole command in a terminal of the test's own."""

import fcntl
import itertools
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import time

import numpy as np

from rl_lab.watch.sinks.terminal import half_blocks

CELL = re.compile(r"\x1b\[38;2;(\d+);(\d+);(\d+);48;2;(\d+);(\d+);(\d+)m▀|▀")


def test_two_pixels_to_a_character():
    picture = np.array([[[1, 2, 3], [1, 2, 3]], [[4, 5, 6], [4, 5, 6]]], np.uint8)
    assert half_blocks(picture) == "\x1b[38;2;1;2;3;48;2;4;5;6m▀▀\x1b[0m\x1b[K\r\n"


def pixels(text):
    """The picture that a terminal would show of one frame's text."""
    rows = []
    for line in text.split("\r\n"):
        upper, lower, color = [], [], None
        for match in CELL.finditer(line):
            color = [int(x) for x in match.groups()] if match[1] else color
            upper.append(color[:3])
            lower.append(color[3:])
        if upper:
            rows += [upper, lower]
    return np.array(rows)


def test_a_game_in_a_terminal(tmp_path):
    """Pictures of the terminal's size that move at the game's speed; Ctrl-C ends it and gives the cursor back."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
    command = [sys.executable, "-m", "rl_lab", "watch", "demo", "--terminal"]
    env = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")}
    process = subprocess.Popen(
        command, stdin=slave, stdout=slave, stderr=slave, cwd=tmp_path, env=env, start_new_session=True
    )
    os.close(slave)
    said, began = b"", time.monotonic()
    while said.count(b"\x1b[H") < 40 and time.monotonic() - began < 60:
        said += os.read(master, 65536)
        if said.count(b"\x1b[H") == 10:
            tenth = time.monotonic()
    seconds = time.monotonic() - tenth
    process.send_signal(signal.SIGINT)
    try:
        while chunk := os.read(master, 65536):
            said += chunk
    except OSError:  # the terminal's other end is closed
        pass
    assert process.wait(20) == 0
    os.close(master)
    text = said.decode(errors="replace")  # Ctrl-C may cut a character
    frames = [pixels(frame) for frame in text.split("\x1b[H")[1:40]]
    assert {frame.shape for frame in frames} == {(72, 100, 3)}, "as wide as the terminal, in the picture's proportions"
    assert all(frame.std() > 10 for frame in frames)
    assert np.mean([not np.array_equal(a, b) for a, b in itertools.pairwise(frames)]) > 0.8
    assert 29 / 15 * 0.8 < seconds < 29 / 15 * 4, "15 decisions a second"
    assert "Ctrl-C stops" in text
    assert text.rstrip().endswith("\x1b[?25h")
