"""A warning if updates become slow, because other processes use the cores."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from rl_lab.system.busy_processes import ProcessTime, other_busy_processes, process_times
from rl_lab.training.session import TrainingSession

WINDOW_SECONDS = 30.0
"""Length of a window."""

MIN_UPDATES = 5
"""Windows with fewer updates are not compared."""

SLOWDOWN = 2.0
"""The warning is printed if the updates of a window take this many times as long as in the fastest window."""

MAX_NAMED = 3
"""Most processes that the warning names."""


class WarnOfSlowUpdates:
    """Compares the time of updates in windows of half a minute, and warns once if it has doubled.

    An agent that does not count its updates (`gauges`) is not watched.
    """

    def __init__(self, session: TrainingSession, clock: Callable[[], float] = time.perf_counter) -> None:
        self.session = session
        self.clock = clock
        self.fastest = float("inf")  # seconds per update
        self.has_warned = False
        self._begin_window()

    def after_row(self) -> None:
        """Close the window if its time is over."""
        if not self.has_warned and self.clock() - self.begin >= WINDOW_SECONDS:
            self._close_window()

    def _begin_window(self) -> None:
        self.begin = self.clock()
        self.processes: dict[int, ProcessTime] = process_times()
        self.updates = self._updates()
        self.seconds = self._seconds()

    def _close_window(self) -> None:
        """Compare this window with the fastest one, and begin the next window."""
        updates = self._updates() - self.updates
        if updates >= MIN_UPDATES:
            seconds = (self._seconds() - self.seconds) / updates
            if seconds > SLOWDOWN * self.fastest:
                self._warn(seconds / self.fastest)
            self.fastest = min(self.fastest, seconds)
        self._begin_window()

    def _warn(self, factor: float) -> None:
        """Print the warning, with the other processes that use the cores."""
        self.has_warned = True
        busy = other_busy_processes(self.processes, process_times(), self.clock() - self.begin)
        reason = "something else slows down this machine"
        if busy:
            reason = f"other processes use the cores: {', '.join(map(str, busy[:MAX_NAMED]))}"
        advice = ""
        threads = torch.get_num_threads()
        if threads > 1:
            advice = (
                f". The {threads} threads of this run wait for each other where cores are shared; --torch-threads 1"
                " would make a new run faster here, and `resume` keeps the number of this run"
            )
        self.session.display.print_line(
            f"WARNING: updates take {factor:.1f} times as long as before, because {reason}{advice}"
        )

    def _updates(self) -> float:
        return self.session.agent.gauges().get("updates", 0)

    def _seconds(self) -> float:
        return self.session.agent.seconds.get("updating", 0.0)
