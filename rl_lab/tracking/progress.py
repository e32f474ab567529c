"""The progress on the console: a progress bar on a terminal, a plain line every 30 seconds elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from rl_lab.system.printable import plain_text

BAR_INTERVAL = 0.5  # seconds between two updates of the bar on a terminal
LINE_INTERVAL = 30.0  # seconds between two lines where the output is no terminal


class EvaluationStatus(Protocol):
    """How far an evaluation is. Converted to text, it is one line."""

    @property
    def episodes_done(self) -> int:
        """Return the number of counted episodes that have ended."""
        ...

    @property
    def episodes(self) -> int:
        """Return the number of episodes to count."""
        ...


@dataclass
class ProgressStatus:
    """Current numbers of a run."""

    step: int = 0  # agent steps
    steps_per_s: float = 0.0
    return_100: float | None = None  # mean score of the last 100 training episodes
    epsilon: float | None = None
    last_eval: float | None = None  # mean score of the last evaluation
    best_eval: float | None = None
    solved_at: int | None = None  # agent steps at the first evaluation that reached the target score
    activity: str = ""  # an evaluation or a video between two rows of training

    def eta(self, total: int) -> str:
        """Return the remaining time at the current speed as h:mm:ss."""
        if not self.steps_per_s:
            return "-:--:--"
        seconds = int((total - self.step) / self.steps_per_s)
        return f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"

    def line(self, total: int) -> str:
        """Return all numbers in one line. `total` is the number of agent steps of the whole run."""
        parts = [f"step {self.step:,}/{total:,}"]
        if self.solved_at is not None:  # near the beginning, because a narrow terminal shows only that
            parts.append(f"solved at {self.solved_at:,}")
        parts += [
            f"{self.steps_per_s:,.0f} steps/s",
            f"ETA {self.eta(total)}",
            f"return {_format(self.return_100)}",
        ]
        if self.epsilon is not None:
            parts.append(f"epsilon {self.epsilon:.3f}")
        parts.append(f"eval {_format(self.last_eval)} (best {_format(self.best_eval)})")
        if self.activity:
            parts.append(self.activity)
        return "  ".join(parts)


def _format(score: float | None) -> str:
    """Return a score with two digits, or "-" if there is none."""
    return "-" if score is None else f"{score:.2f}"


class ProgressDisplay:
    """Displays the progress of a run. Use it as a context manager."""

    def __init__(self, total: int, *, quiet: bool = False) -> None:
        """`total` is the number of agent steps of the run; `quiet` disables all output."""
        self.total = total
        self.console = Console(quiet=quiet, highlight=False, soft_wrap=True)
        self.bar = Progress(BarColumn(20), TextColumn("{task.description}"), console=self.console, refresh_per_second=4)
        self.task = self.bar.add_task("", total=total)
        self.shown_at = time.monotonic()
        self.interval = BAR_INTERVAL if self.console.is_terminal else LINE_INTERVAL

    def __enter__(self) -> ProgressDisplay:
        if self.console.is_terminal:
            self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.console.is_terminal:
            self.bar.stop()

    def print_line(self, line: str) -> None:
        """Print a line above the bar. The line is not interpreted as rich markup."""
        self.console.print(plain_text(line))

    def is_due(self) -> bool:
        """Return True if the last update is at least one interval ago."""
        return time.monotonic() - self.shown_at >= self.interval

    def show(self, status: ProgressStatus) -> None:
        """Update the bar, or print the status as a line."""
        self.shown_at = time.monotonic()
        if self.console.is_terminal:
            self.bar.update(self.task, completed=status.step, description=status.line(self.total))
        else:
            self.print_line(status.line(self.total))


@contextmanager
def evaluation_progress() -> Iterator[Callable[[EvaluationStatus], None]]:
    """Show the progress of an evaluation on stderr, if stderr is a terminal. The display is removed at the end.

    Yields:
        The function to call after each row.
    """
    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        yield lambda _: None
        return
    columns = (BarColumn(20), TextColumn("{task.description}"))
    with Progress(*columns, console=console, transient=True, refresh_per_second=4) as bar:
        task = bar.add_task("", total=None)
        shown_at = 0.0

        def after_row(status: EvaluationStatus) -> None:
            nonlocal shown_at
            now = time.monotonic()
            if now - shown_at >= BAR_INTERVAL:
                shown_at = now
                bar.update(task, total=status.episodes, completed=status.episodes_done, description=str(status))

        yield after_row
