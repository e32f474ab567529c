"""A virtual display (Xvfb) for the tests of windows, with keys from xdotool."""

import os
import shutil
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

MISSING_TOOLS = [name for name in ("Xvfb", "xdotool") if shutil.which(name) is None]
WIDTH, HEIGHT = 1024, 768


@contextmanager
def virtual_display(folder: Path) -> Iterator[tuple[str, Callable[[], np.ndarray]]]:
    """Start a virtual display. Yields its name, and a function that returns its pixels u8[H, W, 3]."""
    if MISSING_TOOLS:
        pytest.skip(f"{' and '.join(MISSING_TOOLS)} not installed (Debian: apt-get install xvfb xdotool)")
    display = f":{90 + os.getpid() % 900}"
    screen_file = folder / "Xvfb_screen0"
    command = ["Xvfb", display, "-screen", "0", f"{WIDTH}x{HEIGHT}x24", "-fbdir", str(folder), "-nolisten", "tcp"]
    server = subprocess.Popen(command, stderr=subprocess.DEVNULL)

    def read_pixels() -> np.ndarray:
        """Read the screen file, which has the format XWD."""
        data = screen_file.read_bytes()
        (header_bytes,) = struct.unpack(">I", data[:4])
        (num_colors,) = struct.unpack(">I", data[76:80])
        pixels = np.frombuffer(data, np.uint8, WIDTH * HEIGHT * 4, header_bytes + 12 * num_colors)
        return pixels.reshape(HEIGHT, WIDTH, 4)[:, :, 2::-1].copy()

    deadline = time.monotonic() + 20
    while not screen_file.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.3)
    yield display, read_pixels
    server.terminate()
    server.wait(10)


def wait_until(condition: Callable[[], bool], seconds: float = 20) -> None:
    """Wait until a condition is true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not become true in time"
        time.sleep(0.05)
