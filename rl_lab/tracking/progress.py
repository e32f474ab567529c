"""The progress of a run: a bar with two lines on a terminal and in a notebook, elsewhere a plain line every 30 s."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from rl_lab.system.printable import plain_text, printable, wrapped
from rl_lab.tracking.notebook_bar import NotebookBar, is_notebook

BAR_INTERVAL = 0.5  # seconds between two updates of the bar
LINE_INTERVAL = 30.0  # seconds between two lines where there is no bar
MIN_BAR_WIDTH = 5  # columns; a shorter bar is left out
MAX_BAR_WIDTH = 40  # columns
NOTEBOOK_WIDTH = 90  # columns of the text beside the bar of a notebook
GAP = "  "  # between two numbers


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
    entropy: float | None = None  # entropy of the policy
    last_eval: float | None = None  # mean score of the last evaluation
    best_eval: float | None = None
    solved_at: int | None = None  # agent steps at the first evaluation that reached the target score
    activity: str = ""  # an evaluation or a video between two rows of training

    def eta(self, total: int) -> str:
        """Return the remaining time at the current speed as h:mm:ss."""
        if not self.steps_per_s:
            return "-:--:--"
        seconds = int(max(total - self.step, 0) / self.steps_per_s)
        return f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"

    def percent(self, total: int) -> int:
        """Return the share of the agent steps that are done, rounded down: 100 only at the end."""
        return min(100 * self.step // total, 100)

    def line(self, total: int) -> str:
        """Return all numbers in one line. `total` is the number of agent steps of the whole run."""
        parts = [f"step {self.step:,}/{total:,}", *self._speed_parts(total), *self._score_parts()]
        if self.activity:
            parts.append(self.activity)
        return GAP.join(parts)

    def speed_line(self, total: int) -> str:
        """Return what stands beside the bar: percent, agent steps, speed, remaining time, and when it was solved."""
        return GAP.join([f"{self.percent(total):3}%", f"{self.step:,} steps", *self._speed_parts(total)])

    def score_line(self, width: int) -> str:
        """Return scores, exploration and the activity in at most `width` columns.

        Parts that do not fit are left out, the last one first. The activity comes before all others.
        """
        parts = [self.activity] if self.activity else []
        parts += self._score_parts()
        while len(parts) > 1 and len(GAP.join(parts)) > width:
            parts.pop()
        return GAP.join(parts)[:width]

    def _speed_parts(self, total: int) -> list[str]:
        parts = [f"{self.steps_per_s:,.0f} steps/s", f"ETA {self.eta(total)}"]
        if self.solved_at is not None:
            parts.append(f"solved at {self.solved_at:,}")
        return parts

    def _score_parts(self) -> list[str]:
        """Return the numbers that exist so far, the most important ones first."""
        parts = []
        if self.return_100 is not None:
            parts.append(f"return of 100 games {self.return_100:.2f}")
        if self.last_eval is not None:
            best = "" if self.best_eval is None else f", best {self.best_eval:.2f}"
            parts.append(f"eval {self.last_eval:.2f}{best}")
        if self.epsilon is not None:
            parts.append(f"epsilon {self.epsilon:.3f}")
        if self.entropy is not None:
            parts.append(f"entropy {self.entropy:.3f}")
        return parts


class ProgressDisplay:
    """Displays the progress of a run. Use it as a context manager."""

    def __init__(self, total: int, *, quiet: bool = False) -> None:
        """`total` is the number of agent steps of the run; `quiet` disables all output."""
        self.total = total
        self.notebook_bar = NotebookBar() if is_notebook() and not quiet else None
        # The output stream of a notebook may call itself a terminal.
        force_terminal = None if self.notebook_bar is None else False
        self.console = Console(quiet=quiet, highlight=False, force_jupyter=False, force_terminal=force_terminal)
        self.status = ProgressStatus()
        self.live = Live(console=self.console, refresh_per_second=4, get_renderable=self._render)
        self.shown_at = time.monotonic()
        has_bar = self.console.is_terminal or self.notebook_bar is not None
        self.interval = BAR_INTERVAL if has_bar else LINE_INTERVAL

    def __enter__(self) -> ProgressDisplay:
        if self.console.is_terminal:
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.console.is_terminal:
            self.live.stop()

    def print_line(self, line: str) -> None:
        """Print a line above the bar, on a terminal broken between words. The line has no rich markup."""
        lines = wrapped(line, self.console.width) if self.console.is_terminal else [line]
        for part in lines:
            self.print_command(part)

    def print_command(self, line: str) -> None:
        """Print a line above the bar without breaking it, so that a person can copy a command."""
        self.console.print(plain_text(line), soft_wrap=True)

    def is_due(self) -> bool:
        """Return True if the last update is at least one interval ago."""
        return time.monotonic() - self.shown_at >= self.interval

    def show(self, status: ProgressStatus) -> None:
        """Update the bar, or print the status as a line."""
        self.shown_at = time.monotonic()
        self.status = status
        if self.notebook_bar is not None:
            lines = [status.speed_line(self.total), status.score_line(NOTEBOOK_WIDTH)]
            self.notebook_bar.show(status.percent(self.total), lines)
        elif not self.console.is_terminal:
            self.print_line(status.line(self.total))

    def _render(self) -> Group:
        """Return the two lines of the bar."""
        speed_line = self.status.speed_line(self.total)
        width = min(self.console.width - len(speed_line) - 1, MAX_BAR_WIDTH)
        first_line = Table.grid(padding=(0, 1))
        if width >= MIN_BAR_WIDTH:
            bar = ProgressBar(self.total, min(self.status.step, self.total), width=width)
            first_line.add_row(bar, Text(speed_line, no_wrap=True))
        else:
            first_line.add_row(Text(speed_line, no_wrap=True))
        return Group(first_line, Text(printable(self.status.score_line(self.console.width)), no_wrap=True))


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
