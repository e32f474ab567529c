"""Tests of signals that end the viewer."""

import os
import signal
import subprocess
import sys
import threading
from typing import Any

import pytest

from rl_lab.system.signals import stop_signals_interrupt


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_signal_ends_the_viewer_of_an_environment_that_pygame_draws(train: Any, number: int):
    """SDL, with which pygame draws, ignores SIGTERM unless it has a handler."""
    run = train(steps=300)
    process = subprocess.Popen(
        [sys.executable, "-m", "rl_lab", "watch", str(run), "--web", "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYGAME_HIDE_SUPPORT_PROMPT": "1"},
    )
    assert process.stdout is not None
    try:
        first_line = process.stdout.readline()
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
    finally:
        process.kill()
    assert first_line.startswith("on the page http://127.0.0.1:"), err
    assert (process.returncode, out, err) == (0, "", "")


def test_signals_have_their_previous_handlers_after_the_block():
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)]
    with pytest.raises(KeyboardInterrupt), stop_signals_interrupt():
        signal.raise_signal(signal.SIGTERM)
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)] == before


def test_block_in_another_thread_changes_nothing():
    entered = []

    def enter() -> None:
        with stop_signals_interrupt():
            entered.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert entered == [signal.getsignal(signal.SIGTERM)]
