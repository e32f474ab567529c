"""The other processes that use the processor, read from /proc. Systems without /proc show none."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

PROC = Path("/proc")


class ProcessTime(NamedTuple):
    """The processor time of a process so far."""

    name: str
    parent: int
    seconds: float


class BusyProcess(NamedTuple):
    """A process with its share of one core."""

    name: str
    pid: int
    share: float

    def __str__(self) -> str:
        return f"{self.name} (process {self.pid}, {self.share:.0%} of a core)"


def process_times(proc: Path = PROC) -> dict[int, ProcessTime]:
    """Return the processor time of all processes that this user may see, by process id."""
    times = {}
    for path in proc.glob("[0-9]*/stat"):
        try:
            text = path.read_text(errors="replace")
        except OSError:  # the process has ended
            continue
        # pid (name) state ppid ... utime stime: fields 1 to 15 of proc_pid_stat(5). A name may contain brackets.
        name = text[text.index("(") + 1 : text.rindex(")")]
        fields = text[text.rindex(")") + 2 :].split()
        ticks = int(fields[11]) + int(fields[12])
        times[int(path.parent.name)] = ProcessTime(name, int(fields[1]), ticks / os.sysconf("SC_CLK_TCK"))
    return times


def other_busy_processes(
    before: dict[int, ProcessTime], after: dict[int, ProcessTime], seconds: float, min_share: float = 0.2
) -> list[BusyProcess]:
    """Return the busiest other processes between two calls of `process_times`, without this one and its descendants.

    Args:
        before: Result of the first call.
        after: Result of the second call.
        seconds: Time between the calls.
        min_share: Smallest share of one core.
    """
    own = {os.getpid()}
    found = True
    while found:
        children = {pid for pid, process in after.items() if process.parent in own} - own
        own |= children
        found = bool(children)
    busy = []
    for pid, process in after.items():
        start = before[pid].seconds if pid in before else 0.0
        share = (process.seconds - start) / seconds
        if pid not in own and share >= min_share:
            busy.append(BusyProcess(process.name, pid, share))
    return sorted(busy, key=lambda process: -process.share)
