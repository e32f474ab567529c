"""Tests of the terminal sink: the encoding of pixels, and the command `watch --terminal` in a pseudo-terminal."""

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
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rl_lab.watch.sinks.terminal import MOVE_TO_TOP, SHOW_CURSOR, half_block_lines

CELL = re.compile(r"\x1b\[38;2;(\d+);(\d+);(\d+);48;2;(\d+);(\d+);(\d+)m▀|▀")
FRAME_START = MOVE_TO_TOP.encode()


def test_half_blocks_encodes_two_pixels_per_character():
    image = np.array([[[1, 2, 3], [1, 2, 3]], [[4, 5, 6], [4, 5, 6]]], np.uint8)
    assert half_block_lines(image) == ["\x1b[38;2;1;2;3;48;2;4;5;6m▀▀\x1b[0m"]


def decode_half_blocks(text: str) -> NDArray[np.int64]:
    """Return the image [H, W, 3] that a terminal shows for the text of one frame."""
    rows = []
    for line in text.split("\r\n"):
        upper_row, lower_row = [], []
        colors: list[int] = []
        for match in CELL.finditer(line):
            if match[1]:
                colors = [int(x) for x in match.groups()]
            upper_row.append(colors[:3])
            lower_row.append(colors[3:])
        if upper_row:
            rows += [upper_row, lower_row]
    return np.array(rows)


def start_in_terminal(folder: Path, lines: int, columns: int) -> tuple[subprocess.Popen[bytes], int]:
    """Start `watch demo --terminal` in a pseudo-terminal. Returns the process and the terminal's file descriptor."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    command = [sys.executable, "-m", "rl_lab", "watch", "demo", "--terminal"]
    env = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    process = subprocess.Popen(
        command, stdin=slave, stdout=slave, stderr=slave, cwd=folder, env=env, start_new_session=True
    )
    os.close(slave)
    return process, master


def read_to_end(descriptor: int) -> bytes:
    """Return the rest of the output of a process in a pseudo-terminal."""
    output = b""
    try:
        while chunk := os.read(descriptor, 65536):
            output += chunk
    except OSError:  # Linux reports the end of the process as an error
        pass
    return output


def test_watch_terminal_shows_moving_frames_until_interrupted(tmp_path):
    """The frames have the size of the terminal and the speed of the game. Ctrl-C restores the cursor."""
    process, terminal = start_in_terminal(tmp_path, lines=40, columns=100)
    output = b""
    start = time.monotonic()
    time_of_tenth = start
    while output.count(FRAME_START) < 40 and time.monotonic() - start < 60:
        output += os.read(terminal, 65536)
        if output.count(FRAME_START) == 10:
            time_of_tenth = time.monotonic()
    seconds = time.monotonic() - time_of_tenth
    process.send_signal(signal.SIGINT)
    output += read_to_end(terminal)
    assert process.wait(20) == 0
    os.close(terminal)
    text = output.decode(errors="replace")  # the interrupt may cut a character
    frames = [decode_half_blocks(frame) for frame in text.split(MOVE_TO_TOP)[1:40]]
    # Pong's screen has 210 x 160 pixels. It is as wide as 42 columns of text leave room for, in its own proportions.
    assert {frame.shape for frame in frames} == {(76, 58, 3)}
    assert all(frame.std() > 10 for frame in frames)
    assert np.mean([not np.array_equal(a, b) for a, b in itertools.pairwise(frames)]) > 0.8
    assert 29 / 15 * 0.8 < seconds < 29 / 15 * 4, "15 frames per second"
    assert "Ctrl-C stops" in text
    for words in ("dqn, Pong, step ", "game 1, step ", "score ", "Q of each action", "* "):
        assert words in text
    assert text.rstrip().endswith(SHOW_CURSOR)


def test_the_key_q_quits_and_the_terminal_is_as_before(tmp_path):
    process, terminal = start_in_terminal(tmp_path, lines=24, columns=80)
    before = termios.tcgetattr(terminal)
    output = b""
    while output.count(FRAME_START) < 3:
        output += os.read(terminal, 65536)
    assert not termios.tcgetattr(terminal)[3] & termios.ICANON
    os.write(terminal, b"q")
    output += read_to_end(terminal)
    assert process.wait(20) == 0
    assert termios.tcgetattr(terminal) == before
    os.close(terminal)
    assert output.decode(errors="replace").rstrip().endswith(SHOW_CURSOR)
