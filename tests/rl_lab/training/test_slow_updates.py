"""Tests of the warning about slow updates."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rl_lab.system.busy_processes import ProcessTime, other_busy_processes, process_times
from rl_lab.training import slow_updates
from rl_lab.training.slow_updates import WarnOfSlowUpdates


class Clock:
    """Time, and updates that take a given time each."""

    def __init__(self) -> None:
        self.now = 0.0
        self.updates = 0
        self.updating = {"updating": 0.0}
        self.lines: list[str] = []
        agent = SimpleNamespace(gauges=lambda: {"updates": self.updates}, seconds=self.updating)
        display = SimpleNamespace(print_line=self.lines.append)
        self.session: Any = SimpleNamespace(agent=agent, display=display)

    def __call__(self) -> float:
        return self.now

    def play(self, hook: WarnOfSlowUpdates, windows: int, milliseconds: float, updates: int = 100) -> None:
        """Let windows of 31 seconds pass, each with this number of updates."""
        for _ in range(windows):
            self.updates += updates
            self.updating["updating"] += updates * milliseconds / 1000
            self.now += 31
            hook.after_row()


@pytest.mark.parametrize(
    ("milliseconds", "num_warnings"),
    [
        ([10, 11, 12, 19], 0),
        ([10, 21], 1),
        ([30, 30, 10, 10, 25, 40], 1),
        ([100, 10, 10], 0),
    ],
)
def test_warning_is_printed_once_if_updates_take_twice_as_long(milliseconds: list[float], num_warnings: int):
    clock = Clock()
    hook = WarnOfSlowUpdates(clock.session, clock)
    for each in milliseconds:
        clock.play(hook, 1, each)
    assert len(clock.lines) == num_warnings


def test_windows_without_updates_do_not_count():
    clock = Clock()
    hook = WarnOfSlowUpdates(clock.session, clock)
    clock.play(hook, 3, 0, updates=0)  # before learning starts
    clock.play(hook, 2, 10)
    clock.play(hook, 2, 90, updates=4)
    assert not clock.lines
    clock.play(hook, 1, 90)
    assert clock.lines[0].startswith("WARNING: updates take 9.0 times as long as before, because ")


@pytest.mark.parametrize("threads", [1, 2])
def test_warning_names_the_busy_processes_and_says_what_helps(threads: int, monkeypatch: pytest.MonkeyPatch):
    times = [{7: ProcessTime("blender", 1, 0.0)}, {7: ProcessTime("blender", 1, 0.0)}, {}]
    times[2] = {7: ProcessTime("blender", 1, 31.0)}
    times += [times[2], times[2]]
    monkeypatch.setattr(slow_updates, "process_times", lambda: times.pop(0))
    monkeypatch.setattr("torch.get_num_threads", lambda: threads)
    clock = Clock()
    hook = WarnOfSlowUpdates(clock.session, clock)
    clock.play(hook, 1, 10)
    clock.play(hook, 1, 50)
    assert "other processes use the cores: blender (process 7, 100% of a core)" in clock.lines[0]
    assert ("--torch-threads 1" in clock.lines[0]) == (threads > 1)


def test_this_process_and_its_descendants_are_not_named():
    me = os.getpid()
    before = {me: ProcessTime("me", 1, 0), 10: ProcessTime("worker", me, 0), 11: ProcessTime("grandchild", 10, 0)}
    after = {pid: process._replace(seconds=5.0) for pid, process in before.items()}
    after |= {20: ProcessTime("new", 1, 9.0), 21: ProcessTime("idle", 1, 1.0)}
    busy = other_busy_processes(before, after, 10.0)
    assert [(process.name, process.pid, process.share) for process in busy] == [("new", 20, 0.9)]


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_processor_time_of_a_busy_process_is_read():
    loop = "import time; end = time.process_time() + 0.3\nwhile time.process_time() < end: pass\ntime.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", loop]) as process:
        try:
            seen = process_times()[process.pid]
            for _ in range(300):
                if seen.seconds >= 0.3:
                    break
                time.sleep(0.1)
                seen = process_times()[process.pid]
        finally:
            process.kill()
    assert seen.seconds == pytest.approx(0.3, abs=0.25)
    assert seen.parent == os.getpid()
    assert "python" in seen.name


def test_processes_that_end_and_odd_names_are_read(tmp_path: Path):
    (tmp_path / "5").mkdir()
    fields = " ".join(["S", "3", *["0"] * 9, "200", "100", *["0"] * 30])
    (tmp_path / "5" / "stat").write_text(f"5 (a) b (c) {fields}\n")
    (tmp_path / "6").mkdir()
    ticks = os.sysconf("SC_CLK_TCK")
    assert process_times(tmp_path) == {5: ProcessTime("a) b (c", 3, 300 / ticks)}
